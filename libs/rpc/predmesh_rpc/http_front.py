"""The second front of a server: unary calls over HTTP/1.1, at a quarter of what grpcio's server costs.

``POST /package.Service/Method`` takes and gives bare protobuf messages, with grpc-status, grpc-message and
grpc-status-details-bin as headers. A REST path of google.api.http whose method speaks google.api.HttpBody takes the
body as it comes; its errors are the Status as JSON. The same edge stands around the servicers as on gRPC.
"""

from __future__ import annotations

import asyncio
import base64
from collections import deque
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from urllib.parse import quote

import grpc
import httptools
from google.protobuf import json_format
from google.protobuf.message import DecodeError
from google.rpc import status_pb2

from predmesh_rpc import context
from predmesh_rpc.addresses import clear_stale, host_and_port, private_files, socket_path
from predmesh_rpc.edge import Failed
from predmesh_rpc.inprocess_calls import InProcessContext
from predmesh_rpc.rest_paths import RestPath, rest_paths
from predmesh_rpc.status import DETAILS_KEY, to_status
from predmesh_rpc.table import Entry, Table, malformed, not_offered, too_large
from predmesh_rpc.tracing import server_span

MESSAGE_TYPE = b"application/x-protobuf"
"""Content type of a bare protobuf message."""

_HTTP = {
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
}
_HTTP_OF_CODE = {code.value[0]: number for code, number in _HTTP.items()}
"""The table of google/rpc/code.proto, which Envoy's transcoder follows too."""

_UNITS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_NOT_METADATA = frozenset({"content-type", "content-length", "host", "connection", "accept", "transfer-encoding"})


class HttpFront:
    """Answers the unary methods of a table; entering `listening` opens the socket."""

    def __init__(self, table: Table, *, grace_seconds: float = 5.0, traced: bool = False) -> None:
        self._table = table
        self._traced = traced
        self._grace_seconds = grace_seconds
        self._rest = rest_paths(sorted(table.services))
        self._connections: set[_Connection] = set()

    @asynccontextmanager
    async def listening(self, address: str) -> Any:
        """Listen on *address* (``unix:/path`` or ``host:port``) for the block, then drain; gives the TCP port or 0.

        Raises:
            AddressError: the address cannot be listened on.
        """
        loop, path = asyncio.get_running_loop(), socket_path(address)
        async with AsyncExitStack() as stack:
            if path is None:
                server = await loop.create_server(lambda: _Connection(self), *host_and_port(address))
            else:
                clear_stale(path)
                with private_files():
                    server = await loop.create_unix_server(lambda: _Connection(self), str(path))
                stack.callback(path.unlink, missing_ok=True)
            stack.push_async_callback(self._drained)
            stack.callback(server.close)
            yield 0 if path is not None else int(server.sockets[0].getsockname()[1])

    async def _drained(self) -> None:
        for connection in list(self._connections):
            connection.finish()
        tasks = [connection.task for connection in self._connections if connection.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=self._grace_seconds)
        for connection in list(self._connections):
            connection.abort()

    async def answer(self, verb: str, path: str, headers: dict[str, str], body: bytes, size: int) -> bytes:
        """The whole response to one request; *size* is what its body had, also where that was too long to keep."""
        entry = self._table.known(path) if verb == "POST" else None
        if entry is not None:
            return await self._message(entry, headers, body, size)
        for rest in self._rest:
            if rest.verb == verb and (found := rest.pattern.fullmatch(path)):
                return await self._document(rest, found.groupdict(), headers, body, size)
        status = to_status(not_offered(path))
        called_by_stub = headers.get("content-type", "").encode() == MESSAGE_TYPE
        return _failed(Failed(status, "")) if called_by_stub else _refused(status)

    async def _message(self, entry: Entry, headers: dict[str, str], body: bytes, size: int) -> bytes:
        wire = InProcessContext(_metadata(headers), _seconds(headers))
        try:
            with server_span(self._traced, entry.method.path, headers):
                async with entry.method.call(wire.invocation_metadata(), wire.time_remaining()) as request:
                    self._fits(size)
                    response = entry.handler.response_serializer(await entry.behaviour(_read(entry, body), wire))
        except Failed as failed:
            return _failed(failed)
        except grpc.aio.AbortError:
            return _aborted(wire.error())
        told = [("grpc-status", "0"), (context.REQUEST_ID, request.id), *request.initial_metadata]
        return _response(200, MESSAGE_TYPE, response, told)

    async def _document(
        self, rest: RestPath, found: dict[str, str], headers: dict[str, str], body: bytes, size: int
    ) -> bytes:
        entry = self._table.known(rest.path)
        assert entry is not None, "rest_paths are of the table's own services"
        wire = InProcessContext(_metadata(headers), _seconds(headers))
        try:
            with server_span(self._traced, rest.path, headers):
                async with entry.method.call(wire.invocation_metadata(), wire.time_remaining()) as request:
                    self._fits(size)
                    answer = await entry.behaviour(rest.request(found, headers.get("content-type", ""), body), wire)
        except Failed as failed:
            return _refused(failed.status)
        except grpc.aio.AbortError:
            error = wire.error()
            return _refused(status_pb2.Status(code=error.code().value[0], message=error.details() or ""))
        return _response(200, answer.content_type.encode(), answer.data, request.initial_metadata)

    def _fits(self, size: int) -> None:
        if size > self.longest_bytes:
            raise too_large(size, self.longest_bytes)

    @property
    def longest_bytes(self) -> int:
        """Longest body taken; of a longer one nothing is kept."""
        return self._table.limits.message_bytes

    def opened(self, connection: _Connection) -> None:
        """Know *connection* until it is lost."""
        self._connections.add(connection)

    def lost(self, connection: _Connection) -> None:
        """Forget *connection*."""
        self._connections.discard(connection)


