"""Callers that ask again once they are answered, a server of a known nature, the real decisions between them."""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from predmesh_prediction.pacing import Pace, departure

Speeds = Callable[[int], Sequence[float]]
"""How fast each of so many batches under way is served; 1 is as fast as alone."""


def one_processor(batches: int) -> Sequence[float]:
    """They share it."""
    return [1 / batches] * batches


def elsewhere(batches: int) -> Sequence[float]:
    """None slows another down."""
    return [1.0] * batches


def lanes(number: int) -> Speeds:
    """So many are served at once, the others wait."""
    return lambda batches: [1.0] * min(number, batches) + [0.0] * (batches - number)


@dataclass
class Batch:
    left: float
    work: float
    arrivals: list[float]


@dataclass
class Simulation:
    """Runs until so many batches have come back."""

    callers: int
    speeds: Speeds
    batch_seconds: float
    """What a batch takes alone, whatever its size."""
    row_seconds: float
    """What each row adds."""
    most: int = 8
    slow: dict[int, float] = field(default_factory=dict)
    """Further work of single batches, by their number."""
    think_seconds: float = 0.0004
    """Mean time between answer and next request."""
    seconds: list[float] = field(default_factory=list)
    """How long each answered request took, in the order of the answers."""
    allowed: list[int] = field(default_factory=list)
    """What was allowed when each batch came back."""
    ended: list[float] = field(default_factory=list)
    """When each request was answered."""
    slowed: int = 0
    """Requests that travelled in the slow batches."""

    def run(self, batches: int) -> Simulation:
        chance, pace, now = random.Random(3), Pace(self.most), 0.0
        coming = [chance.expovariate(1 / self.think_seconds) for _ in range(self.callers)]
        heapq.heapify(coming)
        queue: list[float] = []
        under_way: list[Batch] = []
        sent = 0
        while len(self.allowed) < batches:
            leaves = departure([batch.left for batch in under_way], pace.tempo) if queue else math.inf
            speeds = self.speeds(len(under_way)) if under_way else ()
            ends = [
                now + batch.work / speed if speed else math.inf for batch, speed in zip(under_way, speeds, strict=True)
            ]
            then = max(now, min(leaves, min(ends, default=math.inf), coming[0] if coming else math.inf))
            for batch, speed in zip(under_way, speeds, strict=True):
                batch.work -= (then - now) * speed
            now = then
            if leaves <= now:
                self.slowed += len(queue) if sent in self.slow else 0
                work = self.batch_seconds + self.row_seconds * len(queue) + self.slow.get(sent, 0.0)
                under_way.append(Batch(now, work, queue))
                queue, sent = [], sent + 1
            elif coming and coming[0] <= now:
                queue.append(heapq.heappop(coming))
            else:
                batch = under_way.pop(ends.index(min(ends)))
                self.allowed.append(pace.tempo.allowed)
                pace.returned(batch.arrivals, batch.left, now)
                self.seconds += [now - arrived for arrived in batch.arrivals]
                self.ended += [now] * len(batch.arrivals)
                for _ in batch.arrivals:
                    heapq.heappush(coming, now + chance.expovariate(1 / self.think_seconds))
        return self

    @property
    def mean_allowed(self) -> float:
        """What was allowed, over the second half."""
        half = self.allowed[len(self.allowed) // 2 :]
        return sum(half) / len(half)

    @property
    def rows_per_second(self) -> float:
        """Over the second half of the requests."""
        half = len(self.ended) // 2
        return (len(self.ended) - half) / (self.ended[-1] - self.ended[half])
