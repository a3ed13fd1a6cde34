"""What people see: answers on stdout, progress and trouble on stderr."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.status import Status

from predmesh_cli.errors import CliError

if TYPE_CHECKING:
    from predmesh_cli.health import Health


out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def print_json(document: Any) -> None:
    """Print *document* for a script, on stdout."""
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False, default=str) + "\n")


def print_error(error: CliError) -> None:
    """Print what went wrong and what to do next."""
    err.print(f"[red]error:[/] {escape(error.message)}")
    if error.hint:
        err.print(f"[yellow]next:[/]  {escape(error.hint)}")


LINE_SECONDS = 1.0
"""Least time between two lines where there is no terminal."""


class Progress:
    """Shows what a command waits for: a line that changes on a terminal, a line a step elsewhere."""

    def __init__(self, status: Status | None) -> None:
        self._status = status
        self._begin = time.monotonic()
        self._shown = ""
        self._said = 0.0
        self._ready: set[str] = set()

    def step(self, text: str) -> None:
        """Show *text* as what is done now."""
        if self._status is not None:
            self._status.update(escape(text))
        elif text != self._shown and time.monotonic() - self._said >= LINE_SECONDS:
            self._shown, self._said = text, time.monotonic()
            err.print(escape(text))

    def health(self, health: Mapping[str, Health]) -> None:
        """Show which programs became ready, and what the others wait for."""
        ready = {name for name, answer in health.items() if answer.serving}
        for name in sorted(ready - self._ready):
            err.print(f"  [green]ready[/]  {name:<14} {time.monotonic() - self._begin:4.1f} s")
        self._ready = ready
        waiting = [name for name in health if name not in ready]
        if waiting and self._status is not None:
            self._status.update(f"waiting for {', '.join(waiting)}")


@contextlib.contextmanager
def progress(text: str) -> Iterator[Progress]:
    """A Progress that begins with *text*."""
    if not err.is_terminal:
        shown = Progress(None)
        shown.step(text)
        yield shown
        return
    with err.status(escape(text)) as status:
        yield Progress(status)
