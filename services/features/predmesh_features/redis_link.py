"""Keeps one connection to a Redis server: opens it, opens it anew when it ends, and says so when there is none."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import socket
import ssl
from collections.abc import AsyncIterator
from contextvars import Context
from dataclasses import dataclass
from typing import Any

import hiredis
from predmesh_rpc import deadline
from predmesh_rpc.errors import DeadlineExceeded, DependencyDown, TooMuch

from predmesh_features.redis_address import RedisAddress
from predmesh_features.redis_protocol import NOT_REDIS, SILENT, ConnectionGone, RedisConnection, command, spoken

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkOptions:
    """What links have in common.

    Attributes:
        timeout_seconds: a server that takes longer for a reply is down.
        max_in_flight: calls beyond these are refused, by each link.
        tls: how servers are known and we show who we are; for addresses that say TLS.
        server_name: name in the servers' certificates where it is not the host's; empty for the host's.
    """

    timeout_seconds: float = 1.0
    max_in_flight: int = 1024
    tls: ssl.SSLContext | None = None
    server_name: str = ""


class RedisLink:
    """A connection that comes back by itself."""

    def __init__(self, address: RedisAddress, options: LinkOptions) -> None:
        """Prepare a link; `running` opens it, or `open`."""
        self._address = address
        self._options = options
        self._connection: RedisConnection | None = None
        self._attempted = asyncio.Event()
        self._problem = SILENT
        self._task: asyncio.Task[None] | None = None
        self.alone = asyncio.Lock()
        """Held by those who need the connection for themselves, as a transaction does."""

    @property
    def in_flight(self) -> int:
        """Calls that wait for replies."""
        return self._connection.in_flight if self._connection else 0

    @property
    def connected(self) -> bool:
        """Whether there is a connection now."""
        return self._connection is not None

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[RedisLink]:
        """Hold the link for the block."""
        self.open()
        try:
            yield self
        finally:
            await self.close()

    def open(self) -> None:
        """Begin to connect; whoever opens closes."""
        # Whatever call it is opened in, it belongs to none.
        self._task = asyncio.create_task(self._stay_connected(), name="redis-link", context=Context())

    async def close(self) -> None:
        """End the link and wait until nothing is left of it."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        if self._connection is not None:
            await self._connection.release()

    async def call(self, data: bytes, replies: int) -> list[Any]:
        """Send commands and return their replies, none of them an error.

        Raises:
            StoreDown: there is no connection, it ended, the server took too long or answered with an error.
            DeadlineExceeded: the caller's time ran out first.
            TooMuch: too many calls are in flight.
        """
        found = await self.exchange(data, replies)
        for reply in found:
            if isinstance(reply, hiredis.ReplyError):
                raise StoreDown(f"answers {error_code(reply)}", str(reply))
        return found

    async def exchange(self, data: bytes, replies: int) -> list[Any]:
        """Send commands and return their replies, errors among them as values; raises as `call` does."""
        if not self._attempted.is_set():  # Only at the start: afterwards a missing connection fails at once.
            await self._wait_for_attempt()
        connection = self._connection
        if connection is None:
            raise StoreDown(self._problem)
        if connection.in_flight >= self._options.max_in_flight:
            raise TooMuch(
                "ERROR_REASON_OVERLOADED", "too many lookups are waiting for the online store", retry_after_seconds=0.1
            )
        try:
            return await connection.send(data, replies, deadline.expiry())
        except ConnectionGone as error:
            raise StoreDown(str(error)) from None
        except TimeoutError:
            raise DeadlineExceeded(
                "ERROR_REASON_DEADLINE", "the time ran out while the online store was read", stage="features"
            ) from None

    async def _wait_for_attempt(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(deadline.remaining(), self._options.timeout_seconds)):
                await self._attempted.wait()

    async def _stay_connected(self) -> None:
        failures = 0
        while True:
            try:
                self._connection = await self._open()
            except _NotOpen as error:
                self._lost(str(error))
                failures += 1
            else:
                failures = 0
                log.info("connected to the online store", extra={"server": str(self._address)})
                self._attempted.set()
                self._lost(await self._connection.ended())
            await asyncio.sleep(backoff_seconds(failures, random.random()))  # noqa: S311

    def _lost(self, problem: str) -> None:
        self._connection = None
        if problem != self._problem or not self._attempted.is_set():
            log.warning("the online store is down", extra={"server": str(self._address), "problem": problem})
        self._problem = problem
        self._attempted.set()

    async def _open(self) -> RedisConnection:
        connection: RedisConnection | None = None
        try:
            async with asyncio.timeout(self._options.timeout_seconds):
                connection = await self._connect()
                await self._greet(connection)
        except BaseException as error:
            if connection is not None:
                await connection.release()
            if problem := _open_problem(error):
                raise _NotOpen(problem) from None
            raise
        return connection

    async def _connect(self) -> RedisConnection:
        loop = asyncio.get_running_loop()
        address, options = self._address, self._options

        def connection() -> RedisConnection:
            return RedisConnection(options.timeout_seconds)

        if address.path:
            return (await loop.create_unix_connection(connection, address.path))[1]
        if not address.tls:
            return (await loop.create_connection(connection, address.host, address.port))[1]
        # An empty name would turn the check off.
        tls, name = options.tls or ssl.create_default_context(), options.server_name or address.host
        return (await loop.create_connection(connection, address.host, address.port, ssl=tls, server_hostname=name))[1]

    async def _greet(self, connection: RedisConnection) -> None:
        """Say who we are, choose the database and see that the server answers; in one write."""
        address = self._address
        greetings = [command(b"PING")]
        if address.database:
            greetings.insert(0, command(b"SELECT", str(address.database).encode()))
        if address.password:
            user = [address.user.encode()] if address.user else []
            greetings.insert(0, command(b"AUTH", *user, address.password.encode()))
        replies = await connection.send(b"".join(greetings), len(greetings))
        for reply in replies:
            if isinstance(reply, hiredis.ReplyError):
                raise _NotOpen(f"answers {error_code(reply)}")
        # Who connects to a port of its own range that nobody listens on may meet itself, and hear its own words.
        if replies[-1] != b"PONG":
            raise _NotOpen(NOT_REDIS)


