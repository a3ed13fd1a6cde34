"""Threads for work that would hold up the event loop, with a bounded queue and the ambient deadline; no processes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from types import TracebackType
from typing import Self, TypeVar

from predmesh_rpc import deadline
from predmesh_rpc.errors import DeadlineExceeded, TooMuch

T = TypeVar("T")

_RETRY_AFTER_SECONDS = 0.1


class Workers:
    """A few threads that take turns; a context manager that lets the running work end.

    A thread cannot be stopped from outside, so rows count as queued until their work has really ended.
    """

    def __init__(self, stage: str, *, threads: int = 1, limit_rows: int = 20_000) -> None:
        """Prepare the threads; none starts before there is work.

        Args:
            stage: what the work is for, in errors and names of threads.
            threads: how many pieces of work run at once.
            limit_rows: most rows queued and running; a single larger piece is taken when nothing else is there.
        """
        self._stage = stage
        self._limit_rows = limit_rows
        self._rows = 0
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=f"predmesh-{stage}")

    @property
    def queued_rows(self) -> int:
        """Rows waiting or being worked on."""
        return self._rows

    async def run(self, work: Callable[[], T], *, rows: int = 1) -> T:
        """What *work* answers, computed in a thread with the caller's context.

        Raises:
            TooMuch: the queue is full.
            DeadlineExceeded: the ambient deadline passed first; work that has not begun never will.
        """
        self._take(rows)
        try:
            future = self._pool.submit(copy_context().run, work)
        except BaseException:
            self._give_back(rows)
            raise
        future.add_done_callback(lambda _: self._give_back(rows))
        return await self._in_time(future)

    async def _in_time(self, future: Future[T]) -> T:
        try:
            async with asyncio.timeout(deadline.timeout()) as limit:
                return await asyncio.wrap_future(future)
        except TimeoutError:
            if not limit.expired():
                raise
            raise DeadlineExceeded(
                "ERROR_REASON_DEADLINE", f"{self._stage} took longer than the time allowed", stage=self._stage
            ) from None

    def _take(self, rows: int) -> None:
        with self._lock:
            if self._rows and self._rows + rows > self._limit_rows:
                raise TooMuch(
                    "ERROR_REASON_OVERLOADED",
                    f"{self._rows} rows wait for {self._stage}; retry later",
                    _RETRY_AFTER_SECONDS,
                    queued_rows=self._rows,
                    limit_rows=self._limit_rows,
                )
            self._rows += rows

    def _give_back(self, rows: int) -> None:
        with self._lock:
            self._rows -= rows

    def close(self) -> None:
        """Drop what waits; what runs ends by itself."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def __aenter__(self) -> Self:
        """Take work."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take no more."""
        self.close()
