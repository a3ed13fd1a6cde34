"""Knows who owns which slot of a Redis cluster, and keeps a link to each owner."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncIterator, Iterator
from typing import Any

from predmesh_rpc import deadline

from predmesh_features.redis_address import Node, RedisAddress
from predmesh_features.redis_link import LinkOptions, RedisLink, StoreDown, backoff_seconds
from predmesh_features.redis_protocol import SILENT, command
from predmesh_features.redis_slots import Owners, Redirection, nodes_of, slot_owners

log = logging.getLogger(__name__)

PAUSE_SECONDS = 0.1
"""Least time between two looks at the owners, however often one is asked for."""

LOOK_SECONDS = 30.0
"""Most time between two looks."""

_SLOTS = command(b"CLUSTER", b"SLOTS")


class RedisCluster:
    """A cluster that is followed through moved slots, lost nodes and new ones."""

    def __init__(self, address: RedisAddress, options: LinkOptions) -> None:
        """Prepare; `running` begins."""
        self._address = address
        self._options = options
        self._owners: Owners = []
        self._links: dict[Node, RedisLink] = {}
        self._doubted = asyncio.Event()
        self._looked = asyncio.Event()
        self._problem = SILENT

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[RedisCluster]:
        """Follow the cluster for the block."""
        task = asyncio.create_task(self._follow(), name="redis-cluster")
        try:
            yield self
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            await asyncio.gather(*[link.close() for link in self._links.values()])

    async def owners(self) -> Owners:
        """Who owns each slot, as far as is known. Raises StoreDown while nobody has told."""
        if not self._looked.is_set():  # Only at the start: afterwards an unknown cluster fails at once.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(deadline.remaining(), self._options.timeout_seconds)):
                    await self._looked.wait()
        if not self._owners:
            raise StoreDown(self._problem)
        return self._owners

    def link(self, node: Node) -> RedisLink:
        """The link to *node*; opened when there is none yet."""
        link = self._links.get(node)
        if link is None:
            link = self._links[node] = RedisLink(self._address.node(node), self._options)
            link.open()
        return link

    @property
    def links(self) -> list[RedisLink]:
        """To all nodes that are known."""
        return list(self._links.values())

    def moved(self, redirection: Redirection) -> None:
        """Take up that a slot has another owner, and look whether it is the only one."""
        if self._owners:
            self._owners[redirection.slot] = redirection.node
        self.doubt()

    def doubt(self) -> None:
        """Look at the owners soon: one of them does not do what an owner does."""
        self._doubted.set()

    async def _follow(self) -> None:
        failures = 0
        while True:
            self._doubted.clear()
            try:
                await self._adopt(await self._told_owners())
                failures = 0
            except StoreDown as error:
                self._problem = error.problem
                failures += 1
            self._looked.set()
            await asyncio.sleep(max(PAUSE_SECONDS, backoff_seconds(failures, random.random())))  # noqa: S311
            if not failures:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_SECONDS):
                        await self._doubted.wait()

    async def _told_owners(self) -> Owners:
        """The owners as the first node tells them that answers."""
        problem = self._problem
        for node, link in self._askable():
            try:
                async with link as asked:
                    reply: Any = (await asked.call(_SLOTS, 1))[0]
                if nodes_of(owners := slot_owners(reply, node)):
                    return owners
                problem = "is a cluster whose slots nobody serves"
            except StoreDown as error:
                problem = error.problem
            except ValueError as error:
                problem = f"answers CLUSTER SLOTS with what {error}"
        raise StoreDown(problem)

    def _askable(self) -> Iterator[tuple[Node, contextlib.AbstractAsyncContextManager[RedisLink]]]:
        known = [(node, link) for node, link in self._links.items() if link.connected]
        for node, link in random.sample(known, len(known)):
            yield node, contextlib.nullcontext(link)
        for node in self._address.seeds:
            yield node, RedisLink(self._address.node(node), self._options).running()

    async def _adopt(self, owners: Owners) -> None:
        nodes = nodes_of(owners)
        if nodes != nodes_of(self._owners):
            log.info("the nodes of the online store changed", extra={"servers": len(nodes)})
        self._owners = owners
        for node in nodes:
            self.link(node)
        gone = [node for node, link in self._links.items() if node not in nodes and not link.in_flight]
        await asyncio.gather(*[self._links.pop(node).close() for node in gone])
