"""Group commit: while one batch travels, the requests that arrive form the next one."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context, copy_context
from itertools import chain
from time import perf_counter
from typing import Generic

from predmesh_frame import Frame, concat
from predmesh_rpc import deadline
from predmesh_rpc.errors import DeadlineExceeded, TooMuch

from predmesh_prediction.batch_metrics import BatchMetrics
from predmesh_prediction.batch_spans import batch_span, leader
from predmesh_prediction.batching import (
    SMALL_ROWS,
    Flow,
    Limits,
    Part,
    Piece,
    Result,
    Trip,
    Waiting,
    next_batch,
)
from predmesh_prediction.isolating import Isolation, fail, rows_may_be_to_blame
from predmesh_prediction.pacing import Pace, departure

_SHORTEST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS = 0.05, 10.0
_CLOCK_SECONDS = 0.001
_LOOK_SECONDS = 2e-6
_ISOLATION_SECONDS = 1.0


class GroupCommit(Generic[Result]):
    """Sends the rows of many requests through *run* together, and gives each request its part.

    A request that comes while nothing travels leaves at once. Tasks belong to *tasks*, which its owner ends.
    """

    def __init__(
        self,
        run: Callable[[Frame], Awaitable[Result]],
        limits: Limits,
        tasks: asyncio.TaskGroup,
        *,
        name: str,
    ) -> None:
        self._run = run
        self._limits = limits
        self._tasks = tasks
        self._name = name
        self._queue: list[Waiting[Result]] = []
        self._queued: dict[Flow, int] = {}
        self._queued_rows = 0
        self._pace = Pace(limits.in_flight)
        self._trips: list[Trip] = []
        self._gate: asyncio.TimerHandle | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = math.inf
        self._idle = asyncio.Event()
        self._idle.set()
        self._went_through = self._isolated = -math.inf
        self._metrics = BatchMetrics(
            name,
            queued=lambda: self._queued_rows,
            travelling=lambda: len(self._trips),
            allowed=lambda: self._pace.tempo.allowed,
        )

    async def submit(self, frame: Frame, seconds: float, caller: str = "") -> list[Part[Result]]:
        """The results of *frame*'s rows, in order, within *seconds* and the time that is left.

        Args:
            frame: the rows.
            seconds: most time that it may take.
            caller: who asks; callers share full batches evenly.

        Raises:
            TooMuch: too many rows wait already, or more than can be done in time.
            DeadlineExceeded: the time is over; the rows that have not left yet cost nothing.
            PredmeshError: what *run* raised for these rows, or for a batch in which they travelled.
        """
        loop = asyncio.get_running_loop()
        now, rows = loop.time(), frame.rows
        expires = min(now + seconds, deadline.expiry())
        if expires <= now:
            raise _too_late(0.0)
        flow = (caller, rows > SMALL_ROWS)
        self._admit(rows, flow, expires - now)
        waiting: Waiting[Result] = Waiting(
            frame, perf_counter(), expires, expires - now, copy_context(), loop.create_future(), flow
        )
        self._queue.append(waiting)
        self._queued_rows += rows
        self._queued[flow] = self._queued.get(flow, 0) + rows
        if expires < self._alarm_at:
            self._wake_at(expires)
        if self._gate is None:
            self._depart()
        try:
            return await waiting.answered
        except BaseException:
            self._leave(waiting)
            raise

    async def drained(self) -> None:
        """Wait until nothing waits and nothing travels."""
        await self._idle.wait()

    def forget(self) -> None:
        """Take it out of the metrics."""
        self._metrics.forget()

    def _admit(self, rows: int, flow: Flow, seconds: float) -> None:
        tempo, room = self._pace.tempo, self._limits.max_batch_rows
        if self._queued_rows and self._queued_rows + rows > self._limits.max_queue_rows:
            wait = (self._queued_rows // room + 1) * (tempo.usual or 1.0) / tempo.allowed
            raise self._too_much("come again later, or send fewer rows", self._queued_rows, wait)
        # Even if all batches were for these, and each as quick as the quickest of late.
        ahead = self._queued.get(flow, 0)
        wait = ahead // room * tempo.quickest / tempo.allowed
        if wait > seconds:
            raise self._too_much(f"they take more than the {seconds:.3g} s that are left", ahead, wait)

    def _too_much(self, text: str, rows: int, wait: float) -> TooMuch:
        return TooMuch(
            "ERROR_REASON_OVERLOADED",
            f"{rows} rows wait already: {text}",
            retry_after_seconds=min(max(wait, _SHORTEST_RETRY_SECONDS), _LONGEST_RETRY_SECONDS),
            queuedRows=str(rows),
            limitRows=str(self._limits.max_queue_rows),
        )

    def _depart(self) -> None:
        """Let a batch leave, now or when it may."""
        if self._gate is not None:
            self._gate.cancel()
            self._gate = None
        if not self._queue:
            return
        now = perf_counter()
        when = departure([trip.left for trip in self._trips], self._pace.tempo)
        if when <= now:
            self._idle.clear()
            trip = Trip(now)
            self._trips.append(trip)
            name = f"batch of {self._name}"
            trip.task = self._tasks.create_task(self._travel(trip), name=name, context=Context())
        elif when < math.inf:
            self._gate = asyncio.get_running_loop().call_later(when - now, self._depart)

    async def _travel(self, trip: Trip) -> None:
        try:
            pieces = self._cut(trip)
            self._depart()
            if pieces:
                await self._deliver(trip, pieces)
        finally:
            self._back(trip)

    def _back(self, trip: Trip) -> None:
        """End a trip, unless that was done, and let the next batch leave."""
        if trip in self._trips:
            self._trips.remove(trip)
            trip.aboard = []  # Who is aboard knows the trip: together they would wait for garbage collection.
            self._depart()
            if not self._trips:
                self._idle.set()

    def _cut(self, trip: Trip) -> list[Piece[Result]]:
        cut = next_batch(self._queue, asyncio.get_running_loop().time(), self._limits)
        for gone in cut.gone:
            gone.sent = gone.frame.rows
        for piece in cut.pieces:
            piece.waiting.sent = piece.stop
            piece.waiting.trips += (trip,)
        trip.left, trip.aboard, trip.here = perf_counter(), [each.waiting for each in cut.pieces], len(cut.pieces)
        self._queue = cut.rest
        self._queued.clear()
        self._queued_rows = 0
        for waiting in cut.rest:
            rows = waiting.frame.rows - waiting.sent
            self._queued[waiting.flow] = self._queued.get(waiting.flow, 0) + rows
            self._queued_rows += rows
        return cut.pieces

    async def _deliver(self, trip: Trip, pieces: Sequence[Piece[Result]]) -> None:
        # A batch has its own deadline; its request id and trace are those of one request in it.
        for variable, value in leader(pieces).context.items():
            variable.set(value)
        deadline.set_expiry(max(piece.waiting.expires for piece in pieces))
        try:
            frame = _frame(pieces)
            self._metrics.left(frame.rows, trip.left - min(piece.waiting.arrived for piece in pieces))
            with batch_span(self._name, pieces, frame.rows):
                result = await self._run(frame)
        except Exception as error:
            await self._rescue(trip, pieces, error)
            return
        self._pace.returned([piece.waiting.arrived for piece in pieces], trip.left, perf_counter())
        # The next batch is on its way while these answers are written.
        self._back(trip)
        self._give(trip, pieces, result)

    async def _rescue(self, trip: Trip, pieces: Sequence[Piece[Result]], error: Exception) -> None:
        """Answer those whose neighbours made the batch fail; once a second where nothing goes through any more."""
        now = perf_counter()
        useless = now - self._went_through > _ISOLATION_SECONDS and now - self._isolated < _ISOLATION_SECONDS
        if useless or not rows_may_be_to_blame(error):
            fail(pieces, error)
            return
        self._isolated = now
        isolation = Isolation(lambda some: self._run(_frame(some)), lambda some, result: self._give(trip, some, result))
        await isolation.settle(pieces, error)

    def _give(self, trip: Trip, pieces: Sequence[Piece[Result]], result: Result) -> None:
        self._went_through = perf_counter()
        at = 0
        for waiting, start, stop in pieces:
            part = Part(result, at, at + stop - start, trip.left - waiting.arrived)
            at = part.stop
            if waiting.answered.done():
                continue
            if stop - start == waiting.frame.rows:
                waiting.answered.set_result([part])
                trip.here -= 1
                continue
            waiting.parts[start] = part
            if sum(each.stop - each.start for each in waiting.parts.values()) == waiting.frame.rows:
                waiting.answered.set_result([waiting.parts[row] for row in sorted(waiting.parts)])

    def _leave(self, waiting: Waiting[Result]) -> None:
        rows = waiting.frame.rows - waiting.sent
        self._queued_rows -= rows
        if rows:
            self._queued[waiting.flow] -= rows
            waiting.sent = waiting.frame.rows
        for trip in waiting.trips:
            trip.here -= 1
            if not trip.here and trip.task is not None:
                trip.task.cancel()

    def _wake_at(self, when: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_at = when
        self._alarm = asyncio.get_running_loop().call_at(when, self._expire)

    def _expire(self) -> None:
        """End those whose time is over, and look again when the next one's is."""
        self._alarm, self._alarm_at = None, math.inf
        now = asyncio.get_running_loop().time() + _CLOCK_SECONDS
        under_way = [
            each for each in chain(self._queue, *(trip.aboard for trip in self._trips)) if not each.answered.done()
        ]
        for waiting in under_way:
            if waiting.expires <= now:
                waiting.answered.set_exception(_too_late(waiting.seconds))
        later = [waiting.expires for waiting in under_way if waiting.expires > now]
        if later:
            # Looking at many takes time, too: at most about a tenth of it.
            self._wake_at(max(min(later), now + len(later) * _LOOK_SECONDS))


def _frame(pieces: Sequence[Piece[Result]]) -> Frame:
    return concat([_rows(*piece) for piece in pieces])


def _rows(waiting: Waiting[Result], start: int, stop: int) -> Frame:
    frame = waiting.frame
    return frame if stop - start == frame.rows else frame.take(slice(start, stop))


def _too_late(seconds: float) -> DeadlineExceeded:
    text = f"no answer within {seconds:.3g} s: allow more time, or send fewer rows"
    return DeadlineExceeded("ERROR_REASON_DEADLINE", text, budgetSeconds=f"{seconds:.3g}")
