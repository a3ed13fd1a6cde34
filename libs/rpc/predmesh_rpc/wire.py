"""The table of methods as grpc.aio serves it: handlers of bytes, each wrapped in the edge once.

Bytes, because a message that is too long or cannot be read is told to the caller in the mesh's own words; with a
deserializer, gRPC would answer such by itself.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, NoReturn, TypeVar

import grpc
from google.protobuf.message import DecodeError

from predmesh_rpc import context
from predmesh_rpc.edge import Failed
from predmesh_rpc.errors import PredmeshError
from predmesh_rpc.status import DETAILS_KEY, NUMBERS, to_status
from predmesh_rpc.table import Entry, Table, malformed, not_offered, too_large

_T = TypeVar("_T")


class RawHandlers:
    """Collects handlers that the edge leaves alone: health and reflection, whose streams have no end."""

    def __init__(self) -> None:
        self.handlers: dict[str, Any] = {}

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """Take in the methods of one service."""
        self.handlers.update({f"/{service}/{name}": handler for name, handler in handlers.items()})

    def add_generic_rpc_handlers(self, handlers: Sequence[Any]) -> None:
        """Take in methods as older generated code offers them."""
        for handler in handlers:
            self.handlers.update(handler._method_handlers)


class WireHandlers(grpc.GenericRpcHandler):
    """Looks up the wrapped handler of a call; the only handler that a grpc.aio server of the mesh has."""

    def __init__(self, table: Table, raw: RawHandlers) -> None:
        self._table = table
        self._ready: dict[str, Any] = dict(raw.handlers)

    def service(self, handler_call_details: Any) -> Any:
        """The handler of the call; where there is none, one that says why."""
        path = handler_call_details.method
        ready = self._ready.get(path)
        if ready is not None:
            return ready
        entry = self._table.known(path)
        if entry is not None:
            wrapped = self._ready[path] = wire_handler(entry, self._table.limits.message_bytes)
            return wrapped
        try:
            entry = self._table.looked_up(handler_call_details)
        except PredmeshError as error:
            return _refused(error)
        return (
            wire_handler(entry, self._table.limits.message_bytes) if entry is not None else _refused(not_offered(path))
        )


def wire_handler(entry: Entry, message_bytes: int) -> Any:
    """The grpc.RpcMethodHandler, of bytes, that serves *entry*."""
    handler = entry.handler
    read = _reader(handler.request_deserializer, message_bytes)
    write = handler.response_serializer or _same
    answer = _streamed(entry, read, write) if handler.response_streaming else _single(entry, read, write)
    match handler.request_streaming, handler.response_streaming:
        case False, False:
            return grpc.unary_unary_rpc_method_handler(answer)
        case False, True:
            return grpc.unary_stream_rpc_method_handler(answer)
        case True, False:
            return grpc.stream_unary_rpc_method_handler(answer)
        case _:
            return grpc.stream_stream_rpc_method_handler(answer)


def _single(entry: Entry, read: Callable[[Any], Any], write: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
    method, behaviour = entry.method, entry.behaviour

    async def answer(payload: Any, wire: Any) -> Any:
        try:
            async with method.call(wire.invocation_metadata() or (), wire.time_remaining()) as request:
                response = write(await behaviour(read(payload), wire))
        except Failed as failed:
            aborting = _abort(wire, failed)
            # The call keeps what abort raises, and these the call: together they would wait for a collection.
            del payload, wire
            return await aborting
        wire.set_trailing_metadata(((context.REQUEST_ID, request.id),))
        if request.initial_metadata:
            await wire.send_initial_metadata(request.initial_metadata)
        return response

    return answer


def _streamed(
    entry: Entry, read: Callable[[Any], Any], write: Callable[[Any], Any]
) -> Callable[[Any, Any], AsyncIterator[Any]]:
    method, behaviour = entry.method, entry.behaviour

    async def answer(payload: Any, wire: Any) -> AsyncIterator[Any]:
        begun = False
        try:
            async with method.call(wire.invocation_metadata() or (), wire.time_remaining()) as request:
                wire.set_trailing_metadata(((context.REQUEST_ID, request.id),))
                async with aclosing(behaviour(read(payload), wire)) as messages:
                    async for message in messages:
                        if not begun and request.initial_metadata:
                            await wire.send_initial_metadata(request.initial_metadata)
                        begun = True
                        yield write(message)
        except Failed as failed:
            aborting = _abort(wire, failed)
            del payload, wire
            await aborting

    return answer


def _abort(wire: Any, failed: Failed) -> Awaitable[NoReturn]:
    status = failed.status
    trailing = ((context.REQUEST_ID, failed.request_id), (DETAILS_KEY, status.SerializeToString()))
    aborting: Awaitable[NoReturn] = wire.abort(NUMBERS[status.code], status.message, trailing)
    return aborting


def _reader(deserialize: Callable[[bytes], Any] | None, limit: int) -> Callable[[Any], Any]:
    parse = deserialize or _same

    def read(payload: bytes) -> Any:
        if len(payload) > limit:
            raise too_large(len(payload), limit)
        try:
            return parse(payload)
        except DecodeError:
            raise malformed() from None

    async def read_all(payloads: AsyncIterator[bytes]) -> AsyncIterator[Any]:
        async for payload in payloads:
            yield read(payload)

    return lambda payload: read(payload) if isinstance(payload, bytes) else read_all(payload)


def _refused(error: PredmeshError) -> Any:
    async def answer(payloads: Any, wire: Any) -> None:
        request = context.Request(wire.invocation_metadata() or ())
        aborting = _abort(wire, Failed(to_status(error, request.id), request.id))
        del payloads, wire
        await aborting

    # Of streams, because the abort must not wait for a message, whatever shape the caller believes in.
    return grpc.stream_stream_rpc_method_handler(answer)


def _same(value: _T) -> _T:
    return value
