"""Feast's Redis online store in a cluster, read and written without Feast."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import hiredis

from predmesh_features.domain import HashRead, HashValues, HashWrite
from predmesh_features.redis_address import Node, RedisAddress
from predmesh_features.redis_cluster import RedisCluster
from predmesh_features.redis_link import LinkOptions, StoreDown, error_code
from predmesh_features.redis_protocol import by_read, command, hmget
from predmesh_features.redis_slots import Owners, Redirection, key_slot, redirection
from predmesh_features.redis_writing import write_all

MAX_HOPS = 5
"""How often one key is asked for where a node points to another."""

MOVING_SECONDS = 0.05
"""How long a push waits for a slot that is being moved before it tries again."""

_ASKING = command(b"ASKING")


@dataclass(slots=True)
class _Batch:
    """What one node is asked in one round, with the positions of the answers."""

    places: list[int] = field(default_factory=list)
    commands: list[bytes] = field(default_factory=list)


_Round = dict[tuple[Node | None, bool], _Batch]
"""By node, and whether it is told that we know that it does not own the slot yet."""


class FeastRedisCluster:
    """An `OnlineStore` in a Redis cluster; a slot's owner answers, no replica does.

    Its users need what they need of one server, without SELECT, and CLUSTER SLOTS and ASKING.
    """

    def __init__(self, reads: RedisCluster, writes: RedisCluster) -> None:
        """Read by the links of one, write by those of another: a transaction owns its connection."""
        self._reads = reads
        self._writes = writes

    @classmethod
    @contextlib.asynccontextmanager
    async def connect(
        cls, read: RedisAddress, write: RedisAddress, options: LinkOptions | None = None
    ) -> AsyncIterator[FeastRedisCluster]:
        """The store at *read*, written at *write*, for the block; comes up also while the cluster is down."""
        options = options or LinkOptions()
        async with RedisCluster(read, options).running() as reads, RedisCluster(write, options).running() as writes:
            yield cls(reads, writes)

    async def read(self, reads: Sequence[HashRead]) -> list[Sequence[HashValues | None]]:
        """See `OnlineStore`; one write to each node that owns a key, at the same time."""
        keys = [key for read in reads for key in read.keys]
        if not keys:
            return [[] for _ in reads]
        commands = [b"".join(each) for read in reads for each in hmget(read.keys, read.fields)]
        answers = await self._answers(keys, commands)
        return by_read(answers, (read.keys for read in reads))

    async def write(self, writes: Sequence[HashWrite]) -> list[bool]:
        """See `OnlineStore`; the keys of one slot are one transaction, which no other writer comes between."""
        by_slot: dict[int, list[int]] = {}
        for place, write in enumerate(writes):
            by_slot.setdefault(key_slot(write.key), []).append(place)
        owners = await self._writes.owners()
        by_node: dict[Node | None, list[list[int]]] = {}
        for slot, places in by_slot.items():
            by_node.setdefault(owners[slot], []).append(places)
        written = [False] * len(writes)
        await asyncio.gather(*[self._write_slots(writes, slots, written) for slots in by_node.values()])
        return written

    async def ping(self) -> None:
        """See `OnlineStore`; the cluster is there while one of its nodes is, for that node's rows are."""
        await self._reads.owners()
        pings = [link.call(command(b"PING"), 1) for link in self._reads.links]
        found = await asyncio.gather(*pings, return_exceptions=True)
        if not found or all(isinstance(each, BaseException) for each in found):
            raise next((each for each in found if isinstance(each, BaseException)), StoreDown("has no nodes"))

    async def _answers(self, keys: Sequence[bytes], commands: Sequence[bytes]) -> list[Any]:
        """One a command, None where nobody answers for the key; raises StoreDown when nobody does for any."""
        owners = await self._reads.owners()
        answers: list[Any] = [None] * len(keys)
        problem: StoreDown | None = None
        asked = _first_round(owners, keys, commands)
        for _ in range(MAX_HOPS):
            calls = [self._ask(node, asking, batch) for (node, asking), batch in asked.items()]
            found = [await calls[0]] if len(calls) == 1 else await asyncio.gather(*calls)
            again: _Round = {}
            for ((node, _), batch), replies in zip(asked.items(), found, strict=True):
                problem = self._take(node, batch, replies, answers, again) or problem
            if not again:
                break
            asked = again
        else:
            problem = StoreDown("points from node to node")
        if problem is not None and all(answer is None for answer in answers):
            raise problem
        return answers

    async def _ask(self, node: Node | None, asking: bool, batch: _Batch) -> list[Any] | StoreDown:
        """The replies of *node*, errors among them as values."""
        if node is None:
            self._reads.doubt()
            return StoreDown("lacks the node that owns a key")
        # ASKING holds for the one command after it.
        data = b"".join([_ASKING + each for each in batch.commands] if asking else batch.commands)
        try:
            replies = await self._reads.link(node).exchange(data, len(batch.commands) * (1 + asking))
        except StoreDown as error:
            self._reads.doubt()
            return error
        return replies[1::2] if asking else replies

    def _take(
        self, node: Node | None, batch: _Batch, replies: list[Any] | StoreDown, answers: list[Any], again: _Round
    ) -> StoreDown | None:
        """Put *replies* among the *answers*, and redirected commands into *again*; says why one has neither."""
        if isinstance(replies, StoreDown):
            return replies
        problem = None
        for place, data, reply in zip(batch.places, batch.commands, replies, strict=True):
            if not isinstance(reply, hiredis.ReplyError):
                answers[place] = reply
            elif (goal := self._redirected(reply, node)) is not None:
                _add(again, goal.node, not goal.moved, place, data)
            else:
                problem = StoreDown(f"answers {error_code(reply)}")
        return problem

    def _redirected(self, refusal: Exception, node: Node | None) -> Redirection | None:
        """Where to ask instead; None where *node* does not say."""
        goal = redirection(str(refusal), node) if node else None
        if goal is None:
            self._reads.doubt()
        elif goal.moved:
            self._reads.moved(goal)
        return goal

    async def _write_slots(
        self, writes: Sequence[HashWrite], slots: Sequence[Sequence[int]], written: list[bool]
    ) -> None:
        """Write the rows at the positions in *slots*, slot by slot, and note in *written* which were."""
        for places in slots:
            for place, wanted in zip(places, await self._write_slot([writes[each] for each in places]), strict=True):
                written[place] = wanted

    async def _write_slot(self, writes: Sequence[HashWrite]) -> list[bool]:
        slot = key_slot(writes[0].key)
        for _ in range(MAX_HOPS):
            node = (await self._writes.owners())[slot]
            if node is None:
                self._writes.doubt()
                raise StoreDown("lacks the node that owns a key")
            try:
                return await write_all(self._writes.link(node), writes)
            except StoreDown as error:
                goal = redirection(error.refusal, node)
                if goal is None:
                    self._writes.doubt()
                    raise
                if goal.moved:
                    self._writes.moved(goal)
                else:  # A transaction cannot span both nodes, so it waits until the slot has been moved.
                    await asyncio.sleep(MOVING_SECONDS)
        raise StoreDown("is moving the slot of a key; try again")


def _first_round(owners: Owners, keys: Sequence[bytes], commands: Sequence[bytes]) -> _Round:
    """Every owner, asked for its keys; once a key, so without a call each."""
    asked: dict[Node | None, _Batch] = {}
    for place, key in enumerate(keys):
        node = owners[key_slot(key)]
        batch = asked.get(node)
        if batch is None:
            batch = asked[node] = _Batch()
        batch.places.append(place)
        batch.commands.append(commands[place])
    return {(node, False): batch for node, batch in asked.items()}


def _add(asked: _Round, node: Node | None, asking: bool, place: int, data: bytes) -> None:
    batch = asked.get((node, asking))
    if batch is None:
        batch = asked[node, asking] = _Batch()
    batch.places.append(place)
    batch.commands.append(data)
