"""What can go wrong in the mesh, in words no transport owns.

PredmeshError            a fault of ours, already told and logged where it happened
├── InvalidInput         the caller must change the request
├── NotFound             the named thing does not exist
├── PermissionDenied     the caller may not do this
├── TooMuch              the caller may retry, later or with less
├── DependencyDown       the caller may retry, with backoff
├── DeadlineExceeded     the caller's time, or the budget, ran out
├── FailedPrecondition   the request is right, but the thing is not in a state for it
└── NotOffered           the method is not offered here
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that is wrong in a request.

    Attributes:
        field: path of the field, e.g. ``instances[3].carrier``.
        reason_text: what is wrong and what would be right.
        nearest: the nearest right name, where the name is at fault; else empty.
    """

    field: str
    reason_text: str
    nearest: str = ""

    @property
    def description(self) -> str:
        """The reason, with the nearest right name where there is one."""
        return f"{self.reason_text}; did you mean {self.nearest!r}?" if self.nearest else self.reason_text


class PredmeshError(Exception):
    """An error that may be told to the caller as it is.

    Attributes:
        reason: name of a value of ``predmesh.errors.v1.ErrorReason``.
        message: what happened and what to do next; holds nothing internal or secret.
        metadata: the variables of the message, under lowerCamelCase keys.
    """

    def __init__(self, reason: str, message: str, **metadata: object) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.metadata = {camel(key): str(value) for key, value in metadata.items()}


class InvalidInput(PredmeshError):
    """The caller must change the request; `violations` say where, and their number is metadata."""

    def __init__(self, reason: str, message: str, violations: Sequence[Violation] = (), **metadata: object) -> None:
        super().__init__(reason, message, **metadata)
        self.violations = tuple(violations)
        if self.violations:
            self.metadata.setdefault("violations", str(len(self.violations)))


class NotFound(PredmeshError):
    """The named thing does not exist."""


class PermissionDenied(PredmeshError):
    """The caller is not allowed to do this; retrying does not help."""


class TooMuch(PredmeshError):
    """The caller may retry after `retry_after_seconds`, or with less."""

    def __init__(self, reason: str, message: str, retry_after_seconds: float = 0.1, **metadata: object) -> None:
        super().__init__(reason, message, **metadata)
        self.retry_after_seconds = retry_after_seconds


class DependencyDown(PredmeshError):
    """Something that the answer needs does not answer; the caller may retry, with backoff."""


class DeadlineExceeded(PredmeshError):
    """The caller's time, or the budget, ran out."""


class FailedPrecondition(PredmeshError):
    """The request is right, but the named thing is not in a state for it."""


class NotOffered(PredmeshError):
    """The method is not offered here."""


def camel(name: str) -> str:
    """The name in lowerCamelCase: ``retry_after_seconds`` becomes ``retryAfterSeconds``."""
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)
