"""HTTP/1.1 connections (httptools): requests as they come, bounded in size and time; no gRPC."""

from __future__ import annotations

import asyncio
import base64
import logging
import math
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import httptools

from predmesh_rpc.addresses import clear_stale, host_and_port, private_files, socket_path

_BACKLOG = 4096
_LONGEST_HEAD_BYTES = 64 * 1024
_MOST_CONNECTIONS = 2048
_AT_ONCE = 4

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class HttpRequest:
    """One request.

    Attributes:
        verb: the HTTP method, in capitals.
        target: path and query, as sent.
        headers: pairs in order, names in lower case; those of the head alone, no trailers.
        body: the body; empty where it was too long to keep.
        size: bytes that the body had, also where none were kept.
    """

    verb: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes
    size: int


Answer = Callable[[HttpRequest], Awaitable[bytes]]
"""Gives the whole response to a request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpLimits:
    """What a connection may cost.

    Attributes:
        kept_bytes: longest body that is kept; of a longer one only the size is.
        most_bytes: longest body that is waited for; a longer one is answered at once, and the connection closed.
        idle_seconds: time in which a whole request must have come since the last answer was taken.
    """

    kept_bytes: int
    most_bytes: int
    idle_seconds: float = 120.0


class HttpServer:
    """Answers requests, those of one connection in turn; a client that leaves stops its work."""

    def __init__(self, answer: Answer, limits: HttpLimits) -> None:
        self.answer = answer
        self.limits = limits
        self.ending = False
        self._connections: set[_Connection] = set()
        self._left = asyncio.Event()
        self._arrived: deque[_Connection] = deque()
        self._begun = 0

    @asynccontextmanager
    async def listening(self, address: str, *, grace_seconds: float) -> AsyncIterator[int]:
        """Listen on *address* (``unix:/path`` or ``host:port``) for the block, then drain; gives the TCP port or 0.

        Raises:
            AddressError: the address cannot be listened on.
        """
        loop, path = asyncio.get_running_loop(), socket_path(address)
        async with AsyncExitStack() as stack:
            if path is None:
                host, port = host_and_port(address)
                server = await loop.create_server(lambda: _Connection(self), host, port, backlog=_BACKLOG)
            else:
                clear_stale(path)
                with private_files():
                    server = await loop.create_unix_server(lambda: _Connection(self), str(path), backlog=_BACKLOG)
                stack.callback(path.unlink, missing_ok=True)
            stack.push_async_callback(self._drained, grace_seconds)
            stack.callback(server.close)
            watch = loop.create_task(self._watched(), name="idle-connections")
            stack.callback(watch.cancel)
            yield 0 if path is not None else int(server.sockets[0].getsockname()[1])

    def opened(self, connection: _Connection) -> bool:
        """Know *connection* until it is lost; False if there are too many."""
        if len(self._connections) >= _MOST_CONNECTIONS:
            return False
        self._connections.add(connection)
        return True

    def lost(self, connection: _Connection) -> None:
        """Forget *connection*."""
        self._connections.discard(connection)
        if self.ending and not self._connections:
            self._left.set()

    def came(self, connection: _Connection) -> None:
        """Begin to answer *connection*, in this turn of the loop or a later one.

        A few begin in a turn, so that what the loop waits for besides, such as other services' answers, is never behind
        a whole crowd of newcomers.
        """
        if self._begun >= _AT_ONCE:
            self._arrived.append(connection)
            return
        if not self._begun:
            asyncio.get_running_loop().call_soon(self._turn)
        self._begun += 1
        connection.begin()

    def _turn(self) -> None:
        self._begun = min(_AT_ONCE, len(self._arrived))
        if self._begun:
            asyncio.get_running_loop().call_soon(self._turn)
        for _ in range(self._begun):
            self._arrived.popleft().begin()

    async def _watched(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self.limits.idle_seconds / 8)
            now = loop.time()
            for connection in [each for each in self._connections if each.due < now]:
                connection.abort()

    async def _drained(self, grace_seconds: float) -> None:
        self.ending = True
        for connection in list(self._connections):
            connection.finish()
        if self._connections:
            with suppress(TimeoutError):
                async with asyncio.timeout(grace_seconds):
                    await self._left.wait()
        for connection in list(self._connections):
            connection.abort()


class _Connection(asyncio.Protocol):
    """One client's connection.

    Attributes:
        task: answers what has come; None while nothing has.
        due: the `loop.time()` at which the connection is closed unless a request comes.
    """

    def __init__(self, server: HttpServer) -> None:
        self.task: asyncio.Task[None] | None = None
        self.due = math.inf
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._transport: Any = None
        self._waiting: deque[HttpRequest] = deque()
        self._taken: asyncio.Future[None] | None = None
        self._last = self._begun = False
        self._unfinished_bytes = 0
        self._url = b""
        self._headers: list[tuple[str, str]] = []
        self._head: list[tuple[str, str]] | None = None
        self._body: list[bytes] = []
        self._size = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        if self._server.opened(self):
            self._wait()
        else:
            self.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self._server.lost(self)
        self._waiting.clear()
        if self.task is not None:
            self.task.cancel()

    def pause_writing(self) -> None:
        self._taken = self._loop.create_future()

    def resume_writing(self) -> None:
        if self._taken is not None and not self._taken.done():
            self._taken.set_result(None)
        self._taken = None

    def data_received(self, data: bytes) -> None:
        if self._last:
            return
        if self._head is None:
            self._unfinished_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._refuse(400, b"this is no HTTP/1.1\n")
            return
        if self._unfinished_bytes > _LONGEST_HEAD_BYTES:
            self._refuse(431, b"the headers are too large\n")

    def on_message_begin(self) -> None:
        self._begun = True
        self._url, self._headers, self._head, self._body, self._size = b"", [], None, [], 0

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        # What comes after the body must not pass for what the gateway wrote before it.
        self._head, self._headers, self._unfinished_bytes = self._headers, [], 0

    def on_body(self, data: bytes) -> None:
        self._size += len(data)
        if self._size <= self._server.limits.kept_bytes:
            self._body.append(data)
            return
        self._body.clear()
        if self._size > self._server.limits.most_bytes and not self._last:
            self.on_message_complete()
            self._last = True

    def on_message_complete(self) -> None:
        self._begun = False
        if self._last or self._head is None:
            return
        verb, target = self._parser.get_method().decode("latin-1"), self._url.decode("latin-1")
        request = HttpRequest(verb, target, self._head, b"".join(self._body), self._size)
        self._head, self._body = None, []
        self._last = not self._parser.should_keep_alive()
        busy = self._is_busy()
        self._waiting.append(request)
        if busy:
            self._transport.pause_reading()
        else:
            self.due = math.inf
            self._server.came(self)

    def begin(self) -> None:
        """Answer what has come, unless the client has gone."""
        if self._waiting:
            self.task = self._loop.create_task(self._answer())

    def finish(self) -> None:
        """End once what has come, or begun to come, is answered."""
        if not self._is_busy() and not self._begun:
            self.abort()

    def abort(self) -> None:
        """End the connection now; what was written is still sent, unless nobody takes it."""
        if self._taken is None:
            self._transport.close()
        else:
            self._transport.abort()

    async def _answer(self) -> None:
        try:
            while self._waiting:
                answer = await self._server.answer(self._waiting.popleft())
                self._transport.write(_closing(answer) if self._ends() else answer)
                self._wait()
                if self._taken is not None:
                    await self._taken
        except Exception:
            _log.exception("a request was left without an answer")
            self._last = True
        finally:
            self.task = None
        if self._ends():
            self.abort()
        else:
            self._transport.resume_reading()

    def _is_busy(self) -> bool:
        return self.task is not None or bool(self._waiting)

    def _ends(self) -> bool:
        return (self._last or self._server.ending) and not self._waiting

    def _wait(self) -> None:
        self.due = self._loop.time() + self._server.limits.idle_seconds

    def _refuse(self, status: int, text: bytes) -> None:
        self._last = True
        if not self._is_busy():
            self._transport.write(response(status, b"text/plain", text, [("connection", "close")]))
            self.abort()


def response(status: int, kind: bytes, body: bytes, headers: Sequence[tuple[str, str | bytes]] = ()) -> bytes:
    """A whole response with a body of known length."""
    return b"HTTP/1.1 %d \r\ncontent-type: %b\r\ncontent-length: %d\r\n%b\r\n%b" % (
        status,
        kind,
        len(body),
        header_lines(headers),
        body,
    )


def header_lines(pairs: Sequence[tuple[str, str | bytes]]) -> bytes:
    """Headers as they are sent; bytes in base64, as gRPC does.

    Raises:
        ValueError: a value would end its line, or is not of Latin-1.
    """
    lines = "".join([f"{name}: {value if isinstance(value, str) else encoded(value)}\r\n" for name, value in pairs])
    if lines.count("\n") != len(pairs) or lines.count("\r") != len(pairs):
        raise ValueError("a header holds a line break")
    return lines.encode("latin-1")


def encoded(value: bytes) -> str:
    """Bytes as a header carries them."""
    return base64.b64encode(value).decode()


def _closing(answer: bytes) -> bytes:
    return answer.replace(b"\r\n", b"\r\nconnection: close\r\n", 1)
