"""A Redis in trouble: every caller learns it at once, nothing secret is told, and it mends without hands."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

import pytest
from predmesh_features.domain import HashRead, HashWrite, OnlineStore
from predmesh_features.feast_redis import FeastRedis
from predmesh_features.redis_address import parse_redis_url
from predmesh_features.redis_link import LinkOptions, StoreDown
from predmesh_features.stored_values import encode_stamp
from predmesh_rpc import deadline
from predmesh_rpc.errors import DeadlineExceeded, DependencyDown, TooMuch
from predmesh_testing.redis import RedisServer, needs_redis, running_redis
from predmesh_testing.running import free_port

pytestmark = needs_redis()
PASSWORD = "s3cret-word"
READ = [HashRead([b"key"], (b"field",))]
USERS = (
    "user default off",
    f"user reader on >{PASSWORD} ~* +ping +hmget +select",
    f"user writer on >{PASSWORD} ~* +ping +hmget +select +hset +expire +watch +unwatch +multi +exec",
)


def write(value: bytes = b"v", nanos: int = 1, expire_seconds: int | None = None) -> HashWrite:
    return HashWrite(b"key", b"_ts:v", nanos, {b"_ts:v": encode_stamp(nanos), b"field": value}, expire_seconds)


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with running_redis() as server:
        yield server


@contextlib.asynccontextmanager
async def store_at(url: str, write_url: str = "", timeout_seconds: float = 5) -> AsyncIterator[FeastRedis]:
    read, write = parse_redis_url(url), parse_redis_url(write_url or url)
    async with FeastRedis.connect(read, write, LinkOptions(timeout_seconds=timeout_seconds)) as store:
        yield store


async def recovered(store: OnlineStore) -> None:
    """Ends when the store answers again."""
    async with asyncio.timeout(5):
        while True:
            with contextlib.suppress(DependencyDown):
                return await store.ping()
            await asyncio.sleep(0.01)


async def eventually_written(store: OnlineStore) -> None:
    """Ends when a row was written: writing has a connection of its own, which comes back by itself too."""
    async with asyncio.timeout(5):
        while True:
            with contextlib.suppress(DependencyDown):
                assert await store.write([write()]) == [True]
                return
            await asyncio.sleep(0.01)


async def problem_of(store: OnlineStore) -> DependencyDown:
    with pytest.raises(DependencyDown) as caught:
        await store.read(READ)
    assert caught.value.reason == "ERROR_REASON_STORE_DOWN"
    assert caught.value.metadata == {"store": "redis"}
    assert PASSWORD not in str(caught.value)
    return caught.value


async def test_a_store_that_is_not_there_is_told_at_once() -> None:
    async with store_at(f"redis://reader:{PASSWORD}@127.0.0.1:{free_port()}/0") as store:
        assert "cannot be reached (connection refused)" in str(await problem_of(store))
        async with asyncio.timeout(0.3):
            await problem_of(store)


async def test_a_socket_that_is_not_there_is_told() -> None:
    async with store_at("unix:///nowhere/redis.sock") as store:
        assert "no such file" in str(await problem_of(store))


async def test_a_host_without_address_is_told() -> None:
    async with store_at("redis://no-such-host.invalid:6379/0") as store:
        assert "unknown host" in str(await problem_of(store))


async def test_a_store_that_went_and_came_back_is_used_again(server: RedisServer) -> None:
    async with store_at(server.url) as store:
        await store.ping()
        server.stop()
        await problem_of(store)
        server.start()
        await recovered(store)
        await eventually_written(store)


async def test_a_store_that_hangs_is_down_for_all_who_wait_and_mends(server: RedisServer) -> None:
    async with store_at(server.url, timeout_seconds=0.4) as store:
        await store.ping()
        server.hang()
        async with asyncio.timeout(2):
            found = await asyncio.gather(*[store.read(READ) for _ in range(20)], return_exceptions=True)
        assert {str(error) for error in found} == {"the online store does not answer"}
        async with asyncio.timeout(0.3):
            await problem_of(store)
        server.go_on()
        await recovered(store)


async def test_callers_in_a_hurry_get_their_deadline_and_the_hang_is_noticed_all_the_same(server: RedisServer) -> None:
    async with store_at(server.url, timeout_seconds=0.4) as store:
        await store.ping()
        server.hang()
        with pytest.raises(DeadlineExceeded) as caught, deadline.within(0.05):
            await store.read(READ)
        assert caught.value.reason == "ERROR_REASON_DEADLINE"
        async with asyncio.timeout(3):
            while True:
                try:
                    with deadline.within(0.05):
                        await store.read(READ)
                except DeadlineExceeded:
                    continue
                except DependencyDown:
                    break
        server.go_on()
        await recovered(store)


async def test_a_cancelled_read_leaves_the_answers_of_others_alone(server: RedisServer) -> None:
    async with store_at(server.url) as store:
        await store.write([write(b"wanted")])
        server.hang()
        cancelled, kept = (asyncio.create_task(store.read(READ)) for _ in range(2))
        await asyncio.sleep(0)
        cancelled.cancel()
        server.go_on()
        assert list((await kept)[0][0]) == [b"wanted"]
        with pytest.raises(asyncio.CancelledError):
            await cancelled


async def test_calls_beyond_the_limit_are_refused(server: RedisServer) -> None:
    address = parse_redis_url(server.url)
    async with FeastRedis.connect(address, address, LinkOptions(timeout_seconds=0.3, max_in_flight=3)) as store:
        await store.ping()
        server.hang()
        found = await asyncio.gather(*[store.read(READ) for _ in range(5)], return_exceptions=True)
        assert [type(error) for error in found] == [StoreDown] * 3 + [TooMuch] * 2
        server.go_on()


async def test_a_user_and_password_open_the_store_and_wrong_ones_do_not() -> None:
    with running_redis(*USERS) as server:
        async with store_at(server.url_of("reader", PASSWORD), server.url_of("writer", PASSWORD)) as store:
            assert await store.write([write(b"kept")]) == [True]
            assert list((await store.read(READ))[0][0]) == [b"kept"]
        async with store_at(server.url) as store:
            assert str(await problem_of(store)) == "the online store answers NOAUTH"
        async with store_at(server.url_of("reader", PASSWORD + "x")) as store:
            assert str(await problem_of(store)) == "the online store answers WRONGPASS"


async def test_one_who_may_only_read_cannot_write() -> None:
    with running_redis(*USERS) as server:
        async with store_at(server.url_of("reader", PASSWORD)) as store:
            with pytest.raises(DependencyDown, match="answers NOPERM"):
                await store.write([write()])


async def test_another_database_is_another_store(server: RedisServer) -> None:
    async with store_at(server.url) as store, store_at(server.url[:-1] + "5") as other:
        await store.write([write()])
        assert list((await other.read(READ))[0][0]) == [None]


async def test_a_key_of_another_kind_is_told_and_the_connection_stays_whole(server: RedisServer) -> None:
    async with store_at(server.url) as store:
        with server.client() as client:
            client.set(b"key", b"text")
        assert str(await problem_of(store)) == "the online store answers WRONGTYPE"
        await store.ping()


async def test_a_full_store_takes_nothing_and_says_so() -> None:
    with running_redis("maxmemory 1mb", "maxmemory-policy noeviction") as server:
        async with store_at(server.url) as store:
            with pytest.raises(DependencyDown, match=r"answers (OOM|EXECABORT)"):
                for nanos in range(1, 50):
                    await store.write([write(b"x" * 200_000, nanos)])
            await store.read(READ)


async def test_a_row_expires_as_the_project_says(server: RedisServer) -> None:
    async with store_at(server.url) as store:
        await store.write([write(expire_seconds=500)])
        with server.client() as client:
            assert 490 < client.ttl(b"key") <= 500


async def test_two_writers_at_the_same_time_leave_the_newest_row(server: RedisServer) -> None:
    async with store_at(server.url) as one, store_at(server.url) as other:
        await asyncio.gather(one.ping(), other.ping())
        for start in range(1, 200, 8):
            rows = [write(b"%d" % nanos, nanos) for nanos in (start + 1, start + 3, start, start + 2)]
            await asyncio.gather(*[store.write([row]) for row, store in zip(rows, [one, other] * 2, strict=True)])
            assert list((await one.read(READ))[0][0]) == [b"%d" % (start + 3)]


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (b"-LOADING Redis is loading the dataset in memory\r\n", "answers LOADING"),
        (b"-MASTERDOWN Link with MASTER is down\r\n", "answers MASTERDOWN"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak the Redis protocol"),
        (b"*1\r\n$4\r\nPING\r\n", "does not speak the Redis protocol"),
        (b"", "closed the connection"),
    ],
    ids=["loading", "master-down", "no-redis", "echoes", "closes"],
)
async def test_what_a_server_says_instead_of_pong_is_told(answer: bytes, problem: str) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with store_at(f"redis://127.0.0.1:{port}/0") as store:
            assert problem in str(await problem_of(store))
