"""Servers and channels without a transport, for generated code as it is: a stub's call runs the servicer in a task.

What surrounds a call is the same as on the wire: deadline, ids, errors (`grpc.aio.AioRpcError` with the Status),
cancellation, metrics. Messages are handed over as they are, so neither side may change one after giving it away; and
their size is not limited.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping, Sequence
from typing import Any

import grpc

from predmesh_rpc import context
from predmesh_rpc.channels import allowed
from predmesh_rpc.edge import Failed
from predmesh_rpc.errors import DependencyDown, PredmeshError
from predmesh_rpc.inprocess_calls import Call, InProcessContext, SingleCall, StreamCall, Work, Writer, rpc_error
from predmesh_rpc.status import to_status
from predmesh_rpc.table import CallDetails, GenericHandler, Limits, Registration, Table, not_offered


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

    def start(self, path: str, work: Work) -> asyncio.Task[Any]:
        """Run one call of the method at *path* in a task of its own."""
        task = asyncio.get_running_loop().create_task(self._found(path, work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _found(self, path: str, work: Work) -> Any:
        if self._stopped:
            raise _gone(path)
        try:
            entry = self._table.known(path) or self._table.looked_up(CallDetails(path))
        except PredmeshError as error:
            raise rpc_error(Failed(to_status(error, ""), "")) from None
        if entry is None:
            raise rpc_error(Failed(to_status(not_offered(path)), ""))
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
        return _Callable(self._server, method, SingleCall)

    def stream_unary(self, method: str, *_: Any, **__: Any) -> Any:
        """Callable of a method with a stream of requests and one answer."""
        return _Callable(self._server, method, SingleCall, streams_requests=True)

    def unary_stream(self, method: str, *_: Any, **__: Any) -> Any:
        """Callable of a method with one request and a stream of answers."""
        return _Callable(self._server, method, StreamCall)

    def stream_stream(self, method: str, *_: Any, **__: Any) -> Any:
        """Callable of a method with a stream of requests and a stream of answers."""
        return _Callable(self._server, method, StreamCall, streams_requests=True)

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


class _Callable:
    __slots__ = ("_kind", "_path", "_server", "_streams_requests")

    def __init__(self, server: InProcessServer, path: str, kind: type[Call], *, streams_requests: bool = False) -> None:
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
        writer = Writer()
        return self._kind(self._server, self._path, servicer_context, writer.messages(), writer)


async def _each(requests: Any) -> AsyncIterator[Any]:
    if isinstance(requests, AsyncIterable):
        async for request in requests:
            yield request
    else:
        for request in requests:
            yield request


def _gone(path: str) -> grpc.aio.AioRpcError:
    gone = DependencyDown("ERROR_REASON_DRAINING", "the service has ended; retry", service=path.split("/")[1])
    return rpc_error(Failed(to_status(gone), ""))
