"""A lean gRPC client: a channel of unary calls over HTTP/2 on a unix socket, for generated stubs."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import grpc

from predmesh_rpc import h2_frames as h2
from predmesh_rpc.grpc_frames import FRAME_BYTES
from predmesh_rpc.h2_connection import Connection, UnsentError
from predmesh_rpc.status import NUMBERS
from predmesh_rpc.unary_channel import ATTEMPTS, BACKOFF_SECONDS, Answer, UnaryChannel, call_error

_LONGEST_TIMEOUT = 99_999_999
"""Milliseconds that eight digits hold, which is what gRPC allows."""


class H2Channel(UnaryChannel):
    """Calls any gRPC server that listens on a unix socket, all calls over one connection.

    Deadline and ids of the request at hand go along, as with `predmesh_rpc.channels.connect`. A call that is cancelled
    or late is reset, which stops the work behind it. One that the server did not begin is asked again, whatever the
    method; what may have begun is asked again only where that is safe.
    """

    def __init__(
        self,
        path: Path,
        *,
        safe_to_retry: Sequence[str],
        allowed: Callable[[float | None], float | None],
        longest_message_bytes: int,
        traced: bool = False,
    ) -> None:
        super().__init__(safe_to_retry=safe_to_retry, allowed=allowed, traced=traced)
        self._path = str(path)
        self._longest_bytes = longest_message_bytes
        self._connection: Connection | None = None
        self._connecting = asyncio.Lock()
        self._closed = False

    def _head(self, method: str) -> bytes:
        return h2.request_head(method)

    async def _call(self, head: bytes, payload: bytes, seconds: float | None, metadata: Any, *, safe: bool) -> Answer:
        loop = asyncio.get_running_loop()
        expiry = None if seconds is None else loop.time() + seconds
        block = head + h2.literals(metadata)
        message = b"\0%b%b" % (len(payload).to_bytes(4), payload)
        attempts = ATTEMPTS
        while True:
            left = None if expiry is None else expiry - loop.time()
            if left is not None and left <= 0:
                raise call_error(grpc.StatusCode.DEADLINE_EXCEEDED, "no time is left for the call")
            again = safe
            try:
                connection = await self._connected(expiry)
                return _told(*await connection.exchange(block + _timeout(left), message, expiry))
            except TimeoutError:
                raise call_error(grpc.StatusCode.DEADLINE_EXCEEDED, "no answer within the call's time") from None
            except UnsentError as problem:
                again = True
                error = call_error(grpc.StatusCode.UNAVAILABLE, str(problem))
            except ConnectionResetError:
                error = call_error(grpc.StatusCode.UNAVAILABLE, "the connection was lost")
            except grpc.aio.AioRpcError as told:
                if told.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise
                error = told
            attempts -= 1
            if not again or attempts <= 0 or self._closed:
                raise error
            await asyncio.sleep(BACKOFF_SECONDS)

    async def _connected(self, expiry: float | None = None) -> Connection:
        """The connection, a new one where it is lost.

        Raises:
            TimeoutError: there is none by *expiry*.
            UnsentError: nobody listens.
            UsageError: the channel is closed.
        """
        if self._connection is not None and self._connection.usable:
            return self._connection
        async with asyncio.timeout_at(expiry), self._connecting:
            if self._closed:
                raise grpc.aio.UsageError("the channel is closed")
            if self._connection is None or not self._connection.usable:
                self._connection = await self._opened()
            return self._connection

    async def _opened(self) -> Connection:
        loop = asyncio.get_running_loop()
        try:
            _, connection = await loop.create_unix_connection(lambda: Connection(self._longest_bytes), self._path)
        except OSError:
            raise UnsentError("the service does not listen") from None
        return connection

    async def close(self, grace: float | None = None) -> None:
        """End the connection and, after *grace* seconds, its calls."""
        self._closed = True
        if self._connection is None:
            return
        self._connection.retire()
        if grace and (calls := self._connection.calls):
            await asyncio.wait(calls, timeout=grace)
        self._connection.close()

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """Ready while there is a connection, else idle."""
        ready = self._connection is not None and self._connection.usable
        return grpc.ChannelConnectivity.READY if ready else grpc.ChannelConnectivity.IDLE

    async def channel_ready(self) -> None:
        """Return when the server speaks HTTP/2.

        Raises:
            ConnectionError: it does not listen, or hangs up.
        """
        connection = await self._connected()
        await connection.settled.wait()
        if not connection.usable:
            raise ConnectionResetError


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
