"""A lean gRPC client: a channel of unary calls over HTTP/2 on unix sockets, for generated stubs."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import grpc
from grpc_health.v1 import health_pb2

from predmesh_rpc import h2_frames as h2
from predmesh_rpc.grpc_frames import FRAME_BYTES, framed
from predmesh_rpc.h2_connection import Connection, UnsentError
from predmesh_rpc.peers import AWAY_SECONDS, Peer, Peers
from predmesh_rpc.status import NUMBERS
from predmesh_rpc.unary_channel import ATTEMPTS, BACKOFF_SECONDS, Answer, UnaryChannel, call_error

_LONGEST_TIMEOUT = 99_999_999
"""What eight digits hold, which is what gRPC allows."""

_CHECK = h2.request_head("/grpc.health.v1.Health/Check")
_SERVING = health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING).SerializeToString()


class H2Channel(UnaryChannel):
    """Calls any gRPC server that listens on a unix socket, or several processes of one; a connection to each.

    Deadline and ids of the request at hand go along, as with `predmesh_rpc.channels.connect`. A call that is cancelled
    or late is reset, which stops the work behind it. One that a process did not begin goes to the next, whatever the
    method; what may have begun is asked again only where that is safe. One of several is called when it says that it is
    well, so not before it has loaded what is live.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        *,
        safe_to_retry: Sequence[str],
        allowed: Callable[[float | None], float | None],
        longest_message_bytes: int,
        traced: bool = False,
    ) -> None:
        super().__init__(safe_to_retry=safe_to_retry, allowed=allowed, traced=traced)
        self._longest_bytes = longest_message_bytes
        self._peers = Peers(map(str, paths))
        self._lines = {peer: _Line() for peer in self._peers.all}
        self._closed = False

    def _head(self, method: str) -> bytes:
        return h2.request_head(method)

    async def _call(self, head: bytes, payload: bytes, seconds: float | None, metadata: Any, *, safe: bool) -> Answer:
        loop = asyncio.get_running_loop()
        expiry = None if seconds is None else loop.time() + seconds
        block, message = head + h2.literals(metadata), framed(payload)
        attempts = ATTEMPTS
        passed: set[Peer] = set()
        while True:
            left = None if expiry is None else expiry - loop.time()
            if left is not None and left <= 0:
                raise call_error(grpc.StatusCode.DEADLINE_EXCEEDED, "no time is left for the call")
            peer, again = self._peers.choose(loop.time(), passed), safe
            last = len(passed) == len(self._peers.all) - 1
            try:
                connection = await self._connected(peer, expiry, whatever=last)
                return await self._exchanged(peer, connection, block + _timeout(left), message, expiry)
            except TimeoutError:
                peer.missed(loop.time())
                raise call_error(grpc.StatusCode.DEADLINE_EXCEEDED, "no answer within the call's time") from None
            except UnsentError as problem:
                peer.missed(loop.time())
                passed.add(peer)
                if not last:
                    continue
                again, error = True, call_error(grpc.StatusCode.UNAVAILABLE, str(problem))
            except ConnectionResetError:
                peer.missed(loop.time())
                error = call_error(grpc.StatusCode.UNAVAILABLE, "the connection was lost")
            except grpc.aio.AioRpcError as told:
                if told.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise
                error = told
            attempts -= 1
            if not again or attempts <= 0 or self._closed:
                raise error
            await asyncio.sleep(BACKOFF_SECONDS)
            passed.clear()

    async def _exchanged(
        self, peer: Peer, connection: Connection, block: bytes, message: bytes, expiry: float | None
    ) -> Answer:
        peer.in_flight += 1
        try:
            return _told(*await connection.exchange(block, message, expiry))
        finally:
            peer.in_flight -= 1

    async def _connected(self, peer: Peer, expiry: float | None = None, *, whatever: bool) -> Connection:
        """The connection to a process, a new one where it is lost; where *whatever* does not hold, only if it is well.

        Raises:
            TimeoutError: there is none by *expiry*.
            UnsentError: nobody listens, or it is not well.
            UsageError: the channel is closed.
        """
        line = self._lines[peer]
        if line.usable is not None and (line.well or whatever):
            return line.usable
        async with asyncio.timeout_at(expiry), line.connecting:
            if self._closed:
                raise grpc.aio.UsageError("the channel is closed")
            connection = line.usable
            if connection is None:
                connection = line.connection = await self._opened(peer)
                line.well = False
            if not whatever and not line.well:
                line.well = await _is_well(connection, expiry)
                if not line.well:
                    raise UnsentError("the service is not well")
            return connection

    async def _opened(self, peer: Peer) -> Connection:
        loop = asyncio.get_running_loop()
        try:
            _, connection = await loop.create_unix_connection(lambda: Connection(self._longest_bytes), peer.path)
        except OSError:
            raise UnsentError("the service does not listen") from None
        return connection

    async def close(self, grace: float | None = None) -> None:
        """End the connections and, after *grace* seconds, their calls."""
        self._closed = True
        connections = [line.connection for line in self._lines.values() if line.connection is not None]
        for connection in connections:
            connection.retire()
        if grace and (calls := [call for connection in connections for call in connection.calls]):
            await asyncio.wait(calls, timeout=grace)
        for connection in connections:
            connection.close()

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """Ready while there is a connection, else idle."""
        ready = any(line.usable is not None for line in self._lines.values())
        return grpc.ChannelConnectivity.READY if ready else grpc.ChannelConnectivity.IDLE

    async def channel_ready(self) -> None:
        """Return when every process speaks HTTP/2.

        Raises:
            ConnectionError: one does not listen, or hangs up.
        """
        for peer in self._peers.all:
            connection = await self._connected(peer, whatever=True)
            await connection.settled.wait()
            if not connection.usable:
                raise ConnectionResetError


