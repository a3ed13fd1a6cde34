"""TLS to a real Redis: who is trusted, and what is told when somebody is not."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from predmesh_features.domain import HashRead
from predmesh_features.feast_redis import FeastRedis
from predmesh_features.redis_address import parse_redis_url
from predmesh_features.redis_link import LinkOptions
from predmesh_features.redis_protocol import RedisConnection
from predmesh_features.redis_tls import tls_context
from predmesh_rpc.errors import DependencyDown
from predmesh_testing.redis import RedisServer, needs_redis, redis_server
from predmesh_testing.redis_tls import NAME, Certificates, tls_before

__all__ = ["redis_server"]

pytestmark = needs_redis()
READ = [HashRead([b"key"], (b"field",))]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@contextlib.asynccontextmanager
async def store_behind(
    server: RedisServer, spoken: ssl.SSLContext, ours: ssl.SSLContext, *, host: str = "127.0.0.1", name: str = ""
) -> AsyncIterator[FeastRedis]:
    async with tls_before(server.port, spoken) as port:
        address = parse_redis_url(f"rediss://{host}:{port}")
        async with FeastRedis.connect(address, address, LinkOptions(tls=ours, server_name=name)) as store:
            yield store


async def problem_of(store: FeastRedis) -> str:
    with pytest.raises(DependencyDown) as caught:
        await store.read(READ)
    return str(caught.value)


async def test_a_server_that_our_authority_vouches_for_is_read(
    redis_server: RedisServer, certificates: Certificates
) -> None:
    ours = tls_context(certificates.authority)
    async with store_behind(redis_server, certificates.server_context(), ours) as store:
        assert await store.read(READ) == [[[None]]]


async def test_a_server_that_only_others_vouch_for_is_not_trusted(
    redis_server: RedisServer, certificates: Certificates
) -> None:
    async with store_behind(redis_server, certificates.server_context(), tls_context()) as store:
        problem = await problem_of(store)
    assert problem.startswith("the online store shows a certificate that is not trusted (self-signed")


async def test_a_server_of_another_name_is_not_trusted_and_its_name_is_not_told(
    redis_server: RedisServer, certificates: Certificates
) -> None:
    ours = tls_context(certificates.authority)
    async with store_behind(redis_server, certificates.server_context(), ours, host="localhost") as store:
        problem = await problem_of(store)
    assert problem == "the online store shows a certificate that is not trusted (hostname mismatch)"


async def test_a_server_is_known_by_the_name_it_is_said_to_have(
    redis_server: RedisServer, certificates: Certificates
) -> None:
    ours = tls_context(certificates.authority)
    async with store_behind(redis_server, certificates.server_context(), ours, host="localhost", name=NAME) as store:
        assert await store.read(READ) == [[[None]]]


async def test_a_server_that_asks_who_we_are_takes_our_certificate(
    redis_server: RedisServer, certificates: Certificates
) -> None:
    ours = tls_context(certificates.authority, certificates.client)
    async with store_behind(redis_server, certificates.server_context(asks=True), ours) as store:
        assert await store.read(READ) == [[[None]]]


@pytest.mark.parametrize("shown", ["none", "stranger"])
async def test_a_server_that_asks_who_we_are_takes_nobody_else(
    shown: str, redis_server: RedisServer, certificates: Certificates
) -> None:
    ours = tls_context(certificates.authority, certificates.stranger if shown == "stranger" else None)
    async with store_behind(redis_server, certificates.server_context(asks=True), ours) as store:
        with pytest.raises(DependencyDown, match=r"closed the connection|ended TLS"):
            await store.read(READ)


async def test_the_reason_that_a_server_gives_for_ending_tls_is_told() -> None:
    refused = ssl.SSLError(1, "[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] tlsv13 alert certificate required")
    refused.reason = "TLSV13_ALERT_CERTIFICATE_REQUIRED"
    connection = RedisConnection()
    connection.connection_lost(refused)
    assert await connection.ended() == "ended TLS (tlsv13 alert certificate required)"


async def test_a_server_without_tls_is_not_spoken_to_in_clear(
    redis_server: RedisServer, certificates: Certificates
) -> None:
    address = parse_redis_url(f"rediss://127.0.0.1:{redis_server.port}")
    options = LinkOptions(tls=tls_context(certificates.authority), timeout_seconds=0.2)
    async with FeastRedis.connect(address, address, options) as store:
        # Redis takes a greeting in TLS for a command, and waits for its end.
        assert await problem_of(store) == "the online store does not answer"


def test_files_that_hold_nothing_of_the_kind_are_refused(certificates: Certificates, tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("nothing")
    for authorities in (tmp_path / "empty.pem", tmp_path / "none.pem"):
        with pytest.raises(ValueError, match="no file of PEM certificates"):
            tls_context(authorities)
    with pytest.raises(ValueError, match="one pair"):
        tls_context(certificate=certificates.client, key=certificates.stranger)
