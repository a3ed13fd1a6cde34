"""Feast's Redis online store in one server, read and written without Feast."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from itertools import chain

from predmesh_features.domain import HashRead, HashValues, HashWrite
from predmesh_features.redis_address import RedisAddress
from predmesh_features.redis_link import LinkOptions, RedisLink
from predmesh_features.redis_protocol import by_read, command, hmget
from predmesh_features.redis_writing import write_all


class FeastRedis:
    """An `OnlineStore` in one Redis server.

    The user who reads needs AUTH, SELECT, PING and HMGET; the one who writes also HSET, EXPIRE, WATCH, UNWATCH, MULTI
    and EXEC.
    """

    def __init__(self, reads: RedisLink, writes: RedisLink) -> None:
        """Read by one link, write by another: a transaction owns its connection."""
        self._reads = reads
        self._writes = writes

    @classmethod
    @contextlib.asynccontextmanager
    async def connect(
        cls, read: RedisAddress, write: RedisAddress, options: LinkOptions | None = None
    ) -> AsyncIterator[FeastRedis]:
        """The store at *read*, written at *write*, for the block; comes up also while the server is down."""
        options = options or LinkOptions()
        async with RedisLink(read, options).running() as reads, RedisLink(write, options).running() as writes:
            yield cls(reads, writes)

    async def read(self, reads: Sequence[HashRead]) -> list[Sequence[HashValues]]:
        """See `OnlineStore`; one write to the connection, whatever the number of reads."""
        commands = chain.from_iterable(hmget(read.keys, read.fields) for read in reads)
        asked = sum(len(read.keys) for read in reads)
        replies = await self._reads.call(b"".join(chain.from_iterable(commands)), asked) if asked else []
        return by_read(replies, (read.keys for read in reads))

    async def write(self, writes: Sequence[HashWrite]) -> list[bool]:
        """See `OnlineStore`; each thousand keys are one transaction, which no other writer comes between."""
        return await write_all(self._writes, writes)

    async def ping(self) -> None:
        """See `OnlineStore`."""
        await self._reads.call(command(b"PING"), 1)
