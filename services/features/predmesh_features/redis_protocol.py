"""The Redis wire: commands to bytes, and one connection that many calls share."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, cast

import hiredis

_INCOMPLETE = object()


class ConnectionGone(Exception):
    """The connection ended before the replies came; the message says how, never where to."""


def bulk(data: bytes) -> bytes:
    """One argument of a command."""
    return b"$%d\r\n%b\r\n" % (len(data), data)


def command(*arguments: bytes) -> bytes:
    """One command."""
    return b"*%d\r\n%b" % (len(arguments), b"".join(map(bulk, arguments)))


def hmget(keys: Iterable[bytes], fields: tuple[bytes, ...]) -> bytes:
    """One HMGET of the same *fields* for each key."""
    head = b"*%d\r\n$5\r\nHMGET\r\n" % (len(fields) + 2)
    tail = b"".join(map(bulk, fields))
    return b"".join([b"%b$%d\r\n%b\r\n%b" % (head, len(key), key, tail) for key in keys])


@dataclass(slots=True)
class _Call:
    replies: int
    future: asyncio.Future[list[Any]]
    sent: float
    received: list[Any] = field(default_factory=list)


class RedisConnection(asyncio.Protocol):
    """One connection: calls go out at once, without waiting for replies, which come in the order of commands."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader(notEnoughData=_INCOMPLETE)
        self._calls: deque[_Call] = deque()
        self._transport: asyncio.Transport | None = None
        self._reason: str | None = None
        self._ended = asyncio.Event()
        self._released = asyncio.Event()

    @property
    def in_flight(self) -> int:
        """Calls whose replies have not all come."""
        return len(self._calls)

    @property
    def waiting_seconds(self) -> float:
        """How long the oldest call has been waiting; 0 when there is none."""
        return self._loop.time() - self._calls[0].sent if self._calls else 0.0

    async def call(self, data: bytes, replies: int) -> list[Any]:
        """Send *data* and return that many replies, errors among them as values.

        Cancelling leaves the connection whole: the replies are read and dropped.

        Raises:
            ConnectionGone: the connection has ended.
        """
        if self._transport is None or self._reason is not None:
            raise ConnectionGone(self._reason or "is not connected")
        call = _Call(replies, self._loop.create_future(), self._loop.time())
        self._calls.append(call)
        self._transport.write(data)
        return await call.future

    async def ended(self) -> str:
        """Wait until the connection has ended, and say how."""
        await self._ended.wait()
        return self._reason or ""

    def abort(self, reason: str) -> None:
        """End the connection now; every call in flight fails with *reason*."""
        self._end(reason)

    async def release(self) -> None:
        """End the connection and wait until nothing is left of it."""
        self._end("is being closed")
        await self._released.wait()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        # uvloop's transports are of no asyncio class, so there is nothing to check.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        reader, calls = self._reader, self._calls
        reader.feed(data)
        try:
            while (reply := reader.gets()) is not _INCOMPLETE:
                received = calls[0].received
                received.append(reply)
                if len(received) == calls[0].replies:
                    self._answer(calls.popleft())
        except (hiredis.ProtocolError, IndexError):
            self._end("does not speak the Redis protocol")

    def connection_lost(self, error: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._end("closed the connection")
        self._released.set()

    @staticmethod
    def _answer(call: _Call) -> None:
        if not call.future.done():
            call.future.set_result(call.received)

    def _end(self, reason: str) -> None:
        if self._reason is not None:
            return
        self._reason = reason
        self._ended.set()
        if self._transport is not None:
            self._transport.abort()
        for call in self._calls:
            if not call.future.done():
                call.future.set_exception(ConnectionGone(reason))
        self._calls.clear()
