"""Group commit: while one batch travels, the requests that arrive form the next one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextvars import copy_context
from time import perf_counter
from typing import Generic, TypeVar

from predmesh_frame import Frame, concat
from predmesh_rpc import deadline
from predmesh_rpc.errors import DeadlineExceeded, TooMuch

from predmesh_prediction.batching import Limits, Part, Piece, Waiting, next_batch

Result = TypeVar("Result")

_SHORTEST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS = 0.05, 10.0
_SMOOTHING = 0.2


class GroupCommit(Generic[Result]):
    """Sends the rows of many requests through *run* together, and gives each request its part.

    A request that comes while nothing travels leaves at once. Tasks belong to *tasks*, which its owner ends.
    """

    def __init__(
        self, run: Callable[[Frame], Awaitable[Result]], limits: Limits, tasks: asyncio.TaskGroup, *, name: str
    ) -> None:
        self._run = run
        self._limits = limits
        self._tasks = tasks
        self._name = name
        self._queue: list[Waiting[Result]] = []
        self._queued_rows = 0
        self._travelling = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._rows_per_second = 0.0

    async def submit(self, frame: Frame, seconds: float) -> list[Part[Result]]:
        """The results of *frame*'s rows, in order, within *seconds* and the time that is left.

        Raises:
            TooMuch: too many rows wait already.
            DeadlineExceeded: the time is over; the rows that have not left yet cost nothing.
            PredmeshError: what *run* raised for a batch in which the rows travelled.
        """
        self._admit(frame.rows)
        loop = asyncio.get_running_loop()
        seconds = min(seconds, deadline.remaining())
        waiting: Waiting[Result] = Waiting(
            frame, perf_counter(), loop.time() + seconds, copy_context(), loop.create_future()
        )
        self._queue.append(waiting)
        self._queued_rows += frame.rows
        self._depart()
        alarm = loop.call_at(waiting.expires, _expire, waiting, seconds)
        try:
            return await waiting.answered
        finally:
            alarm.cancel()

    async def drained(self) -> None:
        """Wait until nothing waits and nothing travels."""
        await self._idle.wait()

    def _admit(self, rows: int) -> None:
        if self._queued_rows + rows <= self._limits.max_queue_rows:
            return
        wait = self._queued_rows / self._rows_per_second if self._rows_per_second else 1.0
        raise TooMuch(
            "ERROR_REASON_OVERLOADED",
            f"{self._queued_rows} rows wait already: come again later, or send fewer rows",
            retry_after_seconds=min(max(wait, _SHORTEST_RETRY_SECONDS), _LONGEST_RETRY_SECONDS),
            queuedRows=str(self._queued_rows),
            limitRows=str(self._limits.max_queue_rows),
        )

    def _depart(self) -> None:
        if self._queue and self._travelling < self._limits.in_flight:
            self._travelling += 1
            self._idle.clear()
            # A batch has its own deadline; its request id and trace are those of the request that it leads with.
            context = self._queue[0].context.copy()
            self._tasks.create_task(self._travel(), name=f"batch of {self._name}", context=context)

    async def _travel(self) -> None:
        try:
            pieces = self._cut()
            if pieces:
                await self._deliver(pieces)
        finally:
            self._travelling -= 1
            self._depart()
            if not self._travelling:
                self._idle.set()

    def _cut(self) -> list[Piece[Result]]:
        cut = next_batch(self._queue, asyncio.get_running_loop().time(), self._limits)
        for piece in cut.pieces:
            piece.waiting.sent = piece.stop
        self._queue = cut.rest
        self._queued_rows = sum(waiting.frame.rows - waiting.sent for waiting in cut.rest)
        return cut.pieces

    async def _deliver(self, pieces: Sequence[Piece[Result]]) -> None:
        left = perf_counter()
        latest = max(piece.waiting.expires for piece in pieces)
        self._cancel_when_deserted(pieces)
        try:
            deadline.set_expiry(latest)
            result = await self._run(concat([_rows(piece) for piece in pieces]))
        except Exception as error:
            for piece in pieces:
                if not piece.waiting.answered.done():
                    piece.waiting.answered.set_exception(error)
            return
        rows = _give(pieces, result, left)
        self._pace(rows / max(perf_counter() - left, 1e-6))

    def _cancel_when_deserted(self, pieces: Sequence[Piece[Result]]) -> None:
        task, here = asyncio.current_task(), len(pieces)

        def leave(_: asyncio.Future[list[Part[Result]]]) -> None:
            nonlocal here
            here -= 1
            if not here and task is not None:
                task.cancel()

        for piece in pieces:
            piece.waiting.answered.add_done_callback(leave)

    def _pace(self, rows_per_second: float) -> None:
        known = self._rows_per_second or rows_per_second
        self._rows_per_second = known + _SMOOTHING * (rows_per_second - known)


def _expire(waiting: Waiting[Result], seconds: float) -> None:
    if not waiting.answered.done():
        text = f"no answer within {seconds:.3g} s: allow more time, or send fewer rows"
        error = DeadlineExceeded("ERROR_REASON_DEADLINE", text, budgetSeconds=f"{seconds:.3g}")
        waiting.answered.set_exception(error)


def _rows(piece: Piece[Result]) -> Frame:
    frame = piece.waiting.frame
    return frame if piece.stop - piece.start == frame.rows else frame.take(slice(piece.start, piece.stop))


def _give(pieces: Sequence[Piece[Result]], result: Result, left: float) -> int:
    at = 0
    for piece in pieces:
        waiting, rows = piece.waiting, piece.stop - piece.start
        waiting.parts.append(Part(result, at, at + rows, left - waiting.arrived))
        at += rows
        if piece.stop == waiting.frame.rows and not waiting.answered.done():
            waiting.answered.set_result(waiting.parts)
    return at
