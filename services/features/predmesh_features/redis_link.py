"""Keeps one connection to a Redis server: opens it, opens it anew when it ends, and says so when there is none."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import socket
from collections.abc import AsyncIterator
from typing import Any

import hiredis
from predmesh_rpc import deadline
from predmesh_rpc.errors import DeadlineExceeded, DependencyDown, TooMuch

from predmesh_features.redis_address import RedisAddress
from predmesh_features.redis_protocol import ConnectionGone, RedisConnection, command

log = logging.getLogger(__name__)


class RedisLink:
    """A connection that comes back by itself."""

    def __init__(self, address: RedisAddress, *, timeout_seconds: float, max_in_flight: int) -> None:
        """Prepare a link; `running` opens it.

        Args:
            address: the server.
            timeout_seconds: a server that takes longer for a reply is down.
            max_in_flight: calls beyond these are refused.
        """
        self._address = address
        self._timeout_seconds = timeout_seconds
        self._max_in_flight = max_in_flight
        self._connection: RedisConnection | None = None
        self._attempted = asyncio.Event()
        self._problem = "is not connected yet"

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[RedisLink]:
        """Hold the link for the block."""
        task = asyncio.create_task(self._stay_connected(), name="redis-link")
        try:
            yield self
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            if self._connection is not None:
                await self._connection.release()

    async def call(self, data: bytes, replies: int) -> list[Any]:
        """Send commands and return their replies, none of them an error.

        Raises:
            DependencyDown: there is no connection, it ended, the server took too long or answered with an error.
            DeadlineExceeded: the caller's time ran out first.
            TooMuch: too many calls are in flight.
        """
        connection = await self._ready()
        remaining = deadline.remaining()
        try:
            async with asyncio.timeout(min(remaining, self._timeout_seconds)):
                found = await connection.call(data, replies)
        except ConnectionGone as error:
            raise down(str(error)) from None
        except TimeoutError:
            if remaining > self._timeout_seconds or connection.waiting_seconds > self._timeout_seconds:
                connection.abort("does not answer")
                raise down("does not answer") from None
            raise DeadlineExceeded(
                "ERROR_REASON_DEADLINE", "the time ran out while the online store was read", stage="features"
            ) from None
        for reply in found:
            if isinstance(reply, hiredis.ReplyError):
                raise down(f"answers {error_code(reply)}")
        return found

    async def _ready(self) -> RedisConnection:
        if not self._attempted.is_set():  # Only at the start: afterwards a missing connection fails at once.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(deadline.remaining(), self._timeout_seconds)):
                    await self._attempted.wait()
        connection = self._connection
        if connection is None:
            raise down(self._problem)
        if connection.waiting_seconds > self._timeout_seconds:
            connection.abort("does not answer")
            raise down("does not answer")
        if connection.in_flight >= self._max_in_flight:
            raise TooMuch(
                "ERROR_REASON_OVERLOADED", "too many lookups are waiting for the online store", retry_after_seconds=0.1
            )
        return connection

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
                log.info("connected to the online store")
                self._attempted.set()
                self._lost(await self._connection.ended())
            await asyncio.sleep(backoff_seconds(failures, random.random()))  # noqa: S311

    def _lost(self, problem: str) -> None:
        self._connection = None
        if problem != self._problem:
            log.warning("the online store is down", extra={"problem": problem})
        self._problem = problem
        self._attempted.set()

    async def _open(self) -> RedisConnection:
        connection: RedisConnection | None = None
        try:
            async with asyncio.timeout(self._timeout_seconds):
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
        address = self._address
        if address.path:
            _, connection = await loop.create_unix_connection(RedisConnection, address.path)
        else:
            _, connection = await loop.create_connection(RedisConnection, address.host, address.port)
        return connection

    async def _greet(self, connection: RedisConnection) -> None:
        """Say who we are, choose the database and see that the server answers; in one write."""
        address = self._address
        greetings = [command(b"PING")]
        if address.database:
            greetings.insert(0, command(b"SELECT", str(address.database).encode()))
        if address.password:
            user = [address.user.encode()] if address.user else []
            greetings.insert(0, command(b"AUTH", *user, address.password.encode()))
        for reply in await connection.call(b"".join(greetings), len(greetings)):
            if isinstance(reply, hiredis.ReplyError):
                raise _NotOpen(f"answers {error_code(reply)}")


class _NotOpen(Exception):
    """No connection came about; says why."""


def _open_problem(error: BaseException) -> str | None:
    """Why a connection did not come about, without where to; None for what is no such reason."""
    if isinstance(error, TimeoutError):
        return "does not answer"
    if isinstance(error, OSError):
        known = isinstance(error.errno, int) and error.errno > 0 and not isinstance(error, socket.gaierror)
        return f"cannot be reached ({os.strerror(error.errno).lower() if known and error.errno else 'unknown host'})"
    return str(error) if isinstance(error, ConnectionGone | _NotOpen) else None


def down(problem: str) -> DependencyDown:
    """The error that callers see."""
    return DependencyDown("ERROR_REASON_STORE_DOWN", f"the online store {problem}", store="redis")


def error_code(reply: Exception) -> str:
    """The first word of an error reply, e.g. WRONGTYPE; the rest may quote keys or values."""
    return str(reply).partition(" ")[0] or "an error"


def backoff_seconds(failures: int, chance: float) -> float:
    """How long to wait before trying again: 20 ms after the first failure to 1 s, spread by *chance* (0 to 1)."""
    return float(min(1.0, 0.02 * 2 ** min(failures, 10)) * (0.5 + chance / 2))
