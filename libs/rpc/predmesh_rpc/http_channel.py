"""The client of the second front: a channel of unary calls over HTTP/1.1 on unix sockets, for generated stubs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import grpc
import httptools

from predmesh_rpc.http_front import HEALTH_PATH, MESSAGE_TYPE
from predmesh_rpc.http_server import header_lines
from predmesh_rpc.peers import AWAY_SECONDS, Peer, Peers
from predmesh_rpc.status import NUMBERS
from predmesh_rpc.unary_channel import ATTEMPTS, BACKOFF_SECONDS, Answer, UnaryChannel, call_error

_HEALTHY = b"GET %b HTTP/1.1\r\nhost: mesh\r\n\r\n" % HEALTH_PATH.encode()


class HttpChannel(UnaryChannel):
    """Calls the HTTP/1.1 fronts of a service's processes; connections are kept and used one call at a time.

    Deadline and ids of the request at hand go along, as with `predmesh_rpc.channels.connect`. A call that is cancelled
    or late closes its connection, which stops the work behind it. One that a process never got goes to the next at
    once, whatever the method; what may have begun is asked again only where that is safe. One of several is called
    when it says that it is well, so not before it has loaded what is live.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        *,
        safe_to_retry: Sequence[str],
        allowed: Callable[[float | None], float | None],
        traced: bool = False,
    ) -> None:
        super().__init__(safe_to_retry=safe_to_retry, allowed=allowed, traced=traced)
        self._peers = Peers(map(str, paths))
        self._idle: dict[Peer, list[_Connection]] = {peer: [] for peer in self._peers.all}
        self._closed = False

    def _head(self, method: str) -> bytes:
        return b"POST %b HTTP/1.1\r\nhost: mesh\r\ncontent-type: %b\r\n" % (method.encode(), MESSAGE_TYPE)

    async def _call(self, head: bytes, payload: bytes, seconds: float | None, metadata: Any, *, safe: bool) -> Answer:
        attempts = ATTEMPTS if safe else 1
        loop = asyncio.get_running_loop()
        expiry = None if seconds is None else loop.time() + seconds
        lines = header_lines(metadata)
        passed: set[Peer] = set()
        while True:
            left = None if expiry is None else expiry - loop.time()
            if left is not None and left <= 0:
                raise call_error(grpc.StatusCode.DEADLINE_EXCEEDED, "no time is left for the call")
            timeout = b"" if left is None else b"grpc-timeout: %du\r\n" % max(1, int(left * 1e6))
            message = b"%b%b%bcontent-length: %d\r\n\r\n%b" % (head, lines, timeout, len(payload), payload)
            peer = self._peers.choose(loop.time(), passed)
            try:
                only = len(passed) == len(self._peers.all) - 1
                return await self._exchange(peer, message, expiry, whatever=only)
            except TimeoutError:
                self._missed(peer)
                raise call_error(grpc.StatusCode.DEADLINE_EXCEEDED, "no answer within the call's time") from None
            except OSError as problem:
                self._missed(peer)
                passed.add(peer)
                sent = isinstance(problem, ConnectionResetError)
                if not sent and len(passed) < len(self._peers.all):
                    continue
                what = "the connection was lost" if sent else "the service does not listen"
                error = call_error(grpc.StatusCode.UNAVAILABLE, what)
            except grpc.aio.AioRpcError as told:
                if told.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise
                error = told
            attempts -= 1
            if attempts <= 0:
                raise error
            if peer not in passed or len(passed) == len(self._peers.all):
                await asyncio.sleep(BACKOFF_SECONDS)
                passed.clear()

    async def _exchange(self, peer: Peer, message: bytes, expiry: float | None, *, whatever: bool) -> Answer:
        peer.in_flight += 1
        try:
            connection = self._kept(peer) or await self._opened(peer, expiry, whatever=whatever)
            try:
                headers, body = await connection.exchange(message, expiry)
            except BaseException:
                connection.close()
                raise
        finally:
            peer.in_flight -= 1
        if self._closed or not connection.usable:
            connection.close()
        else:
            self._idle[peer].append(connection)
        code = NUMBERS.get(int(headers.get("grpc-status", "2")), grpc.StatusCode.UNKNOWN)
        if code is not grpc.StatusCode.OK:
            raise call_error(code, unquote(headers.get("grpc-message", "")), headers)
        return headers, body

    def _kept(self, peer: Peer) -> _Connection | None:
        idle = self._idle[peer]
        while idle:
            connection = idle.pop()
            if connection.usable:
                return connection
        return None

    async def _opened(self, peer: Peer, expiry: float | None, *, whatever: bool) -> _Connection:
        """A new connection; where *whatever* does not hold, to a process that is well.

        Raises:
            OSError: the process does not listen, or is not well.
        """
        _, connection = await asyncio.get_running_loop().create_unix_connection(_Connection, peer.path)
        taken = whatever
        try:
            taken = taken or await _well(connection, expiry)
        finally:
            if not taken:
                connection.close()
        if not taken:
            raise ConnectionRefusedError
        return connection

    def _missed(self, peer: Peer) -> None:
        """Pass *peer* by for a while; its connections may hang with it."""
        peer.missed(asyncio.get_running_loop().time())
        while connection := self._kept(peer):
            connection.close()

    async def close(self, grace: float | None = None) -> None:
        """Close the connections that no call uses; the others close when their call has ended."""
        self._closed = True
        for peer in self._peers.all:
            while connection := self._kept(peer):
                connection.close()

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """Ready while a connection is kept, else idle."""
        return grpc.ChannelConnectivity.READY if any(self._idle.values()) else grpc.ChannelConnectivity.IDLE

    async def channel_ready(self) -> None:
        """Return when every process of the service listens and is well.

        Raises:
            OSError: one does not, or is not well.
        """
        for peer, idle in self._idle.items():
            idle.append(self._kept(peer) or await self._opened(peer, None, whatever=False))


