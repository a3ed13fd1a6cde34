"""Which waiting rows travel together next: the decision alone, without a loop."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextvars import Context
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from predmesh_frame import Frame

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Limits:
    """How large batches and queue may get."""

    max_batch_rows: int = 1024
    """Rows of one batch."""
    max_queue_rows: int = 20_000
    """Rows that may wait; the request that would exceed it is refused."""
    in_flight: int = 1
    """Batches of one bundle that travel at once; with more, each is smaller."""


@dataclass(frozen=True, slots=True)
class Part(Generic[Result]):
    """The rows of one request in one batch's result."""

    result: Result
    """The result of the whole batch."""
    start: int
    """First row of the batch that is meant."""
    stop: int
    """The row after the last."""
    queued_seconds: float
    """Time that the request waited before the batch left."""


@dataclass(slots=True, eq=False)
class Waiting(Generic[Result]):
    """A request in the queue."""

    frame: Frame
    """Its rows."""
    arrived: float
    """When it came, by `perf_counter`: uvloop's own time is in whole milliseconds."""
    expires: float
    """When its time is over, on the loop's clock."""
    context: Context
    """What is ambient for it: request id, trace."""
    answered: asyncio.Future[list[Part[Result]]]
    """Resolves once every row has its result; done early when nobody waits any more."""
    sent: int = 0
    """Rows that have left the queue."""
    parts: list[Part[Result]] = field(default_factory=list)
    """Results so far, in row order."""


@dataclass(frozen=True, slots=True)
class Piece(Generic[Result]):
    """Rows of one request that travel in one batch."""

    waiting: Waiting[Result]
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Cut(Generic[Result]):
    """What becomes of a queue."""

    pieces: list[Piece[Result]]
    """The next batch, in queue order; empty when nothing is left to do."""
    rest: list[Waiting[Result]]
    """What goes on waiting, in order; the first may be partly in the batch."""


def next_batch(queue: Sequence[Waiting[Result]], now: float, limits: Limits) -> Cut[Result]:
    """The next batch of *queue* at *now*: first come, first served; who is gone or too late is in neither part.

    A request that does not fit goes as far as it fits; its other rows come first in the next batch.
    """
    pieces: list[Piece[Result]] = []
    room = limits.max_batch_rows
    for at, waiting in enumerate(queue):
        if waiting.answered.done() or waiting.expires <= now:
            continue
        if not room:
            return Cut(pieces, list(queue[at:]))
        stop = min(waiting.frame.rows, waiting.sent + room)
        pieces.append(Piece(waiting, waiting.sent, stop))
        room -= stop - waiting.sent
        if stop < waiting.frame.rows:
            return Cut(pieces, list(queue[at:]))
    return Cut(pieces, [])
