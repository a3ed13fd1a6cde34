"""The Redis wire: commands to bytes, and one connection that many calls share."""

from __future__ import annotations

import asyncio
import functools
import math
import ssl
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, repeat
from typing import Any, TypeVar, cast

import hiredis

from predmesh_features.table import Table

SILENT = "does not answer"
"""How a connection ended whose server took too long."""

NOT_REDIS = "does not speak the Redis protocol"
"""How a connection ended whose server is something else."""

_INCOMPLETE = object()

_Reply = TypeVar("_Reply")


class ConnectionGone(Exception):
    """The connection ended before the replies came; the message says how, never where to."""


def bulk(data: bytes) -> bytes:
    """One argument of a command."""
    return b"$%d\r\n%b\r\n" % (len(data), data)


def command(*arguments: bytes) -> bytes:
    """One command."""
    return b"*%d\r\n%b" % (len(arguments), b"".join(map(bulk, arguments)))


def hmget(keys: Sequence[bytes], fields: tuple[bytes, ...]) -> Iterator[tuple[bytes, ...]]:
    """One HMGET of the same *fields* for each key, in pieces to be joined: no Python runs for each key."""
    head, tail = _around_key(fields)
    return zip(repeat(head), map(_SIZES.__getitem__, map(len, keys)), keys, repeat(tail))


_SIZES = Table(lambda size: b"$%d\r\n" % size)


def by_read(replies: Sequence[_Reply], keys: Iterable[Sequence[bytes]]) -> list[Sequence[_Reply]]:
    """The *replies* to all reads in turn, one list a read; *keys* are those of each."""
    counts = [len(each) for each in keys]
    return [replies[stop - count : stop] for stop, count in zip(accumulate(counts), counts, strict=True)]


@functools.lru_cache(maxsize=1024)
def _around_key(fields: tuple[bytes, ...]) -> tuple[bytes, bytes]:
    return b"*%d\r\n$5\r\nHMGET\r\n" % (len(fields) + 2), b"\r\n" + b"".join(map(bulk, fields))


@dataclass(slots=True, eq=False)
class _Call:
    replies: int
    future: asyncio.Future[list[Any]]
    sent: float
    expires: float


class RedisConnection(asyncio.Protocol):
    """One connection: calls go out at once, without waiting for replies, which come in the order of commands.

    One alarm watches all calls, because setting and taking back one a call costs more than the call's own bookkeeping.
    """

    def __init__(self, timeout_seconds: float = math.inf) -> None:
        """Make a connection that ends when its server takes longer than *timeout_seconds* for a reply."""
        self._loop = asyncio.get_running_loop()
        self._timeout_seconds = timeout_seconds
        self._reader = hiredis.Reader(notEnoughData=_INCOMPLETE)
        self._calls: deque[_Call] = deque()
        self._replies: list[Any] = []
        self._transport: asyncio.Transport | None = None
        self._reason: str | None = None
        self._ended = asyncio.Event()
        self._released = asyncio.Event()
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_time = math.inf

    @property
    def in_flight(self) -> int:
        """Calls whose replies have not all come."""
        return len(self._calls)

    def send(self, data: bytes, replies: int, expires: float = math.inf) -> asyncio.Future[list[Any]]:
        """Send *data*; the future has that many replies, errors among them as values.

        It raises ConnectionGone when the connection ends first, and TimeoutError at the loop's time *expires*.
        Cancelling it leaves the connection whole: the replies are read and dropped.

        Raises:
            ConnectionGone: the connection has ended.
        """
        if self._transport is None or self._reason is not None:
            raise ConnectionGone(self._reason or "is not connected")
        now = self._loop.time()
        call = _Call(replies, self._loop.create_future(), now, expires)
        self._calls.append(call)
        self._transport.write(data)
        self._watch(min(expires, now + self._timeout_seconds))
        return call.future

    async def ended(self) -> str:
        """Wait until the connection has ended, and say how."""
        await self._ended.wait()
        return self._reason or ""

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
        calls, replies = self._calls, self._replies
        self._reader.feed(data)
        try:
            replies.extend(iter(self._reader.gets, _INCOMPLETE))
            spoken_well = True
        except hiredis.ProtocolError:  # What came before it are replies.
            spoken_well = False
        start = 0
        while calls and (stop := start + calls[0].replies) <= len(replies):
            future = calls.popleft().future
            if not future.done():
                future.set_result(replies[start:stop])
            start = stop
        del replies[:start]
        if not spoken_well or (replies and not calls):
            self._end(NOT_REDIS)

    def connection_lost(self, error: Exception | None) -> None:
        """See asyncio.Protocol."""
        refused = isinstance(error, ssl.SSLError) and error.reason
        self._end(f"ended TLS ({spoken(refused)})" if refused else "closed the connection")
        self._released.set()

    def _watch(self, when: float) -> None:
        """Look after the calls at *when*, or earlier."""
        if when < self._alarm_time:
            if self._alarm is not None:
                self._alarm.cancel()
            self._alarm_time = when
            # uvloop keeps whole milliseconds: a little late is once, a little early would be again and again.
            self._alarm = self._loop.call_at(when + 0.001, self._look)

    def _look(self) -> None:
        self._alarm, self._alarm_time = None, math.inf
        if not self._calls:
            return
        now = self._loop.time()
        silent = self._calls[0].sent + self._timeout_seconds
        if silent <= now:
            self._end(SILENT)
            return
        for call in self._calls:
            if call.expires <= now and not call.future.done():
                call.future.set_exception(TimeoutError())
        self._watch(min(silent, *(call.expires for call in self._calls if not call.future.done()), math.inf))

    def _end(self, reason: str) -> None:
        if self._reason is not None:
            return
        self._reason = reason
        self._ended.set()
        if self._alarm is not None:
            self._alarm.cancel()
        if self._transport is not None:
            self._transport.abort()
        for call in self._calls:
            if not call.future.done():
                call.future.set_exception(ConnectionGone(reason))
        self._calls.clear()


def spoken(reason: str) -> str:
    """A reason of OpenSSL, such as CERTIFICATE_REQUIRED, in words."""
    return reason.replace("_", " ").lower()