class _Connection(asyncio.Protocol):
    """One connection, one exchange at a time.

    Attributes:
        usable: whether another exchange can begin.
        status: HTTP status of the last answer.
    """

    def __init__(self) -> None:
        self.usable = True
        self.status = 0
        self._transport: Any = None
        self._answer: asyncio.Future[Answer] | None = None
        self._begin()

    async def exchange(self, message: bytes, expiry: float | None) -> Answer:
        """Headers and body of the answer.

        Raises:
            TimeoutError: there is none by *expiry*, in loop time.
            ConnectionResetError: the connection was lost first.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Answer] = loop.create_future()
        self._answer = answer
        timer = None if expiry is None else loop.call_at(expiry, self._expire)
        self._transport.write(message)
        try:
            return await answer
        finally:
            self._answer = None
            if timer is not None:
                timer.cancel()

    def close(self) -> None:
        """End the connection; whoever works for it on the other side is stopped."""
        self.usable = False
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        self.usable = False
        self._fail(ConnectionResetError())

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.close()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1")] = value.decode("latin-1")

    def on_body(self, data: bytes) -> None:
        self._body.append(data)

    def on_message_complete(self) -> None:
        answer, found = self._answer, (self._headers, b"".join(self._body))
        self.status = self._parser.get_status_code()
        self._begin()
        if answer is not None and not answer.done():
            answer.set_result(found)

    def _begin(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []

    def _expire(self) -> None:
        self._fail(TimeoutError())

    def _fail(self, error: Exception) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)


async def _well(connection: _Connection, expiry: float | None) -> bool:
    """Whether the process says so, in half of the time that is left at most: the rest is for another one."""
    now = asyncio.get_running_loop().time()
    seconds = AWAY_SECONDS if expiry is None else min(AWAY_SECONDS, (expiry - now) / 2)
    try:
        await connection.exchange(_HEALTHY, now + seconds)
    except OSError:
        return False
    return connection.status == HTTPStatus.OK
