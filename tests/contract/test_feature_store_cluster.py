"""A real Redis cluster that changes while it is read: slots move, servers go and come back."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence

import pytest
from predmesh_features.domain import HashRead, HashValues, HashWrite
from predmesh_features.feast_redis_cluster import FeastRedisCluster
from predmesh_features.redis_address import parse_redis_url
from predmesh_features.redis_link import LinkOptions
from predmesh_features.redis_slots import key_slot
from predmesh_features.stored_values import encode_stamp
from predmesh_rpc import deadline
from predmesh_rpc.errors import DeadlineExceeded, DependencyDown
from predmesh_testing.redis import RedisServer, needs_redis, running_redis
from predmesh_testing.redis_cluster import RedisCluster, redis_cluster, running_redis_cluster
from predmesh_testing.running import free_port

__all__ = ["redis_cluster"]

pytestmark = needs_redis()
KEYS = [b"entity %d" % number for number in range(60)]
SLOT = key_slot(b"{entity 1}")
IN_SLOT = [b"{entity 1}%d" % number for number in range(20)]
PASSWORD = "s3cret-word"
COMMON = "+ping +hmget +cluster|slots +asking"
USERS = (
    f"user reader on >{PASSWORD} ~* {COMMON}",
    f"user writer on >{PASSWORD} ~* {COMMON} +hset +expire +watch +unwatch +multi +exec",
)


def write(key: bytes, nanos: int = 1) -> HashWrite:
    return HashWrite(key, b"_ts:v", nanos, {b"_ts:v": encode_stamp(nanos), b"field": key})


async def read(store: FeastRedisCluster, keys: Sequence[bytes]) -> list[HashValues | None]:
    (found,) = await store.read([HashRead(keys, (b"field",))])
    return list(found)


def rows(keys: Sequence[bytes]) -> list[HashValues]:
    return [[key] for key in keys]


@pytest.fixture
def cluster(redis_cluster: RedisCluster) -> RedisCluster:
    redis_cluster.clear()
    return redis_cluster


@pytest.fixture
def own_cluster() -> Iterator[RedisCluster]:
    with running_redis_cluster() as cluster:
        yield cluster


@contextlib.asynccontextmanager
async def store_at(url: str, write_url: str = "", timeout_seconds: float = 5) -> AsyncIterator[FeastRedisCluster]:
    addresses = parse_redis_url(url), parse_redis_url(write_url or url)
    async with FeastRedisCluster.connect(*addresses, LinkOptions(timeout_seconds=timeout_seconds)) as store:
        yield store


def owner_of(cluster: RedisCluster, slot: int) -> RedisServer:
    return cluster.servers[slot * len(cluster.servers) // 16384]


async def until_read(store: FeastRedisCluster, keys: Sequence[bytes], wanted: Sequence[HashValues | None]) -> None:
    """Ends when *keys* are read as *wanted*."""
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(DependencyDown):
                if await read(store, keys) == list(wanted):
                    return
            await asyncio.sleep(0.01)


async def test_every_server_is_asked_once_for_all_its_keys(cluster: RedisCluster) -> None:
    async with store_at(cluster.url) as store:
        await store.write([write(key) for key in KEYS])
        before = [calls_of_hmget(server) for server in cluster.servers]
        assert await read(store, KEYS) == rows(KEYS)
        asked = [calls_of_hmget(server) - was for server, was in zip(cluster.servers, before, strict=True)]
    assert sum(asked) == len(KEYS)
    assert all(asked)


def calls_of_hmget(server: RedisServer) -> int:
    with server.client() as client:
        return int(client.info("commandstats").get("cmdstat_hmget", {}).get("calls", 0))


async def test_one_node_that_answers_is_enough_to_begin(cluster: RedisCluster) -> None:
    url = f"redis+cluster://127.0.0.1:{free_port()},127.0.0.1:{cluster.servers[2].port}"
    async with store_at(url) as store:
        await store.write([write(key) for key in KEYS])
        assert await read(store, KEYS) == rows(KEYS)


async def test_a_slot_that_moves_is_read_whole_at_every_step(cluster: RedisCluster) -> None:
    source = owner_of(cluster, SLOT)
    target = next(server for server in cluster.servers if server is not source)
    missing = [b"{entity 1}missing"]
    async with store_at(cluster.url) as store:
        await store.write([write(key) for key in IN_SLOT])
        try:
            cluster.begin_move(SLOT, source, target)
            assert await read(store, IN_SLOT + missing) == [*rows(IN_SLOT), [None]]
            cluster.move_keys(SLOT, source, target)
            assert await read(store, IN_SLOT + missing) == [*rows(IN_SLOT), [None]]
            with pytest.raises(DependencyDown, match="is moving the slot of a key; try again"):
                await store.write([write(IN_SLOT[0], 2)])
            cluster.end_move(SLOT, target)
            assert await read(store, IN_SLOT + missing) == [*rows(IN_SLOT), [None]]
            assert await store.write([write(IN_SLOT[0], 2), write(IN_SLOT[1], 1)]) == [True, False]
        finally:
            cluster.begin_move(SLOT, target, source)
            cluster.move_keys(SLOT, target, source)
            cluster.end_move(SLOT, source)


async def test_no_read_fails_while_slots_move_under_load(cluster: RedisCluster) -> None:
    source = owner_of(cluster, SLOT)
    target = next(server for server in cluster.servers if server is not source)
    async with store_at(cluster.url) as store:
        await store.write([write(key) for key in IN_SLOT + KEYS])
        done = False

        async def reading() -> int:
            reads = 0
            while not done:
                assert await read(store, IN_SLOT + KEYS) == rows(IN_SLOT + KEYS)
                reads += 1
            return reads

        async with asyncio.TaskGroup() as group:
            readers = [group.create_task(reading()) for _ in range(4)]
            for giving, taking in [(source, target), (target, source)] * 3:
                await asyncio.to_thread(cluster.begin_move, SLOT, giving, taking)
                await asyncio.to_thread(cluster.move_keys, SLOT, giving, taking)
                await asyncio.to_thread(cluster.end_move, SLOT, taking)
            done = True
    assert all(reader.result() for reader in readers)


async def test_a_server_that_goes_takes_only_its_rows_along_and_brings_them_back(own_cluster: RedisCluster) -> None:
    gone = own_cluster.servers[1]
    async with store_at(own_cluster.url) as store:
        await store.write([write(key) for key in KEYS])
        lost = [key for key in KEYS if owner_of(own_cluster, key_slot(key)) is gone]
        gone.stop()
        await until_read(store, KEYS, [None if key in lost else [key] for key in KEYS])
        with pytest.raises(DependencyDown, match="the online store"):
            await read(store, lost)
        await store.ping()
        gone.start()
        await until_read(store, KEYS, rows(KEYS))


async def test_a_replica_that_takes_over_is_found(own_cluster: RedisCluster) -> None:
    gone = own_cluster.servers[2]
    with own_cluster.replica_of(gone) as replica:
        async with store_at(own_cluster.url) as store:
            await store.write([write(key) for key in KEYS])
            with gone.client() as client:
                assert client.wait(1, 5000) == 1
            gone.stop()
            own_cluster.take_over(replica)
            await until_read(store, KEYS, rows(KEYS))


async def test_a_server_that_hangs_costs_a_caller_no_more_than_its_deadline(own_cluster: RedisCluster) -> None:
    async with store_at(own_cluster.url) as store:
        await store.write([write(key) for key in KEYS])
        own_cluster.servers[0].hang()
        with pytest.raises(DeadlineExceeded), deadline.within(0.05):
            await read(store, KEYS)
        own_cluster.servers[0].go_on()
        await until_read(store, KEYS, rows(KEYS))


async def test_a_cluster_that_is_not_there_is_told_at_once() -> None:
    async with store_at(f"redis+cluster://127.0.0.1:{free_port()}") as store:
        for call in (read(store, KEYS), store.ping(), store.write([write(b"k")])):
            with pytest.raises(DependencyDown, match="cannot be reached"):
                await call


async def test_a_server_that_is_no_cluster_is_told() -> None:
    with running_redis() as server:
        async with store_at(f"redis+cluster://127.0.0.1:{server.port}") as store:
            with pytest.raises(DependencyDown, match="answers ERR"):
                await store.ping()


async def test_users_with_exactly_the_commands_we_tell_of_are_enough(cluster: RedisCluster) -> None:
    with contextlib.ExitStack() as stack:
        for server in cluster.servers:
            client = stack.enter_context(server.client())
            for user in USERS:
                _, name, *rules = user.split()
                client.execute_command("ACL", "SETUSER", name, *rules)
            stack.callback(client.execute_command, "ACL", "DELUSER", "reader", "writer")
        reader, writer = (f"redis+cluster://{user}:{PASSWORD}@{cluster.hosts}" for user in ("reader", "writer"))
        async with store_at(reader, writer) as store:
            assert all(await store.write([write(key) for key in KEYS]))
            assert await read(store, KEYS) == rows(KEYS)
        async with store_at(reader) as store:
            with pytest.raises(DependencyDown, match="answers NOPERM"):
                await store.write([write(b"k")])
