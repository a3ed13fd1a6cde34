"""A real Redis cluster of three servers on free ports, whose slots can be moved and whose servers can be ended."""

from __future__ import annotations

import contextlib
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from predmesh_testing.redis import RedisServer, find_redis
from predmesh_testing.running import free_port

SIZE = 3
SLOTS = 16384
AGREEMENT_SECONDS = 30
_BUS = 10_000  # A server talks to its peers at its own port and this.
DIRECTIVES = (
    "cluster-enabled yes",
    "cluster-config-file nodes.conf",
    # On a busy machine servers that are up take longer than a second to say so.
    "cluster-node-timeout 3000",
    # The rows of the servers that are up can be read while others are down.
    "cluster-require-full-coverage no",
    "appendonly yes",
    "appendfsync always",
)


class RedisCluster:
    """Three servers with a third of the slots each; what a server has written it still has when it comes back.

    Attributes:
        servers: in the order of their slots.
    """

    def __init__(self, folder: Path, *directives: str) -> None:
        """Prepare a cluster with its files in *folder*; *directives* are further lines of each ``redis.conf``."""
        self.servers = []
        for number in range(SIZE):
            own = folder / str(number)
            own.mkdir()
            self.servers.append(RedisServer(own, *DIRECTIVES, *directives, port=_cluster_port()))

    @property
    def hosts(self) -> str:
        """Its servers, as Feast's connection string begins."""
        return ",".join(f"127.0.0.1:{server.port}" for server in self.servers)

    @property
    def url(self) -> str:
        """Its address."""
        return f"redis+cluster://{self.hosts}"

    def start(self) -> None:
        """Start it and wait until every server knows the owner of every slot."""
        bounds = [SLOTS * number // SIZE for number in range(SIZE + 1)]
        for number, server in enumerate(self.servers):
            server.start()
            with server.client() as client:
                self._cluster(client, "SET-CONFIG-EPOCH", number + 1)
                self._cluster(client, "ADDSLOTS", *range(bounds[number], bounds[number + 1]))
        with self.servers[0].client() as client:
            for server in self.servers[1:]:
                self._cluster(client, "MEET", "127.0.0.1", server.port)
        self.agree()

    def stop(self) -> None:
        """End every server."""
        for server in self.servers:
            server.stop()

    def agree(self) -> None:
        """Wait until every server sees all slots served."""
        _until(lambda: all(map(self._whole, self.servers)), "the servers do not become one cluster")

    def clear(self) -> None:
        """Forget every key."""
        for server in self.servers:
            with server.client() as client:
                client.flushall()

    @contextlib.contextmanager
    def replica_of(self, server: RedisServer) -> Iterator[RedisServer]:
        """A further server that has what *server* has, and takes over when that is gone; for the block."""
        with tempfile.TemporaryDirectory(prefix="predmesh-replica-") as folder:
            replica = RedisServer(Path(folder), *DIRECTIVES, port=_cluster_port())
            replica.start()
            try:
                with server.client() as leading, replica.client() as following:
                    owner = self._id(leading)
                    self._cluster(following, "MEET", "127.0.0.1", server.port)
                    _until(lambda: owner.encode() in self._cluster(following, "NODES"), "the replica meets nobody")
                    self._cluster(following, "REPLICATE", owner)
                    _until(lambda: following.info("replication")["master_link_status"] == "up", "nothing is copied")
                _until(lambda: all(self._knows(each, replica) for each in self.servers), "the replica is not known")
                yield replica
            finally:
                replica.stop()

    def take_over(self, replica: RedisServer) -> None:
        """Make *replica* the owner of its server's slots, without the others' votes, which take their time."""
        with replica.client() as client:
            self._cluster(client, "FAILOVER", "TAKEOVER")

    def begin_move(self, slot: int, source: RedisServer, target: RedisServer) -> None:
        """Announce that *slot* goes from *source* to *target*: from now on each sends callers to the other."""
        with source.client() as giving, target.client() as taking:
            self._cluster(taking, "SETSLOT", slot, "IMPORTING", self._id(giving))
            self._cluster(giving, "SETSLOT", slot, "MIGRATING", self._id(taking))

    def move_keys(self, slot: int, source: RedisServer, target: RedisServer) -> None:
        """Move all keys of *slot* there."""
        with source.client() as giving:
            for key in self._cluster(giving, "GETKEYSINSLOT", slot, 10_000):
                giving.execute_command("MIGRATE", "127.0.0.1", target.port, key, 0, 5000)

    def end_move(self, slot: int, target: RedisServer) -> None:
        """Make *target* the owner of *slot*."""
        with target.client() as client:
            owner = self._id(client)
        for server in sorted(self.servers, key=lambda each: each is not target):
            with server.client() as client:
                self._cluster(client, "SETSLOT", slot, "NODE", owner)

    def _whole(self, server: RedisServer) -> bool:
        with server.client() as client:
            found = self._cluster(client, "SLOTS")
            # A server takes no calls for a while after it has seen most of its peers.
            up = b"cluster_state:ok" in self._cluster(client, "INFO")
        owners = {owner[1] for _, _, owner, *_ in found}
        return up and len(owners) == SIZE and sum(last - first + 1 for first, last, *_ in found) == SLOTS

    def _knows(self, server: RedisServer, replica: RedisServer) -> bool:
        """Whether *server* would let *replica* take over."""
        with server.client() as client:
            lines = bytes(self._cluster(client, "NODES")).splitlines()
        return any(b":%d@" % replica.port in line and b"slave" in line for line in lines)

    def _id(self, client: redis.Redis) -> str:
        return str(self._cluster(client, "MYID"), "ascii")

    def _cluster(self, client: redis.Redis, *words: Any) -> Any:
        # In one word redis-py would know the command, and make dictionaries of the answers.
        return client.execute_command("CLUSTER", *words)  # type: ignore[no-untyped-call]


@contextlib.contextmanager
def running_redis_cluster(*directives: str) -> Iterator[RedisCluster]:
    """A cluster for the block; *directives* are further lines of each ``redis.conf``."""
    with tempfile.TemporaryDirectory(prefix="predmesh-cluster-") as folder:
        cluster = RedisCluster(Path(folder), *directives)
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.stop()


@pytest.fixture(scope="session")
def redis_cluster() -> Iterator[RedisCluster]:
    """One cluster for all tests of a run; empty it yourself."""
    if find_redis() is None:
        pytest.skip("missing here: redis-server")
    with running_redis_cluster() as cluster:
        yield cluster


def _until(done: Callable[[], bool], problem: str) -> None:
    end = time.monotonic() + AGREEMENT_SECONDS
    while not done():
        if time.monotonic() > end:
            raise TimeoutError(problem)
        time.sleep(0.02)


def _cluster_port() -> int:
    """A free port with a free one for the peers."""
    while True:
        port = free_port()
        with socket.socket() as bus, contextlib.suppress(OSError, OverflowError):
            bus.bind(("127.0.0.1", port + _BUS))
            return port
