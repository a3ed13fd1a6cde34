"""The violations found in one request, bounded in number."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from predmesh_bundle.nearest import nearest
from predmesh_rpc.errors import InvalidInput, Violation

LISTED = 100
"""Violations that an error lists; the rest is counted alone."""

INVALID = "ERROR_REASON_INVALID_REQUEST"
"""The reason of every error made here."""


class Violations:
    """Collects what is wrong with one request.

    Attributes:
        listed: the first violations, in the order they were found.
        count: how many were found, those not listed included.
    """

    def __init__(self, limit: int = LISTED) -> None:
        self.listed: list[Violation] = []
        self.count = 0
        self._limit = limit

    @property
    def full(self) -> bool:
        """Whether the next violation would only be counted, so that nobody needs to word it."""
        return len(self.listed) >= self._limit

    def add(self, field: str, text: str, nearest: str = "") -> None:
        """Note that *field* breaks a rule; *nearest* is the value or name that would be right."""
        self.count += 1
        if not self.full:
            self.listed.append(Violation(field, text, nearest))

    def unknown(self, field: str, text: str, name: str, known: Iterable[str]) -> None:
        """Note that *name* is none of the *known* ones, one of which may be near; looking for it takes time."""
        self.add(field, text, "" if self.full else nearest(name, known))

    def skip(self) -> None:
        """Count a violation without words, once the list is full."""
        self.count += 1

    def check(self, model: str) -> None:
        """Raise InvalidInput with everything found; do nothing when nothing was.

        Raises:
            InvalidInput: something was found.
        """
        if not self.count:
            return
        first = self.listed[0]
        more = f" (and {self.count - 1} more)" if self.count > 1 else ""
        error = InvalidInput(INVALID, f"{first.field}: {first.description}{more}", self.listed, model=model)
        error.metadata["violations"] = str(self.count)
        raise error

    @contextmanager
    def told_with(self, model: str) -> Iterator[None]:
        """Tell what was found so far together with what the block refuses a request for."""
        try:
            yield
        except InvalidInput as error:
            if error.reason != INVALID or not self.count:
                raise
            for each in error.violations:
                self.add(each.field, each.reason_text, each.nearest)
            self.count += int(error.metadata.get("violations", 0)) - len(error.violations)
            self.check(model)
