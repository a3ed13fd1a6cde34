"""Feast's Redis online store, read and written without Feast."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

from predmesh_features.domain import HashRead, HashValues, HashWrite, newer
from predmesh_features.redis_address import RedisAddress
from predmesh_features.redis_link import RedisLink, down
from predmesh_features.redis_protocol import command, hmget
from predmesh_features.stored_values import stamp_nanos

MAX_WRITE_KEYS = 1000
"""Keys written by one transaction."""

WRITE_ATTEMPTS = 5
"""How often a transaction is tried that another writer keeps overtaking."""


class FeastRedis:
    """An `OnlineStore` in one Redis server.

    The user who reads needs AUTH, SELECT, PING and HMGET; the one who writes also HSET, EXPIRE, WATCH, UNWATCH, MULTI
    and EXEC.
    """

    def __init__(self, reads: RedisLink, writes: RedisLink) -> None:
        """Read by one link, write by another: a transaction owns its connection."""
        self._reads = reads
        self._writes = writes
        self._writing = asyncio.Lock()

    @classmethod
    @contextlib.asynccontextmanager
    async def connect(
        cls, read: RedisAddress, write: RedisAddress, *, timeout_seconds: float = 1.0, max_in_flight: int = 1024
    ) -> AsyncIterator[FeastRedis]:
        """The store at *read*, written at *write*, for the block; comes up also while the server is down."""
        reads = RedisLink(read, timeout_seconds=timeout_seconds, max_in_flight=max_in_flight)
        writes = RedisLink(write, timeout_seconds=timeout_seconds, max_in_flight=max_in_flight)
        async with reads.running(), writes.running():
            yield cls(reads, writes)

    async def read(self, reads: Sequence[HashRead]) -> list[Sequence[HashValues]]:
        """See `OnlineStore`; one write to the connection, whatever the number of reads."""
        data = b"".join([hmget(each.keys, each.fields) for each in reads])
        replies = await self._reads.call(data, sum(len(each.keys) for each in reads)) if data else []
        stops = list(itertools.accumulate(len(each.keys) for each in reads))
        return [replies[stop - len(each.keys) : stop] for stop, each in zip(stops, reads, strict=True)]

    async def write(self, writes: Sequence[HashWrite]) -> list[bool]:
        """See `OnlineStore`; each thousand keys are one transaction, which no other writer comes between."""
        async with self._writing:
            written: list[bool] = []
            for part in _parts(writes, MAX_WRITE_KEYS):
                written += await self._transact(part)
            return written

    async def ping(self) -> None:
        """See `OnlineStore`."""
        await self._reads.call(command(b"PING"), 1)

    async def _transact(self, writes: Sequence[HashWrite]) -> list[bool]:
        for _ in range(WRITE_ATTEMPTS):
            chosen = chosen_writes(writes, await self._watched_stamps(writes))
            data, replies = _transaction([write for write, wanted in zip(writes, chosen, strict=True) if wanted])
            # EXEC answers nothing when a watched key changed: somebody else wrote in between.
            if (await self._writes.call(data, replies))[-1] is not None:
                return chosen
        raise down("is written by others at the same time; try again")

    async def _watched_stamps(self, writes: Sequence[HashWrite]) -> list[int]:
        keys = list(dict.fromkeys(write.key for write in writes))
        # A cancelled push may have left keys watched.
        data = [command(b"UNWATCH"), command(b"WATCH", *keys)]
        data += [command(b"HMGET", write.key, write.stamp) for write in writes]
        replies: list[Any] = await self._writes.call(b"".join(data), len(data))
        return [stamp_nanos(reply[0]) for reply in replies[2:]]


def chosen_writes(writes: Sequence[HashWrite], stored_nanos: Sequence[int]) -> list[bool]:
    """Which of *writes* are newer than what is stored and than those before them, as Feast decides it."""
    latest: dict[tuple[bytes, bytes], int] = {}
    chosen = []
    for write, stored in zip(writes, stored_nanos, strict=True):
        place = (write.key, write.stamp)
        wanted = newer(write.event_nanos, max(stored, latest.get(place, 0)))
        if wanted:
            latest[place] = write.event_nanos
        chosen.append(wanted)
    return chosen


def _transaction(writes: Sequence[HashWrite]) -> tuple[bytes, int]:
    """MULTI to EXEC, and the number of replies."""
    commands = [command(b"MULTI")]
    for write in writes:
        fields = itertools.chain.from_iterable(write.fields.items())
        commands.append(command(b"HSET", write.key, *fields))
        if write.expire_seconds:
            commands.append(command(b"EXPIRE", write.key, str(write.expire_seconds).encode()))
    commands.append(command(b"EXEC"))
    return b"".join(commands), len(commands)


def _parts(writes: Sequence[HashWrite], most: int) -> Iterator[Sequence[HashWrite]]:
    for start in range(0, len(writes), most):
        yield writes[start : start + most]