class _Connection(asyncio.Protocol):
    """One client's connection: requests one after the other; a client that leaves stops its work."""

    def __init__(self, front: HttpFront) -> None:
        self.task: asyncio.Task[None] | None = None
        self._front = front
        self._parser = httptools.HttpRequestParser(self)
        self._transport: Any = None
        self._waiting: deque[tuple[str, str, dict[str, str], bytes, int]] = deque()
        self._ending = False
        self._url = b""
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._size = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._front.opened(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._front.lost(self)
        if self.task is not None:
            self.task.cancel()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.write(_response(400, b"text/plain", b"this is no HTTP/1.1\n", [("connection", "close")]))
            self._transport.close()

    def on_message_begin(self) -> None:
        self._url, self._headers, self._body, self._size = b"", {}, [], 0

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, data: bytes) -> None:
        self._size += len(data)
        if self._size <= self._front.longest_bytes:
            self._body.append(data)
        else:
            self._body.clear()

    def on_message_complete(self) -> None:
        verb = self._parser.get_method().decode("latin-1")
        path = self._url.partition(b"?")[0].decode("latin-1")
        self._waiting.append((verb, path, self._headers, b"".join(self._body), self._size))
        if self.task is None:
            self.task = asyncio.get_running_loop().create_task(self._answer())
        else:
            self._transport.pause_reading()

    def finish(self) -> None:
        """Take no more requests; the one at hand is answered."""
        self._ending = True
        if self.task is None:
            self.abort()

    def abort(self) -> None:
        """End the connection now."""
        self._transport.close()

    async def _answer(self) -> None:
        try:
            while self._waiting:
                self._transport.write(await self._front.answer(*self._waiting.popleft()))
        finally:
            self.task = None
        self._transport.resume_reading()
        if self._ending:
            self.abort()


def _read(entry: Entry, body: bytes) -> Any:
    try:
        return entry.handler.request_deserializer(body)
    except DecodeError:
        raise malformed() from None


def _metadata(headers: dict[str, str]) -> context.Metadata:
    return tuple((name, value) for name, value in headers.items() if name not in _NOT_METADATA)


def _seconds(headers: dict[str, str]) -> float | None:
    timeout = headers.get("grpc-timeout", "")
    if timeout[:-1].isdigit() and timeout[-1] in _UNITS:
        return int(timeout[:-1]) * _UNITS[timeout[-1]]
    return None


def _failed(failed: Failed) -> bytes:
    status = failed.status
    details = base64.b64encode(status.SerializeToString()).decode()
    headers = [
        ("grpc-status", str(status.code)),
        ("grpc-message", quote(status.message)),
        (DETAILS_KEY, details),
        (context.REQUEST_ID, failed.request_id),
    ]
    return _response(200, MESSAGE_TYPE, b"", headers)


def _aborted(error: grpc.aio.AioRpcError) -> bytes:
    headers = [("grpc-status", str(error.code().value[0])), ("grpc-message", quote(error.details() or ""))]
    return _response(200, MESSAGE_TYPE, b"", headers)


def _refused(status: status_pb2.Status) -> bytes:
    document = json_format.MessageToJson(status, indent=None, ensure_ascii=False).encode()
    return _response(_HTTP_OF_CODE.get(status.code, 500), b"application/json", document, [])


def _response(status: int, kind: bytes, body: bytes, headers: list[tuple[str, str]]) -> bytes:
    more = "".join(f"{name}: {value}\r\n" for name, value in headers).encode("latin-1")
    return b"HTTP/1.1 %d \r\ncontent-type: %b\r\ncontent-length: %d\r\n%b\r\n%b" % (
        status,
        kind,
        len(body),
        more,
        body,
    )
