"""Writes hashes in transactions that no other writer comes between, and only what is newer than what is there."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from predmesh_features.domain import HashWrite, newer
from predmesh_features.redis_link import RedisLink, StoreDown
from predmesh_features.redis_protocol import command
from predmesh_features.stored_values import stamp_nanos

MAX_WRITE_KEYS = 1000
"""Keys written by one transaction."""

WRITE_ATTEMPTS = 5
"""How often a transaction is tried that another writer keeps overtaking."""


async def write_all(link: RedisLink, writes: Sequence[HashWrite]) -> list[bool]:
    """Write in order, each thousand keys at once; False for each that is not newer than what is there.

    Raises:
        StoreDown: the server does not answer, refuses, or others write the same keys again and again.
    """
    async with link.alone:
        written: list[bool] = []
        for part in _parts(writes, MAX_WRITE_KEYS):
            written += await _transact(link, part)
        return written


async def _transact(link: RedisLink, writes: Sequence[HashWrite]) -> list[bool]:
    for _ in range(WRITE_ATTEMPTS):
        chosen = chosen_writes(writes, await _watched_stamps(link, writes))
        data, replies = _transaction([write for write, wanted in zip(writes, chosen, strict=True) if wanted])
        # EXEC answers nothing when a watched key changed: somebody else wrote in between.
        if (await link.call(data, replies))[-1] is not None:
            return chosen
    raise StoreDown("is written by others at the same time; try again")


async def _watched_stamps(link: RedisLink, writes: Sequence[HashWrite]) -> list[int]:
    keys = list(dict.fromkeys(write.key for write in writes))
    # A cancelled push may have left keys watched.
    data = [command(b"UNWATCH"), command(b"WATCH", *keys)]
    data += [command(b"HMGET", write.key, write.stamp) for write in writes]
    replies: list[Any] = await link.call(b"".join(data), len(data))
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
