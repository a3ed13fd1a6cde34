"""Which waiting rows travel together next: the decision alone, without a loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from contextvars import Context
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

from predmesh_frame import Frame

Result = TypeVar("Result")
_Key = TypeVar("_Key")

Flow = tuple[str, bool]
"""Whose requests they are, and whether they are large: flows share a full batch evenly."""

SMALL_ROWS = 32
"""Rows up to which a request is small: it is never behind large ones."""

_TURNS = 4
"""Turns in a batch: a request takes this part of one before the next of its flow takes its own."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How large batches and queue may get."""

    max_batch_rows: int = 1024
    """Rows of one batch."""
    max_queue_rows: int = 20_000
    """Rows that may wait; the request that would exceed it is refused, unless nothing else waits."""
    in_flight: int = 8
    """Most batches of one bundle that travel at once; what is measured decides how many of them do."""
    max_queue_bytes: int = 256 * 1024 * 1024
    """Bytes that may wait, by the declared types and shapes of the rows."""


class Part(NamedTuple, Generic[Result]):
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
class Trip:
    """One batch under way."""

    left: float
    """When it leaves, by `perf_counter`."""
    task: asyncio.Task[Any] | None = None
    """What carries it."""
    aboard: Sequence[Waiting[Any]] = ()
    """The requests in it."""
    here: int = 0
    """How many of them still wait."""


@dataclass(slots=True, eq=False)
class Waiting(Generic[Result]):
    """A request under way."""

    frame: Frame
    """Its rows."""
    arrived: float
    """When it came, by `perf_counter`: uvloop's own time is in whole milliseconds."""
    expires: float
    """When its time is over, on the loop's clock."""
    seconds: float
    """The time that it was given."""
    context: Context
    """What is ambient for it: request id, trace."""
    answered: asyncio.Future[list[Part[Result]]]
    """Resolves once every row has its result; done early when nobody waits any more."""
    flow: Flow = ("", False)
    """What it shares batches in."""
    sent: int = 0
    """Rows that have left the queue."""
    trips: tuple[Trip, ...] = ()
    """The batches that its rows left in."""
    parts: dict[int, Part[Result]] = field(default_factory=dict)
    """Results so far, by the row that they begin with."""


class Piece(NamedTuple, Generic[Result]):
    """Rows of one request that travel in one batch."""

    waiting: Waiting[Result]
    start: int
    stop: int


class Cut(NamedTuple, Generic[Result]):
    """What becomes of a queue."""

    pieces: list[Piece[Result]]
    """The next batch; empty when nothing is left to do."""
    rest: list[Waiting[Result]]
    """What goes on waiting, in order; may be partly in the batch."""
    gone: list[Waiting[Result]]
    """Who is answered, gone or too late: no more of it travels."""


def next_batch(queue: Sequence[Waiting[Result]], now: float, limits: Limits) -> Cut[Result]:
    """The next batch of *queue* at *now*.

    Everything, where it fits. Else each flow has the same share, and what one does not need is the others'; within a
    flow it is first come, first served, a quarter of a batch at a time. A flow that had no share comes first next time.
    """
    live: list[Waiting[Result]] = []
    gone: list[Waiting[Result]] = []
    rows = 0
    for waiting in queue:
        if waiting.answered.done() or waiting.expires <= now:
            gone.append(waiting)
        else:
            live.append(waiting)
            rows += waiting.frame.rows - waiting.sent
    if rows <= limits.max_batch_rows:
        return Cut([Piece(waiting, waiting.sent, waiting.frame.rows) for waiting in live], [], gone)
    return _shared(live, gone, limits.max_batch_rows)


def shares(wanted: Mapping[_Key, int], room: int) -> dict[_Key, int]:
    """*room* rows among those who want some: nobody gets more than wanted, and no two who lack some differ by over one.

    Who comes first gets the odd rows.
    """
    given = dict.fromkeys(wanted, 0)
    open_ = [key for key, rows in wanted.items() if rows]
    while open_ and room:
        each = max(1, room // len(open_))
        for key in open_[:room]:
            rows = min(each, wanted[key] - given[key])
            given[key] += rows
            room -= rows
        open_ = [key for key in open_ if given[key] < wanted[key]]
    return given


def _shared(live: Sequence[Waiting[Result]], gone: list[Waiting[Result]], room: int) -> Cut[Result]:
    flows: dict[Flow, list[Waiting[Result]]] = {}
    for waiting in live:
        flows.setdefault(waiting.flow, []).append(waiting)
    wanted = {flow: sum(each.frame.rows - each.sent for each in line) for flow, line in flows.items()}
    cut: Cut[Result] = Cut([], [], gone)
    served: list[Waiting[Result]] = []
    for flow, rows in shares(wanted, room).items():
        pieces, rest = _in_turn(flows[flow], rows, max(1, room // _TURNS))
        cut.pieces.extend(pieces)
        (served if rows else cut.rest).extend(rest)
    cut.rest.extend(served)
    return cut


def _in_turn(
    flow: Sequence[Waiting[Result]], rows: int, turn: int
) -> tuple[list[Piece[Result]], list[Waiting[Result]]]:
    """The first *rows* of *flow*, and who goes on waiting: who had a whole turn behind the others."""
    line = deque(flow)
    taken: dict[Waiting[Result], int] = {}
    while rows:
        first = line[0]
        left = first.frame.rows - first.sent - taken.get(first, 0)
        take = min(left, turn, rows)
        taken[first] = taken.get(first, 0) + take
        rows -= take
        if take == left:
            line.popleft()
        elif take == turn:
            line.rotate(-1)
    return [Piece(each, each.sent, each.sent + count) for each, count in taken.items()], list(line)