class _Line:
    """The connection to one process.

    Attributes:
        connection: the last one.
        well: whether the process has said on it that it is well.
        connecting: held by who opens another one.
    """

    def __init__(self) -> None:
        self.connection: Connection | None = None
        self.well = False
        self.connecting = asyncio.Lock()

    @property
    def usable(self) -> Connection | None:
        """The connection, if it takes another call."""
        return self.connection if self.connection is not None and self.connection.usable else None


async def _is_well(connection: Connection, expiry: float | None) -> bool:
    """Whether the process says so, in half of the time that is left at most: the rest is for another one."""
    now = asyncio.get_running_loop().time()
    seconds = AWAY_SECONDS if expiry is None else min(AWAY_SECONDS, (expiry - now) / 2)
    try:
        _, message = _told(*await connection.exchange(_CHECK + _timeout(seconds), framed(b""), now + seconds))
    except (OSError, grpc.aio.AioRpcError):
        return False
    return bool(message == _SERVING)


def _timeout(seconds: float | None) -> bytes:
    """The header that tells the time left, in whole milliseconds upwards: the caller's own clock ends the call."""
    if seconds is None:
        return b""
    return h2.literal("grpc-timeout", f"{min(math.ceil(seconds * 1e3), _LONGEST_TIMEOUT)}m")


def _told(headers: dict[str, str], body: bytes) -> Answer:
    """The message that came in *body*, with its headers. Raises AioRpcError."""
    number = headers.get("grpc-status", "")
    code = NUMBERS.get(int(number), grpc.StatusCode.UNKNOWN) if number.isdecimal() else grpc.StatusCode.UNKNOWN
    if code is not grpc.StatusCode.OK:
        text = unquote(headers.get("grpc-message", "")) if number else f"no gRPC status, HTTP {headers.get(':status')}"
        raise call_error(code, text, headers)
    if len(body) < FRAME_BYTES or body[0] or int.from_bytes(body[1:FRAME_BYTES]) != len(body) - FRAME_BYTES:
        raise call_error(grpc.StatusCode.INTERNAL, "the answer is not one message", headers)
    return headers, body[FRAME_BYTES:]
