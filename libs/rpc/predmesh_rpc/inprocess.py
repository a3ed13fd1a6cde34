"""Servers and channels without a transport, for generated code as it is: a stub's call runs the servicer in a task.

What surrounds a call is the same as on the wire: deadline, ids, errors (`grpc.aio.AioRpcError` with the Status),
cancellation, metrics. Messages are handed over as they are, so neither side may change one after giving it away; and
their size is not limited.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Generator, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import Any

import grpc

from predmesh_rpc import context
from predmesh_rpc.channels import allowed
from predmesh_rpc.edge import Failed
from predmesh_rpc.errors import DependencyDown
from predmesh_rpc.status import DETAILS_KEY, NUMBERS, to_status
from predmesh_rpc.table import CallDetails, Entry, GenericHandler, Limits, Registration, Table, not_offered

_QUEUED_MESSAGES = 16


class InProcessServer:
    """Holds servicers, and answers the channels made of it; takes ``add_XServicer_to_server`` as a grpc server does."""

    def __init__(self, servicers: Iterable[Registration] = (), limits: Limits | None = None) -> None:
        self._table = Table(limits or Limits(), servicers)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._ended: set[asyncio.Task[Any]] = set()
        self._stopped = False

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """Take in the methods of one service."""
        self._table.add_registered_method_handlers(service, handlers)

    def add_generic_rpc_handlers(self, handlers: Sequence[GenericHandler]) -> None:
        """Take in handlers that look methods up."""
        self._table.add_generic_rpc_handlers(handlers)

    async def stop(self, grace_seconds: float = 0.0) -> None:
        """Refuse new calls as a server that is gone does; cancel those that do not end within *grace_seconds*."""
        self._stopped = True
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace_seconds)
        self._ended = set(self._tasks)
        for task in self._ended:
            task.cancel()
        if self._ended:
            await asyncio.wait(self._ended)

    def start(self, path: str, work: Callable[[Entry], Coroutine[Any, Any, Any]]) -> asyncio.Task[Any]:
        """Run one call of the method at *path* in a task of its own."""
        task = asyncio.get_running_loop().create_task(self._found(path, work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _found(self, path: str, work: Callable[[Entry], Coroutine[Any, Any, Any]]) -> Any:
        entry = self._table.known(path) or self._table.looked_up(CallDetails(path))
        if self._stopped:
            raise _gone(path)
        if entry is None:
            raise _rpc_error(Failed(to_status(not_offered(path)), ""))
        try:
            return await work(entry)
        except asyncio.CancelledError:
            if asyncio.current_task() in self._ended:
                raise _gone(path) from None
            raise


class InProcessChannel(grpc.aio.Channel):
    """A channel to an `InProcessServer`; generated stubs take it as any other."""

    def __init__(self, server: InProcessServer) -> None:
        self._server = server

    def unary_unary(self, method: str, *_: Any, **__: Any) -> Any:
        """Callable of a method with one request and one answer."""
        return _Callable(self._server, method, _SingleCall)

    def stream_unary(self, method: str, *_: Any, **__: Any) -> Any:
        """Callable of a method with a stream of requests and one answer."""
        return _Callable(self._server, method, _SingleCall, streams_requests=True)

    def unary_stream(self, method: str, *_: Any, **__: Any) -> Any:
        """Callable of a method with one request and a stream of answers."""
        return _Callable(self._server, method, _StreamCall)

    def stream_stream(self, method: str, *_: Any, **__: Any) -> Any:
        """Callable of a method with a stream of requests and a stream of answers."""
        return _Callable(self._server, method, _StreamCall, streams_requests=True)

    async def close(self, grace: float | None = None) -> None:
        """Do nothing: the server is not the channel's."""

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """Ready, always."""
        return grpc.ChannelConnectivity.READY

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Wait for ever, unless the state is another one: it does not change."""
        if last_observed_state is grpc.ChannelConnectivity.READY:
            await asyncio.get_running_loop().create_future()

    async def channel_ready(self) -> None:
        """Return at once."""

    async def __aenter__(self) -> InProcessChannel:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None


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


class _Callable:
    __slots__ = ("_kind", "_path", "_server", "_streams_requests")

    def __init__(
        self, server: InProcessServer, path: str, kind: type[_Call], *, streams_requests: bool = False
    ) -> None:
        self._server = server
        self._path = path
        self._kind = kind
        self._streams_requests = streams_requests

    def __call__(self, request: Any = None, *, timeout: float | None = None, metadata: Any = None, **_: Any) -> Any:
        servicer_context = InProcessContext(context.joined(metadata), allowed(timeout))
        if not self._streams_requests:
            return self._kind(self._server, self._path, servicer_context, request)
        if request is not None:
            return self._kind(self._server, self._path, servicer_context, _each(request))
        writer = _Writer()
        return self._kind(self._server, self._path, servicer_context, writer.messages(), writer)


class _Writer:
    """Requests that the caller writes one by one."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Any] = asyncio.Queue(_QUEUED_MESSAGES)

    async def write(self, message: Any) -> None:
        await self._queue.put(message)

    async def done(self) -> None:
        await self._queue.put(grpc.aio.EOF)

    async def messages(self) -> AsyncIterator[Any]:
        while (message := await self._queue.get()) is not grpc.aio.EOF:
            yield message


