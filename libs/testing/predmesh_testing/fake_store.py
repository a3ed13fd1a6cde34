"""An online store in memory; it passes the contract suite of the real one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from predmesh_features.domain import HashRead, HashValues, HashWrite, newer
from predmesh_features.stored_values import stamp_nanos
from predmesh_rpc.errors import DependencyDown


class FakeStore:
    """Hashes in a dictionary.

    Attributes:
        hashes: what is stored.
        reads: what was asked for.
        entered: set when a read has begun.
        gate: reads wait for it; set unless a test clears it.
        down: whether the store answers like one that is gone.
    """

    def __init__(self) -> None:
        self.hashes: dict[bytes, dict[bytes, bytes]] = {}
        self.reads: list[Sequence[HashRead]] = []
        self.entered = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()
        self.down = False

    async def read(self, reads: Sequence[HashRead]) -> list[Sequence[HashValues]]:
        """See `OnlineStore`."""
        self.reads.append(reads)
        self.entered.set()
        await self.ping()
        return [[self._values(key, each.fields) for key in each.keys] for each in reads]

    async def write(self, writes: Sequence[HashWrite]) -> list[bool]:
        """See `OnlineStore`."""
        await self.ping()
        return [self._write(write) for write in writes]

    async def ping(self) -> None:
        """See `OnlineStore`."""
        await self.gate.wait()
        if self.down:
            raise DependencyDown("ERROR_REASON_STORE_DOWN", "the online store is down", store="fake")

    def _values(self, key: bytes, fields: Sequence[bytes]) -> HashValues:
        found = self.hashes.get(key, {})
        return [found.get(field) for field in fields]

    def _write(self, write: HashWrite) -> bool:
        found = self.hashes.setdefault(write.key, {})
        if not newer(write.event_nanos, stamp_nanos(found.get(write.stamp))):
            return False
        found.update(write.fields)
        return True
