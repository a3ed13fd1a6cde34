"""What can go wrong with a command, and what its exit code says about it."""

from __future__ import annotations

import enum


class ExitCode(enum.IntEnum):
    """What a script may learn from the exit code; docs/operations.md lists them."""

    OK = 0
    FAILED = 1
    """The command could not do its work; the message says why and what to do next."""
    USAGE = 2
    """The command line itself is wrong."""
    UNHEALTHY = 3
    """The mesh runs, and a part of it is not healthy."""
    NOT_RUNNING = 4
    """There is no running mesh in this home."""
    REFUSED = 5
    """The mesh answered with an error of the caller: an unknown model, an invalid row."""
    INTERRUPTED = 130
    """Ctrl-C."""


class CliError(Exception):
    """Ends a command with a plain message, the next step and an exit code."""

    def __init__(self, message: str, *, hint: str = "", code: ExitCode = ExitCode.FAILED) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code
