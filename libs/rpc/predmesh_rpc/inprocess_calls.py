"""The calls of an in-process channel: a task that runs the servicer, seen by the caller as grpc.aio's calls are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterable
from contextlib import aclosing
from typing import Any, Protocol

import grpc

from predmesh_rpc import context
from predmesh_rpc.edge import Failed
from predmesh_rpc.status import DETAILS_KEY, NUMBERS
from predmesh_rpc.table import Entry

_QUEUED_MESSAGES = 16

Work = Callable[[Entry], Coroutine[Any, Any, Any]]
"""What to do with a method once it is found."""


class Starter(Protocol):
    """A server that runs work on a method in a task of its own."""

    def start(self, path: str, work: Work) -> asyncio.Task[Any]:
        """Run one call of the method at *path*."""
        ...


class InProcessContext:
    """What a servicer's method gets as its context; the part of grpc.aio.ServicerContext that needs no transport."""

    def __init__(self, metadata: context.Metadata, seconds: float | None) -> None:
        self._metadata = metadata
        self._seconds = seconds
        self._code = grpc.StatusCode.OK
        self._details = ""
        self.initial: list[tuple[str, str | bytes]] = []
        self.trailing: list[tuple[str, str | bytes]] = []

    def invocation_metadata(self) -> context.Metadata:
        """What came with the call."""
        return self._metadata

    def time_remaining(self) -> float | None:
        """Seconds the caller gave; None if it gave none."""
        return self._seconds

    def set_trailing_metadata(self, metadata: Iterable[tuple[str, str | bytes]]) -> None:
        """What goes out after the last message."""
        self.trailing = list(metadata)

    async def send_initial_metadata(self, metadata: Iterable[tuple[str, str | bytes]]) -> None:
        """What goes out before the first message."""
        self.initial.extend(metadata)

    async def abort(self, code: grpc.StatusCode, details: str = "", trailing_metadata: Any = ()) -> None:
        """End the call with *code*."""
        self._code, self._details = code, details
        self.trailing = list(trailing_metadata)
        raise grpc.aio.AbortError("the servicer aborted the call")

    def error(self) -> grpc.aio.AioRpcError:
        """What the caller is raised after `abort`."""
        return grpc.aio.AioRpcError(
            self._code, grpc.aio.Metadata(*self.initial), grpc.aio.Metadata(*self.trailing), self._details
        )


