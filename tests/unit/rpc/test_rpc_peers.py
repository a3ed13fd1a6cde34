"""Several processes of one service behind a channel: calls are shared out, and those that die are passed by."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue
from predmesh_rpc.channels import connect
from predmesh_rpc.errors import DependencyDown
from predmesh_rpc.health import Dependency
from predmesh_rpc.peers import AWAY_SECONDS, Peers
from predmesh_rpc.server import build
from predmesh_rpc.settings import ServiceSettings

A = StringValue(value="a")
UNARY = "predmesh.test.v1.EchoService/Unary"


def test_equals_take_turns() -> None:
    peers = Peers(["a", "b", "c"])
    assert sorted(peers.choose(0.0).path for _ in range(6)) == ["a", "a", "b", "b", "c", "c"]


def test_the_least_busy_is_chosen() -> None:
    peers = Peers(["a", "b", "c"])
    for peer, calls in zip(peers.all, (2, 1, 3), strict=True):
        peer.in_flight = calls
    assert {peers.choose(0.0).path for _ in range(3)} == {"b"}


def test_one_that_is_away_is_passed_by_for_a_while() -> None:
    peers = Peers(["a", "b"])
    peers.all[0].missed(10.0)
    peers.all[1].in_flight = 5
    assert {peers.choose(10.0).path for _ in range(2)} == {"b"}
    assert peers.choose(10.0 + AWAY_SECONDS).path == "a"


def test_with_all_away_one_is_tried_all_the_same() -> None:
    peers = Peers(["a", "b"])
    for peer in peers.all:
        peer.missed(10.0)
    assert {peers.choose(10.0).path for _ in range(2)} == {"a", "b"}


def test_one_that_did_not_take_the_call_is_not_asked_again() -> None:
    peers = Peers(["a", "b"])
    peers.all[1].missed(10.0)
    assert peers.choose(10.0, {peers.all[0]}).path == "b"


Start = Callable[..., contextlib.AbstractAsyncContextManager[None]]


@pytest.fixture
def echoes(echo: Any) -> list[Any]:
    return [type(echo)(), type(echo)()]


@pytest.fixture
def start(echoes: list[Any], echo_registration: Any, tmp_path: Path) -> Start:
    """Serves one of two echoes, each at its own socket; one that is not well says so."""

    @contextlib.asynccontextmanager
    async def start(number: int, *, well: bool = True) -> AsyncIterator[None]:
        async def check() -> None:
            if not well:
                raise DependencyDown("ERROR_REASON_STAGE_DOWN", "it is still loading")

        settings = ServiceSettings(
            address=f"unix:{tmp_path}/g{number}.sock",
            grace_seconds=0,
        )
        async with build(settings, [(echo_registration[0], echoes[number])], [Dependency("bundles", check)]) as server:
            await server.health.refresh()
            yield

    return start


def address(folder: Path) -> str:
    return ",".join(f"h2+unix:{folder}/g{number}.sock" for number in range(2))


@pytest.fixture
async def stub(stub_of: Any, tmp_path: Path) -> AsyncIterator[Any]:
    async with connect(address(tmp_path)) as channel:
        yield stub_of(channel)


@pytest.fixture
async def safe_stub(stub_of: Any, tmp_path: Path) -> AsyncIterator[Any]:
    async with connect(address(tmp_path), safe_to_retry=[UNARY]) as channel:
        yield stub_of(channel)


async def test_calls_are_shared_out(start: Start, stub: Any, echoes: list[Any]) -> None:
    async with start(0), start(1):
        await asyncio.gather(*(stub.Unary(A, timeout=5) for _ in range(20)))
    assert [echo.calls for echo in echoes] == [10, 10]


async def test_no_call_fails_while_one_is_away_whatever_the_method(start: Start, stub: Any, echoes: list[Any]) -> None:
    async with start(1):
        for _ in range(10):
            assert (await stub.Unary(A, timeout=5)).value == "a"
    assert [echo.calls for echo in echoes] == [0, 10]


async def test_one_that_comes_back_is_called_again(start: Start, stub: Any, echoes: list[Any]) -> None:
    async with start(1):
        await stub.Unary(A, timeout=5)
        await stub.Unary(A, timeout=5)
        async with start(0), asyncio.timeout(10):
            while not echoes[0].calls:
                await stub.Unary(A, timeout=5)
    assert echoes[0].calls == 1


async def test_one_that_is_not_well_yet_is_not_called(start: Start, stub: Any, echoes: list[Any]) -> None:
    async with start(0, well=False), start(1):
        await asyncio.gather(*(stub.Unary(A, timeout=5) for _ in range(20)))
    assert [echo.calls for echo in echoes] == [0, 20]


async def test_where_none_is_well_one_is_called_all_the_same(start: Start, stub: Any) -> None:
    async with start(0, well=False), start(1, well=False):
        assert (await stub.Unary(A, timeout=5)).value == "a"


async def lost_in_flight(start: Start, stub: Any, echoes: list[Any]) -> "asyncio.Task[Any]":
    """A call that the second echo was working on when it ended."""
    echoes[1].behave = echoes[1].forever

    async def call() -> Any:
        return await stub.Unary(A, timeout=5)

    async with start(1):
        while True:
            pending, entered = asyncio.create_task(call()), asyncio.create_task(echoes[1].entered.wait())
            await asyncio.wait([pending, entered], return_when=asyncio.FIRST_COMPLETED)
            if entered.done():
                return pending
            entered.cancel()


async def test_a_call_in_flight_is_asked_again_where_that_is_safe(
    start: Start, safe_stub: Any, echoes: list[Any]
) -> None:
    async with start(0):
        pending = await lost_in_flight(start, safe_stub, echoes)
        assert (await pending).value == "a"


async def test_a_call_in_flight_that_is_not_safe_fails_as_unavailable(
    start: Start, stub: Any, echoes: list[Any]
) -> None:
    async with start(0):
        pending = await lost_in_flight(start, stub, echoes)
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await pending
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_with_none_there_the_call_fails_as_unavailable(safe_stub: Any) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await safe_stub.Unary(A, timeout=5)
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_one_that_does_not_answer_in_time_is_passed_by(
    start: Start, stub: Any, echoes: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("predmesh_rpc.peers.AWAY_SECONDS", 60.0)
    echoes[1].behave = echoes[1].forever
    codes = []
    async with start(0), start(1):
        while echoes[1].calls == 0:
            codes.append(await stub.Unary(A, timeout=0.5).code())
        for _ in range(4):
            assert (await stub.Unary(A, timeout=5)).value == "a"
    assert codes[-1] is grpc.StatusCode.DEADLINE_EXCEEDED
    assert echoes[1].calls == 1
