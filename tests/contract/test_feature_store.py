"""What every online store does: the one in memory and the real Redis, by every way to it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from predmesh_features.domain import HashRead, HashValues, HashWrite, OnlineStore
from predmesh_features.feast_redis import FeastRedis
from predmesh_features.feast_redis_cluster import FeastRedisCluster
from predmesh_features.redis_address import parse_redis_url
from predmesh_features.redis_link import LinkOptions
from predmesh_features.redis_tls import tls_context
from predmesh_features.stored_values import encode_stamp
from predmesh_testing.fake_store import FakeStore
from predmesh_testing.redis import RedisServer, needs_redis, redis_server
from predmesh_testing.redis_cluster import RedisCluster, redis_cluster
from predmesh_testing.redis_tls import Certificates, tls_before

__all__ = ["redis_cluster", "redis_server"]

STAMP = b"_ts:weather"


def row(key: bytes, nanos: int, value: bytes, stamp: bytes = STAMP) -> HashWrite:
    return HashWrite(key, stamp, nanos, {stamp: encode_stamp(nanos), b"field" + stamp: value})


async def value(store: OnlineStore, key: bytes, stamp: bytes = STAMP) -> bytes | None:
    (((found,),),) = known(await store.read([HashRead([key], (b"field" + stamp,))]))
    return found


def known(answers: Sequence[Sequence[HashValues | None]]) -> list[list[list[bytes | None]]]:
    """The values of all hashes, none of which is out of reach."""
    return [[list(values) for values in each if values is not None] for each in answers]


REAL = ("tcp", "unix", "tls", "cluster")


@pytest.fixture(params=["fake", *(pytest.param(kind, marks=needs_redis()) for kind in REAL)])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[OnlineStore]:
    if request.param == "fake":
        yield FakeStore()
        return
    if request.param == "cluster":
        cluster: RedisCluster = request.getfixturevalue("redis_cluster")
        cluster.clear()
        address = parse_redis_url(cluster.url)
        async with FeastRedisCluster.connect(address, address) as nodes:
            yield nodes
        return
    server: RedisServer = request.getfixturevalue("redis_server")
    with server.client() as client:
        client.flushall()
    async with contextlib.AsyncExitStack() as stack:
        url, options = server.url if request.param == "tcp" else server.unix_url, LinkOptions()
        if request.param == "tls":
            certificates = Certificates(tmp_path)
            port = await stack.enter_async_context(tls_before(server.port, certificates.server_context()))
            url, options = f"rediss://127.0.0.1:{port}", LinkOptions(tls=tls_context(certificates.authority))
        address = parse_redis_url(url)
        yield await stack.enter_async_context(FeastRedis.connect(address, address, options))


async def test_a_key_that_was_never_written_has_no_values(store: OnlineStore) -> None:
    assert known(await store.read([HashRead([b"a", b"b"], (b"x", b"y"))])) == [[[None, None], [None, None]]]


async def test_values_come_in_the_order_of_reads_keys_and_fields(store: OnlineStore) -> None:
    await store.write([row(b"a", 1, b"1"), row(b"b", 1, b""), row(b"a", 1, b"3", b"_ts:other")])
    found = await store.read(
        [
            HashRead([b"b", b"a"], (b"field" + STAMP, STAMP)),
            HashRead([b"a"], (b"field_ts:other",)),
            HashRead([], (b"x",)),
        ]
    )
    assert known(found) == [[[b"", encode_stamp(1)], [b"1", encode_stamp(1)]], [[b"3"]], []]


async def test_nothing_to_read_is_nothing_read(store: OnlineStore) -> None:
    assert await store.read([]) == []


async def test_a_row_that_is_not_newer_is_skipped(store: OnlineStore) -> None:
    assert await store.write([row(b"k", 2_000, b"first")]) == [True]
    assert await store.write([row(b"k", 1_000, b"older"), row(b"k", 2_000, b"same")]) == [False, False]
    assert await value(store, b"k") == b"first"
    assert await store.write([row(b"k", 3_000, b"newer")]) == [True]
    assert await value(store, b"k") == b"newer"


async def test_of_the_rows_of_one_push_the_newest_stays(store: OnlineStore) -> None:
    assert await store.write([row(b"k", 5, b"5"), row(b"k", 9, b"9"), row(b"k", 7, b"7")]) == [True, True, False]
    assert await value(store, b"k") == b"9"


async def test_views_of_one_entity_have_event_times_of_their_own(store: OnlineStore) -> None:
    assert await store.write([row(b"k", 9, b"a"), row(b"k", 1, b"b", b"_ts:other")]) == [True, True]
    assert await value(store, b"k", b"_ts:other") == b"b"


async def test_a_push_of_thousands_of_rows_arrives_whole(store: OnlineStore) -> None:
    keys = [b"key %d" % number for number in range(2_500)]
    assert all(await store.write([row(key, 1, key) for key in keys]))
    (values,) = known(await store.read([HashRead(keys, (b"field" + STAMP,))]))
    assert [each[0] for each in values] == keys


async def test_calls_at_the_same_time_get_their_own_answers(store: OnlineStore) -> None:
    await store.write([row(b"%d" % number, 1, b"value %d" % number) for number in range(50)])
    found = await asyncio.gather(*[value(store, b"%d" % number) for number in range(50)])
    assert found == [b"value %d" % number for number in range(50)]


async def test_pushes_at_the_same_time_leave_the_newest(store: OnlineStore) -> None:
    await asyncio.gather(*[store.write([row(b"k", nanos, b"%d" % nanos)]) for nanos in (3, 1, 5, 2, 4)])
    assert await value(store, b"k") == b"5"


async def test_binary_keys_and_values_are_kept(store: OnlineStore) -> None:
    key, wanted = bytes(range(256)), b"\r\n$5\r\n\0" * 10_000
    await store.write([row(key, 1, wanted)])
    assert await value(store, key) == wanted


async def test_a_ping_says_that_the_store_is_there(store: OnlineStore) -> None:
    await store.ping()
