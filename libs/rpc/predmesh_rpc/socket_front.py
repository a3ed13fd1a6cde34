"""The third front of a server: WebSockets, each of which is a call of a method that streams both ways.

A path of google.api.http whose kind is ``WEBSOCKET`` leads to a method that takes messages with a google.api.HttpBody
and gives such bodies; both are text messages here. The same edge stands around the servicers as on gRPC.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from google.rpc import status_pb2
from websockets.asyncio.server import Server, ServerConnection, serve, unix_serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode
from websockets.http11 import Request, Response

from predmesh_rpc import context
from predmesh_rpc.addresses import clear_stale, host_and_port, private_files, socket_path
from predmesh_rpc.edge import Failed
from predmesh_rpc.errors import InvalidInput, PermissionDenied, PredmeshError, TooMuch
from predmesh_rpc.http_front import error_document, metadata_of
from predmesh_rpc.inprocess_calls import InProcessContext
from predmesh_rpc.rest_paths import WEBSOCKET, RestPath, RestPaths
from predmesh_rpc.status import from_status, to_status
from predmesh_rpc.table import Entry, Table, not_offered
from predmesh_rpc.tracing import server_span

ASKED_HEADER = "x-predmesh-origin"
"""Host and port that the gateway was asked under; it overwrites what a client sends."""

ALLOWED_HEADER = "x-predmesh-allowed-origin"
"""The one other origin whose pages may open WebSockets; of the gateway, as ASKED_HEADER."""

HEALTH_PATH = "/healthz"
"""What the gateway asks, with ``?service=NAME`` for a part: 200 while it is well, else 503."""

MESSAGE_BYTES = 1024 * 1024
"""Longest message taken; a longer one closes the WebSocket with 1009."""

_QUEUED_FRAMES = 4
_PING_SECONDS = 20.0
_CLOSE_SECONDS = 2.0
_LONGEST_REASON_BYTES = 120
_INTERNAL = 13
_DRAINING = (CloseCode.GOING_AWAY, "draining")


class SocketFront:
    """Serves the methods of a table that have a path of the kind WEBSOCKET."""

    def __init__(
        self,
        table: Table,
        *,
        serving: Callable[[str], bool],
        grace_seconds: float = 5.0,
        traced: bool = False,
        most: int = 512,
    ) -> None:
        """Serve *table*, over *most* WebSockets at once; *serving* says what is well, by name."""
        self._table = table
        self._most = most
        self._serving = serving
        self._grace_seconds = grace_seconds
        self._traced = traced
        self._paths = RestPaths(sorted(table.services), streams=True)
        self._ending = asyncio.Event()
        self._open: set[asyncio.Task[Any]] = set()

    @asynccontextmanager
    async def listening(self, address: str) -> AsyncIterator[int]:
        """Listen on *address* (``unix:/path`` or ``host:port``) for the block, then drain; gives the TCP port or 0.

        Draining, what has come is answered, and the WebSockets are closed with 1001.

        Raises:
            AddressError: the address cannot be listened on.
        """
        options: dict[str, Any] = {
            "process_request": self._refusal,
            "compression": None,
            "max_size": MESSAGE_BYTES,
            "max_queue": _QUEUED_FRAMES,
            "ping_interval": _PING_SECONDS,
            "ping_timeout": _PING_SECONDS,
            "close_timeout": _CLOSE_SECONDS,
            "server_header": None,
            "logger": _quiet_log(),
        }
        path = socket_path(address)
        async with AsyncExitStack() as stack:
            if path is None:
                host, port = host_and_port(address)
                server = await serve(self._serve, host, port, **options)
            else:
                clear_stale(path)
                with private_files():
                    server = await unix_serve(self._serve, str(path), **options)
                stack.callback(path.unlink, missing_ok=True)
            stack.push_async_callback(self._drain, server)
            yield 0 if path is not None else int(server.sockets[0].getsockname()[1])

    def _refusal(self, connection: ServerConnection, request: Request) -> Response | None:
        """The answer to who may open no WebSocket; None for who may."""
        path, _, query = request.path.partition("?")
        if path == HEALTH_PATH:
            return _response(200 if self._serving(dict(parse_qsl(query)).get("service", "")) else 503, b"")
        try:
            self._called(request)
            check_origin(request.headers)
            if len(self._open) >= self._most:
                raise TooMuch("ERROR_REASON_OVERLOADED", "too many WebSockets are open: try again later")
        except PredmeshError as error:
            id = context.Request(_metadata(request)).id
            return _response(*error_document(to_status(error, id)))
        return None

    def _called(self, request: Request) -> _Called:
        path, _, query = request.path.partition("?")
        found = self._paths.find(WEBSOCKET, path)
        if found is None:
            raise not_offered(path)
        entry = self._table.known(found[0].path)
        assert entry is not None, "the paths are of the table's own services"
        called = _Called(entry, *found, query)
        called.message(b"")
        return called

    async def _serve(self, connection: ServerConnection) -> None:
        """Answer until the client leaves, the stream fails or the server drains."""
        assert connection.request is not None, "the handshake is over"
        stream = _Stream(connection, self._called(connection.request), self._ending)
        answering = asyncio.create_task(self._answered(stream, connection.request))
        left = asyncio.create_task(connection.wait_closed())
        self._open.add(answering)
        try:
            await asyncio.wait((answering, left), return_when=asyncio.FIRST_COMPLETED)
            if stream.owed:
                answering.cancel()
            await asyncio.wait((answering,))
        finally:
            self._open.discard(answering)
            answering.cancel()
            left.cancel()
        await connection.close(*(_DRAINING if answering.cancelled() else answering.result()))

    async def _answered(self, stream: _Stream, request: Request) -> tuple[int, str]:
        """Answer what comes; gives the code to close with, and why."""
        entry = stream.called.entry
        wire = InProcessContext(_metadata(request), None)
        try:
            with server_span(self._traced, entry.method.path, dict(request.headers.raw_items())):
                async with (
                    entry.method.call(wire.invocation_metadata(), None),
                    aclosing(entry.behaviour(stream.requests(), wire)) as answers,
                ):
                    async for answer in answers:
                        await stream.answer(answer.data)
        except Failed as failed:
            await stream.say(_last_words(failed.status))
            code = CloseCode.INTERNAL_ERROR if failed.status.code == _INTERNAL else CloseCode.POLICY_VIOLATION
            return code, _cut(failed.status.message)
        return _DRAINING if self._ending.is_set() else (CloseCode.NORMAL_CLOSURE, "")

    async def _drain(self, server: Server) -> None:
        self._ending.set()
        server.close(close_connections=False)
        if self._open:
            await asyncio.wait(self._open, timeout=self._grace_seconds)
        for each in self._open:
            each.cancel()
        await server.wait_closed()


@dataclass(frozen=True, slots=True)
class _Called:
    """The method that a WebSocket means."""

    entry: Entry
    path: RestPath
    found: dict[str, str]
    query: str

    def message(self, data: bytes) -> Any:
        """The message of the method that says *data*."""
        return self.path.request(self.found, self.query, "application/json", data)


class _Stream:
    """What goes in and out of one WebSocket.

    Attributes:
        called: the method that it means.
        owed: messages that came and have no answer yet.
    """

    def __init__(self, connection: ServerConnection, called: _Called, ending: asyncio.Event) -> None:
        self.called = called
        self.owed = 0
        self._connection = connection
        self._ending = ending

    async def requests(self) -> AsyncIterator[Any]:
        """The messages as they come, until the client leaves or the server drains.

        Raises:
            InvalidInput: one is binary.
        """
        ending = asyncio.create_task(self._ending.wait())
        try:
            while (data := await self._received(ending)) is not None:
                self.owed += 1
                if not isinstance(data, str):
                    raise InvalidInput("ERROR_REASON_CONTENT_TYPE", "the message is binary: send JSON as text")
                yield self.called.message(data.encode())
        finally:
            ending.cancel()

    async def answer(self, data: bytes) -> None:
        """Send what the oldest message that is owed an answer gets; waits for a client that takes its time."""
        if await self.say(data):
            self.owed -= 1

    async def say(self, data: bytes) -> bool:
        """Send a message; False where the client has gone."""
        try:
            await self._connection.send(data, text=True)
        except ConnectionClosed:
            return False
        return True

    async def _received(self, ending: asyncio.Task[Any]) -> str | bytes | None:
        """The next message; None where there is none."""
        receiving = asyncio.create_task(self._next())
        try:
            await asyncio.wait((receiving, ending), return_when=asyncio.FIRST_COMPLETED)
            return receiving.result() if receiving.done() else None
        finally:
            receiving.cancel()

    async def _next(self) -> str | bytes | None:
        try:
            return await self._connection.recv()
        except ConnectionClosed:
            return None


def check_origin(headers: Headers) -> None:
    """Raise PermissionDenied when a page of another origin asks, which the browser says; programs say none."""
    origin = headers.get("origin", "")
    own = headers.get(ASKED_HEADER, "")
    if origin and origin != headers.get(ALLOWED_HEADER) and (not own or urlsplit(origin).netloc != own):
        raise PermissionDenied(
            "ERROR_REASON_ORIGIN",
            f"pages of {origin[:200]!r} may open no WebSocket here: add it to the gateway's `cors_origins`",
            origin=origin[:200],
        )


def _metadata(request: Request) -> context.Metadata:
    return metadata_of([(name.lower(), value) for name, value in request.headers.raw_items()])


def _last_words(status: status_pb2.Status) -> bytes:
    error = from_status(status)
    reason = error.reason if error is not None else ""
    return json.dumps({"error": {"code": status.code, "message": status.message, "reason": reason}}).encode()


def _cut(reason: str) -> str:
    """As much of *reason* as a close frame holds."""
    return reason.encode()[:_LONGEST_REASON_BYTES].decode(errors="ignore")


def _response(status: int, body: bytes) -> Response:
    headers = Headers(
        [("content-type", "application/json"), ("content-length", str(len(body))), ("connection", "close")]
    )
    return Response(status, HTTPStatus(status).phrase, headers, body)


def _quiet_log() -> logging.Logger:
    """The library's log without a line for each connection that opens and closes."""
    log = logging.getLogger("websockets.server")
    log.setLevel(logging.WARNING)
    return log
