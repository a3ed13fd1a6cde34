"""How many batches of a bundle travel at once: decided by how requests fare, without a clock or a loop."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Generator, Sequence
from statistics import fmean
from typing import NamedTuple

GAIN = 0.05
"""Part of a request's time that more batches in flight must save; fewer may add as much to the rate instead."""

LOSS = 0.03
"""Part of the rate that saved time may cost; noise is not told from less."""

_REST, _LONGEST_REST = 4, 128
_BATCHES, _FEWEST_BATCHES, _SECONDS = 32, 8, 0.25
_REMEMBERED = 32
_SHORTEST_PATIENCE_SECONDS = 0.002


class Window(NamedTuple):
    """How requests fared for a while."""

    seconds: float
    """Mean time from arrival to result."""
    waited: float
    """Mean part of it that was spent in the queue."""
    per_second: float
    """Requests that ended in a second."""


class Tempo(NamedTuple):
    """What decides when the next batch leaves."""

    most: int
    """Batches that may be under way whatever happens."""
    allowed: int = 1
    """Batches that may be under way, those that are late left out."""
    quickest: float = 0.0
    """Seconds that the quickest of the recent batches took; 0 while too few are known, as below."""
    usual: float = 0.0
    """Median of the recent batches' seconds."""
    patience: float = 0.1
    """Seconds after which a batch is late: twice what nine of ten took."""


def climb(most: int) -> Generator[int, Window, None]:
    """Yields how many batches may travel, from 1 to *most*, and is sent how requests fared in a window of that.

    Twice as many, or half, are tried from time to time, ever more seldom while that is of no use. Where callers wait
    for answers before they ask again, the rate tells which number is better: smaller batches end sooner here and cost
    the machine more, which is paid for at the gateway and by the callers. Where they do not, the rate is theirs, and
    the time tells.
    """
    now, rest = 1, _REST
    while True:
        for _ in range(rest):
            window = yield now
        crowded = window.waited > 2 * GAIN * window.seconds
        if crowded and 2 * now <= most and (yield from _better(now, 2 * now, GAIN)):
            now, rest = 2 * now, _REST
        elif now > 1 and (yield from _better(now, now // 2, 0.0)):
            now, rest = now // 2, _REST
        elif crowded:
            rest = min(2 * rest, _LONGEST_REST)


def _better(now: int, other: int, gain: float) -> Generator[int, Window, bool]:
    """Whether *other* saves the part *gain* of the time and costs no rate; or, where it is fewer, adds to the rate.

    They take turns, so that a load that drifts speaks for neither.
    """
    windows: list[Window] = []
    for allowed in (now, other, now, other, now):
        windows.append((yield allowed))
    mine, others = windows[::2], windows[1::2]
    rates, other_rates = [each.per_second for each in mine], [each.per_second for each in others]
    added = fmean(other_rates) / fmean(rates) - 1
    if other < now and added >= GAIN and min(other_rates) > max(rates):
        return True
    soonest = min(each.seconds for each in mine)
    return added > -LOSS and max(each.seconds for each in others) <= (1 - gain) * soonest


def departure(lefts: Sequence[float], tempo: Tempo) -> float:
    """When the next batch may leave, in the seconds of *lefts*, at which those under way left, in order.

    At once, where none is under way. Else batches keep their distance, so that each gathers as many rows as the last;
    beyond what is allowed the next goes when one under way is late. Infinite: when one has come back.
    """
    if not lefts:
        return -math.inf
    if len(lefts) >= tempo.most:
        return math.inf
    spaced = lefts[-1] + tempo.usual / tempo.allowed
    if len(lefts) < tempo.allowed:
        return spaced
    return max(spaced, lefts[len(lefts) - tempo.allowed] + tempo.patience)


class Pace:
    """The tempo, from the batches that came back.

    Attributes:
        tempo: as it is now.
    """

    def __init__(self, most: int) -> None:
        self._climb = climb(most)
        self._allowed = next(self._climb)
        self.tempo = Tempo(most, self._allowed)
        self._took: deque[float] = deque(maxlen=_REMEMBERED)
        self._began = 0.0
        self._batches = self._requests = self._ended = 0
        self._seconds = self._waited = 0.0

    def returned(self, arrivals: Sequence[float], left: float, now: float) -> None:
        """Learn from a batch.

        Args:
            arrivals: when each of its requests came, in seconds.
            left: when it left.
            now: when it came back.
        """
        self._took.append(now - left)
        self._learn(arrivals, left, now)
        self.tempo = _tempo(self.tempo.most, self._allowed, self._took)

    def _learn(self, arrivals: Sequence[float], left: float, now: float) -> None:
        self._ended += len(arrivals)
        # How those fared who came under the number allowed before says nothing about this one.
        fresh = [arrived for arrived in arrivals if arrived >= self._began]
        if not fresh:
            return
        self._batches += 1
        self._requests += len(fresh)
        arrived = sum(fresh)
        self._seconds += len(fresh) * now - arrived
        self._waited += len(fresh) * left - arrived
        if self._batches >= _BATCHES or (self._batches >= _FEWEST_BATCHES and now - self._began >= _SECONDS):
            per_second = self._ended / max(now - self._began, 1e-9)
            window = Window(self._seconds / self._requests, self._waited / self._requests, per_second)
            self._allowed = self._climb.send(window)
            self._began = now
            self._batches = self._requests = 0
            self._seconds = self._waited = 0.0


def _tempo(most: int, allowed: int, took: Collection[float]) -> Tempo:
    if len(took) < _FEWEST_BATCHES:
        return Tempo(most, allowed)
    ranked = sorted(took)
    patience = max(2 * ranked[len(ranked) * 9 // 10 - 1], _SHORTEST_PATIENCE_SECONDS)
    return Tempo(most, allowed, ranked[0], ranked[len(ranked) // 2], patience)