class _Call:
    """What the four kinds of call have in common, as grpc.aio.Call has it."""

    def __init__(
        self, server: InProcessServer, path: str, wire: InProcessContext, request: Any, writer: _Writer | None = None
    ) -> None:
        self._wire = wire
        self._writer = writer
        self._task = server.start(path, self._work(wire, request))

    def _work(self, wire: InProcessContext, request: Any) -> Callable[[Entry], Coroutine[Any, Any, Any]]:
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


class _SingleCall(_Call):
    """A call with one answer."""

    def _work(self, wire: InProcessContext, request: Any) -> Callable[[Entry], Coroutine[Any, Any, Any]]:
        async def work(entry: Entry) -> Any:
            try:
                async with entry.method.call(wire.invocation_metadata(), wire.time_remaining()) as at_hand:
                    response = await entry.behaviour(request, wire)
            except Failed as failed:
                raise _rpc_error(failed) from None
            except grpc.aio.AbortError:
                raise wire.error() from None
            wire.trailing.append((context.REQUEST_ID, at_hand.id))
            wire.initial.extend(at_hand.initial_metadata)
            return response

        return work

    def __await__(self) -> Generator[Any, None, Any]:
        return self._task.__await__()


class _StreamCall(_Call):
    """A call with a stream of answers; dropping it stops the work."""

    def __init__(self, *args: Any) -> None:
        self._queue: asyncio.Queue[Any] = asyncio.Queue(_QUEUED_MESSAGES)
        super().__init__(*args)
        self._task.add_done_callback(_retrieved)

    def _work(self, wire: InProcessContext, request: Any) -> Callable[[Entry], Coroutine[Any, Any, Any]]:
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
                raise _rpc_error(failed) from None
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


async def _each(requests: Any) -> AsyncIterator[Any]:
    if isinstance(requests, AsyncIterable):
        async for request in requests:
            yield request
    else:
        for request in requests:
            yield request


def _gone(path: str) -> grpc.aio.AioRpcError:
    gone = DependencyDown("ERROR_REASON_DRAINING", "the service has ended; retry", service=path.split("/")[1])
    return _rpc_error(Failed(to_status(gone), ""))


def _rpc_error(failed: Failed) -> grpc.aio.AioRpcError:
    status = failed.status
    trailing = grpc.aio.Metadata((context.REQUEST_ID, failed.request_id), (DETAILS_KEY, status.SerializeToString()))
    return grpc.aio.AioRpcError(NUMBERS[status.code], grpc.aio.Metadata(), trailing, status.message)