class Writer:
    """Requests that the caller writes one by one."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Any] = asyncio.Queue(_QUEUED_MESSAGES)

    async def write(self, message: Any) -> None:
        """Queue one request; waits while the queue is full."""
        await self._queue.put(message)

    async def done(self) -> None:
        """Queue the end."""
        await self._queue.put(grpc.aio.EOF)

    async def messages(self) -> AsyncIterator[Any]:
        """The requests, as the servicer reads them."""
        while (message := await self._queue.get()) is not grpc.aio.EOF:
            yield message


class Call:
    """What the four kinds of call have in common, as grpc.aio.Call has it."""

    def __init__(
        self, server: Starter, path: str, wire: InProcessContext, request: Any, writer: Writer | None = None
    ) -> None:
        self._wire = wire
        self._writer = writer
        self._task = server.start(path, self._work(wire, request))

    def _work(self, wire: InProcessContext, request: Any) -> Work:
        raise NotImplementedError

    async def write(self, message: Any) -> None:
        """Send one request of a stream."""
        if self._writer is None:
            raise grpc.aio.UsageError("the requests came as an iterator, or there is one request only")
        if not self._task.done():
            await self._either(self._writer.write(message))
        if self._task.done():
            await self._task

    async def done_writing(self) -> None:
        """Send no more requests."""
        if self._writer is not None and not self._task.done():
            await self._either(self._writer.done())

    async def _either(self, writing: Coroutine[Any, Any, None]) -> None:
        written = asyncio.ensure_future(writing)
        try:
            await asyncio.wait([written, self._task], return_when=asyncio.FIRST_COMPLETED)
        finally:
            written.cancel()

    def cancel(self) -> bool:
        """Stop the work; False if it had ended."""
        return self._task.cancel()

    def cancelled(self) -> bool:
        """Whether the work was stopped."""
        return self._task.cancelled()

    def done(self) -> bool:
        """Whether the call has ended."""
        return self._task.done()

    def time_remaining(self) -> float | None:
        """Seconds that the call was given."""
        return self._wire.time_remaining()

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        """Call *callback* with this call once it has ended."""
        self._task.add_done_callback(lambda _: callback(self))

    async def wait_for_connection(self) -> None:
        """Return at once."""

    async def initial_metadata(self) -> grpc.aio.Metadata:
        """What came before the first message; waits for the end of the call."""
        await asyncio.wait([self._task])
        return grpc.aio.Metadata(*self._wire.initial)

    async def trailing_metadata(self) -> grpc.aio.Metadata:
        """What came after the last message; waits for the end of the call."""
        error = await self._error()
        return error.trailing_metadata() if error else grpc.aio.Metadata(*self._wire.trailing)

    async def code(self) -> grpc.StatusCode:
        """How the call ended; waits for it."""
        error = await self._error()
        if self._task.cancelled():
            return grpc.StatusCode.CANCELLED
        return error.code() if error else grpc.StatusCode.OK

    async def details(self) -> str:
        """In words, how the call ended; waits for it."""
        error = await self._error()
        return (error.details() or "") if error else ""

    async def _error(self) -> grpc.aio.AioRpcError | None:
        await asyncio.wait([self._task])
        error = None if self._task.cancelled() else self._task.exception()
        return error if isinstance(error, grpc.aio.AioRpcError) else None


class SingleCall(Call):
    """A call with one answer."""

    def _work(self, wire: InProcessContext, request: Any) -> Work:
        async def work(entry: Entry) -> Any:
            try:
                async with entry.method.call(wire.invocation_metadata(), wire.time_remaining()) as at_hand:
                    response = await entry.behaviour(request, wire)
            except Failed as failed:
                raise rpc_error(failed) from None
            except grpc.aio.AbortError:
                raise wire.error() from None
            wire.trailing.append((context.REQUEST_ID, at_hand.id))
            wire.initial.extend(at_hand.initial_metadata)
            return response

        return work

    def __await__(self) -> Generator[Any, None, Any]:
        return self._task.__await__()


class StreamCall(Call):
    """A call with a stream of answers; dropping it stops the work."""

    def __init__(self, *args: Any) -> None:
        self._queue: asyncio.Queue[Any] = asyncio.Queue(_QUEUED_MESSAGES)
        super().__init__(*args)
        self._task.add_done_callback(_retrieved)

    def _work(self, wire: InProcessContext, request: Any) -> Work:
        queue = self._queue  # not self: the task must not keep alive a call that its caller has dropped

        async def work(entry: Entry) -> None:
            try:
                async with entry.method.call(wire.invocation_metadata(), wire.time_remaining()) as at_hand:
                    wire.trailing.append((context.REQUEST_ID, at_hand.id))
                    async with aclosing(entry.behaviour(request, wire)) as messages:
                        async for message in messages:
                            await queue.put(message)
                    wire.initial.extend(at_hand.initial_metadata)
            except Failed as failed:
                raise rpc_error(failed) from None
            except grpc.aio.AbortError:
                raise wire.error() from None

        return work

    async def read(self) -> Any:
        """The next answer; grpc.aio.EOF after the last."""
        if self._queue.empty() and not self._task.done():
            getting = asyncio.ensure_future(self._queue.get())
            try:
                await asyncio.wait([getting, self._task], return_when=asyncio.FIRST_COMPLETED)
                if getting.done():
                    return getting.result()
            finally:
                getting.cancel()
        if not self._queue.empty():
            return self._queue.get_nowait()
        await self._task
        return grpc.aio.EOF

    async def __aiter__(self) -> AsyncIterator[Any]:
        while (message := await self.read()) is not grpc.aio.EOF:
            yield message

    def __del__(self) -> None:
        if not self._task.done() and not self._task.get_loop().is_closed():
            self._task.cancel()


def _retrieved(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()


def rpc_error(failed: Failed) -> grpc.aio.AioRpcError:
    """What a stub raises on the wire for the same failure."""
    status = failed.status
    trailing = grpc.aio.Metadata((context.REQUEST_ID, failed.request_id), (DETAILS_KEY, status.SerializeToString()))
    return grpc.aio.AioRpcError(NUMBERS[status.code], grpc.aio.Metadata(), trailing, status.message)
