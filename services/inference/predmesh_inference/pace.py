"""Which batches of a model are so quick that handing them to a thread would cost more; a decision alone, no clock."""

from __future__ import annotations

QUICK_SECONDS = 0.001
"""Time for which a batch may hold up the event loop; a thread costs about a tenth of it."""

_SMOOTHING = 0.5


class Pace:
    """Learns how long batches of a model take, by the power of two that holds their rows."""

    def __init__(self) -> None:
        self._seconds: dict[int, float] = {}

    def quick(self, rows: int) -> bool:
        """Whether a batch of *rows* is known to be quick; one of a size not yet seen is not."""
        return self._seconds.get(rows.bit_length(), QUICK_SECONDS) < QUICK_SECONDS

    def took(self, rows: int, seconds: float) -> None:
        """Learn that a batch of *rows* took *seconds* of a processor."""
        known = self._seconds.get(rows.bit_length(), seconds)
        self._seconds[rows.bit_length()] = known + _SMOOTHING * (seconds - known)
