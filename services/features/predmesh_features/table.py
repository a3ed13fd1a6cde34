"""What is made of small numbers, looked up: a call for each of many values would cost more than all else."""

from __future__ import annotations

from collections.abc import Callable

_SMALL = 256


class Table(dict[int, bytes]):
    """Bytes by number: those below 256 are kept, others made whenever they are asked for."""

    def __init__(self, make: Callable[[int], bytes]) -> None:
        """Look up what *make* makes of a number."""
        super().__init__((number, make(number)) for number in range(_SMALL))
        self._make = make

    def __missing__(self, number: int) -> bytes:
        """See dict."""
        return self._make(number)
