"""The embedded Redis with our configuration: who may do what, and what it does when it is full."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from predmesh_cli.passwords import Passwords
from predmesh_cli.redis_server import acl, configuration, redis_binary
from predmesh_rpc.addresses import free_ports
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, ConnectionError, NoPermissionError, OutOfMemoryError
from redis.retry import Retry

SECRETS = Passwords(features="f" * 48, writer="w" * 48, watcher="i" * 48)
ONCE = Retry(NoBackoff(), 0)
Connect = Callable[[str], Redis]


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    folder = tmp_path_factory.mktemp("redis")
    [chosen] = free_ports(1)
    (folder / "users.acl").write_text(acl(SECRETS))
    (folder / "redis.conf").write_text(
        configuration(
            port=chosen, socket=folder / "r.sock", data=folder, acl_file=folder / "users.acl", max_memory_mb=3
        )
    )
    with subprocess.Popen([redis_binary().path, folder / "redis.conf"], stdout=subprocess.DEVNULL) as server:
        wait_until_up(chosen)
        yield chosen
        server.terminate()


def wait_until_up(port: int) -> None:
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            with Redis(port=port, username="watcher", password=SECRETS.watcher, retry=ONCE) as client:
                client.ping()
            return
        except ConnectionError:
            time.sleep(0.02)
    raise TimeoutError("redis did not start")


@pytest.fixture
def connect(port: int) -> Iterator[Connect]:
    clients: list[Redis] = []

    def opened(user: str) -> Redis:
        clients.append(Redis(port=port, username=user, password=getattr(SECRETS, user), retry=ONCE))
        return clients[-1]

    yield opened
    for client in clients:
        client.close()


def test_the_writer_does_what_feast_does(connect: Connect) -> None:
    writer = connect("writer")
    with writer.pipeline(transaction=False) as pipe:
        pipe.hset("row", mapping={"a": "1", "b": "2"})
        pipe.hmget("row", ["a", "b"])
        pipe.expire("row", 60)
        pipe.hkeys("row")
        pipe.hdel("row", "b")
        assert pipe.execute()[1] == [b"1", b"2"]
    assert list(writer.scan_iter("row")) == [b"row"]
    writer.delete("row")


def test_features_reads_and_cannot_write(connect: Connect) -> None:
    connect("writer").hset("other", mapping={"a": "1"})
    reader = connect("features")
    assert reader.hmget("other", ["a", "z"]) == [b"1", None]
    with pytest.raises(NoPermissionError):
        reader.hset("other", "a", "2")


def test_the_watcher_sees_figures_and_no_key(connect: Connect) -> None:
    watcher = connect("watcher")
    stats: Any = watcher.info("stats")
    assert stats["total_commands_processed"] > 0
    with pytest.raises(NoPermissionError):
        watcher.hgetall("other")


COMMANDS = ("EVAL return 0", "SCRIPT FLUSH", "CONFIG GET *", "DEBUG SLEEP 0", "MODULE LIST", "FLUSHALL", "KEYS *",
            "SHUTDOWN", "ACL LIST", "REPLICAOF a 1", "SAVE", "MONITOR", "CLIENT LIST", "PUBLISH a b")  # fmt: skip


@pytest.mark.parametrize("user", ["features", "writer", "watcher"])
@pytest.mark.parametrize("command", COMMANDS)
def test_scripts_and_administration_are_off_for_everyone(connect: Connect, user: str, command: str) -> None:
    with pytest.raises(NoPermissionError):
        connect(user).execute_command(*command.split())


def test_nobody_enters_without_a_password(port: int) -> None:
    with Redis(port=port, retry=ONCE) as anonymous, pytest.raises(AuthenticationError):
        anonymous.ping()


def test_a_full_store_refuses_writes_and_loses_nothing(connect: Connect) -> None:
    writer = connect("writer")
    written = 0
    with pytest.raises(OutOfMemoryError):
        for number in range(100):
            writer.execute_command("HSET", f"big:{number}", "value", os.urandom(100_000))
            written = number + 1
    assert sum(1 for _ in writer.scan_iter("big:*")) == written
    for number in range(written):
        writer.delete(f"big:{number}")


def test_no_password_is_in_the_access_list() -> None:
    assert not any(secret * 48 in acl(SECRETS) for secret in "fwi")


def test_its_title_is_left_alone_so_that_its_environment_stays_readable(tmp_path: Path) -> None:
    text = configuration(port=1, socket=tmp_path / "s", data=tmp_path, acl_file=tmp_path / "a", max_memory_mb=1)
    assert "set-proc-title no" in text