class _NotOpen(Exception):
    """No connection came about; says why."""


def _open_problem(error: BaseException) -> str | None:
    """Why a connection did not come about, without where to; None for what is no such reason."""
    if isinstance(error, TimeoutError):
        return SILENT
    if isinstance(error, ssl.SSLCertVerificationError):  # Its message goes on with the name.
        return f"shows a certificate that is not trusted ({error.verify_message.partition(',')[0].lower()})"
    if isinstance(error, ssl.SSLError):
        return f"does not speak TLS as we do ({spoken(error.reason or 'no reason')})"
    if isinstance(error, OSError):
        known = isinstance(error.errno, int) and error.errno > 0 and not isinstance(error, socket.gaierror)
        return f"cannot be reached ({os.strerror(error.errno).lower() if known and error.errno else 'unknown host'})"
    return str(error) if isinstance(error, ConnectionGone | _NotOpen) else None


class StoreDown(DependencyDown):
    """The store does not do what it is asked.

    Attributes:
        problem: what it does instead; told to callers.
        refusal: its own words, where it answered; they may quote keys or values, and are told to nobody.
    """

    def __init__(self, problem: str, refusal: str = "") -> None:
        super().__init__("ERROR_REASON_STORE_DOWN", f"the online store {problem}", store="redis")
        self.problem = problem
        self.refusal = refusal


def error_code(reply: Exception) -> str:
    """The first word of an error reply, e.g. WRONGTYPE; the rest may quote keys or values."""
    return str(reply).partition(" ")[0] or "an error"


def backoff_seconds(failures: int, chance: float) -> float:
    """How long to wait before trying again: 20 ms after the first failure to 1 s, spread by *chance* (0 to 1)."""
    return float(min(1.0, 0.02 * 2 ** min(failures, 10)) * (0.5 + chance / 2))
