"""What only a server on a socket has: addresses, limits of the wire, health, reflection, metrics, drain."""

import asyncio
import os
import signal
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from predmesh_rpc.addresses import AddressError
from predmesh_rpc.channels import connect, service_config
from predmesh_rpc.health import Health
from predmesh_rpc.server import Dependency, build, run
from predmesh_rpc.settings import ServiceSettings
from predmesh_rpc.translate import translate

A = StringValue(value="a")
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.fixture
async def running(settings: ServiceSettings, echo_registration: Any) -> AsyncIterator[Any]:
    async with build(settings, [echo_registration]) as server:
        yield server


@pytest.fixture
async def channel(settings: ServiceSettings, running: Any) -> AsyncIterator[Any]:
    async with connect(settings.address) as channel:
        yield channel


async def ask(channel: Any, name: str) -> int:
    stub = health_pb2_grpc.HealthStub(channel)
    response = await stub.Check(health_pb2.HealthCheckRequest(service=name))
    return int(response.status)


async def wait_for(channel: Any, name: str, status: int) -> None:
    stub = health_pb2_grpc.HealthStub(channel)
    async with asyncio.timeout(10):
        async for response in stub.Watch(health_pb2.HealthCheckRequest(service=name)):
            if response.status == status:
                return


async def watching(channel: Any) -> asyncio.Task[None]:
    """A wait for NOT_SERVING, whose stream the server has taken: one that comes later would be refused."""
    stream = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
    assert (await stream.read()).status == SERVING

    async def gone() -> None:
        while (await stream.read()).status != NOT_SERVING:
            pass

    return asyncio.create_task(gone())


async def failure(awaitable: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await awaitable
    return raised.value


def raw(channel: Any, method: str = "Unary") -> Any:
    return channel.unary_unary(f"/predmesh.test.v1.EchoService/{method}")


@pytest.fixture
def path(settings: ServiceSettings) -> Path:
    return Path(settings.address.removeprefix("unix:"))


async def test_the_socket_is_its_owners_alone_and_gone_after_the_end(
    settings: ServiceSettings, echo_registration: Any, path: Path
) -> None:
    async with build(settings, [echo_registration]):
        assert stat.filemode(path.stat().st_mode) == "srw-------"  # noqa: ASYNC240
    assert not path.exists()  # noqa: ASYNC240


async def test_a_socket_that_a_dead_process_left_is_replaced(
    settings: ServiceSettings, echo_registration: Any, stub_of: Any
) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(settings.address.removeprefix("unix:"))
    async with build(settings, [echo_registration]), connect(settings.address) as channel:
        assert (await stub_of(channel).Unary(A)).value == "a"


async def test_a_socket_of_a_live_process_is_left_alone(
    settings: ServiceSettings, running: Any, echo_registration: Any
) -> None:
    with pytest.raises(AddressError, match="another process listens"):
        async with build(settings, [echo_registration]):
            pass


async def test_a_file_that_is_no_socket_is_left_alone(
    settings: ServiceSettings, echo_registration: Any, path: Path
) -> None:
    path.write_text("mine")  # noqa: ASYNC240
    with pytest.raises(AddressError, match="no socket"):
        async with build(settings, [echo_registration]):
            pass
    assert path.read_text() == "mine"  # noqa: ASYNC240


async def test_a_port_in_use_is_named(echo_registration: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(AddressError, match=address):
            async with build(ServiceSettings(address=address), [echo_registration]):
                pass


@pytest.mark.parametrize("address", ["nonsense", "127.0.0.1:99999", "unix:/" + "x" * 200])
async def test_an_address_that_cannot_be_is_named(address: str, echo_registration: Any) -> None:
    with pytest.raises(AddressError, match=address[5:12]):
        async with build(ServiceSettings(address=address), [echo_registration]):
            pass
    with pytest.raises(AddressError):
        connect(address)


async def test_several_addresses_lead_to_one_server(tmp_path: Path, echo_registration: Any, stub_of: Any) -> None:
    settings = ServiceSettings(address=f"unix:{tmp_path}/a.sock,127.0.0.1:0,unix:{tmp_path}/b.sock")
    async with build(settings, [echo_registration]) as server:
        for address in (f"unix:{tmp_path}/a.sock", f"127.0.0.1:{server.port}", f"unix:{tmp_path}/b.sock"):
            async with connect(address) as channel:
                assert (await stub_of(channel).Unary(A)).value == "a"


async def test_a_message_that_is_too_long_is_told_so(channel: Any) -> None:
    raised = await failure(raw(channel)(StringValue(value="x" * (4 * 1024 * 1024)).SerializeToString()))
    error = translate(raised, "echo")
    assert raised.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error.reason == "ERROR_REASON_TOO_LARGE"
    assert error.metadata["limitBytes"] == str(4 * 1024 * 1024)


async def test_a_message_of_the_longest_size_and_its_answer_pass(channel: Any) -> None:
    message = StringValue(value="x" * (4 * 1024 * 1024 - 10)).SerializeToString()
    assert await raw(channel)(message) == message


async def test_a_message_that_cannot_be_read_is_told_so(channel: Any) -> None:
    assert translate(await failure(raw(channel)(b"\xff\xff")), "echo").reason == "ERROR_REASON_MALFORMED_BODY"


async def test_services_that_come_and_go_are_served_by_look_up(settings: ServiceSettings) -> None:
    class Coming(grpc.GenericRpcHandler):
        live: bool = False

        def service(self, handler_call_details: Any) -> Any:
            return grpc.unary_unary_rpc_method_handler(self.answer) if self.live else None

        async def answer(self, payload: bytes, context: Any) -> bytes:
            return payload * 2

    coming = Coming()
    async with build(settings, [], generic=[coming]), connect(settings.address) as channel:
        assert (await failure(raw(channel)(b"x"))).code() is grpc.StatusCode.UNIMPLEMENTED
        coming.live = True
        assert await raw(channel)(b"x") == b"xx"
        coming.live = False
        assert (await failure(raw(channel)(b"x"))).code() is grpc.StatusCode.UNIMPLEMENTED


async def test_health_tells_of_each_dependency(settings: ServiceSettings, echo_registration: Any) -> None:
    down: set[str] = set()

    def dependency(name: str, required: bool) -> Dependency:
        async def check() -> None:
            if name in down:
                raise ConnectionError("redis://:hunter2@localhost")

        return Dependency(name, check, required)

    health = [dependency("redis", True), dependency("explanation", False)]
    async with build(settings, [echo_registration], health) as server, connect(settings.address) as channel:
        await wait_for(channel, "", SERVING)
        down.update({"redis", "explanation"})
        await server.health.refresh()
        assert await ask(channel, "redis") == NOT_SERVING
        assert await ask(channel, "predmesh.test.v1.EchoService") == NOT_SERVING
        assert server.health.problems() == {"redis": "ConnectionError", "explanation": "ConnectionError"}
        down.remove("redis")
        await server.health.refresh()
        assert await ask(channel, "") == SERVING
        assert await ask(channel, "explanation") == NOT_SERVING


async def test_a_dependency_that_hangs_is_down() -> None:
    async def hang() -> None:
        await asyncio.Event().wait()

    health = Health([], [Dependency("redis", hang)])
    await health.refresh(deadline_seconds=0.01)
    assert not health.serving()
    assert health.problems() == {"redis": "no answer within 0.01 s"}


async def test_health_recovers_without_being_asked(settings: ServiceSettings, echo_registration: Any) -> None:
    attempts = 0

    async def check() -> None:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            raise ConnectionError

    server = build(settings, [echo_registration], [Dependency("redis", check)])
    async with server, connect(settings.address) as channel:
        await wait_for(channel, "redis", SERVING)


async def test_health_knows_nothing_of_other_services(channel: Any) -> None:
    raised = await failure(ask(channel, "other"))
    assert raised.code() is grpc.StatusCode.NOT_FOUND
    assert "predmesh.test.v1.EchoService" in (raised.details() or "")


async def test_reflection_lists_the_services(channel: Any) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    responses = [response async for response in stub.ServerReflectionInfo(iter([request]))]
    names = {service.name for service in responses[0].list_services_response.service}
    assert {"predmesh.test.v1.EchoService", "grpc.health.v1.Health"} <= names


async def test_reflection_finds_the_file_of_a_method(channel: Any) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    request = reflection_pb2.ServerReflectionRequest(file_containing_symbol="grpc.health.v1.Health.Check")
    responses = [response async for response in stub.ServerReflectionInfo(iter([request]))]
    assert responses[0].file_descriptor_response.file_descriptor_proto


async def test_reflection_says_that_it_does_not_know_a_symbol(channel: Any) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    request = reflection_pb2.ServerReflectionRequest(file_containing_symbol="predmesh.none.v1.Nothing.Call")
    responses = [response async for response in stub.ServerReflectionInfo(iter([request]))]
    assert responses[0].error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]


async def scraped(port: int, path: str = "/metrics") -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    text = (await reader.read()).decode()
    writer.close()
    await writer.wait_closed()
    return text


async def test_metrics_count_calls_by_code(tmp_path: Path, echo_registration: Any, stub_of: Any) -> None:
    settings = ServiceSettings(address=f"unix:{tmp_path}/m.sock", metrics_address="127.0.0.1:0")
    async with build(settings, [echo_registration]) as server, connect(settings.address) as channel:
        await stub_of(channel).Unary(A)
        await failure(stub_of(channel).Unary(A, timeout=0.0))
        text = await scraped(server.metrics_port)
        assert 'predmesh_rpc_seconds_count{code="OK",method="Unary",service="predmesh.test.v1.EchoService"}' in text
        assert 'predmesh_rpc_in_flight{method="Unary",service="predmesh.test.v1.EchoService"} 0.0' in text
        assert 'le="0.0004"' in text
        assert (await scraped(server.metrics_port, "/other")).startswith("HTTP/1.1 404")


async def test_metrics_may_be_read_from_a_socket_file(tmp_path: Path, echo_registration: Any) -> None:
    path = tmp_path / "metrics.sock"
    settings = ServiceSettings(address=f"unix:{tmp_path}/m.sock", metrics_address=f"unix:{path}")
    async with build(settings, [echo_registration]):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"GET /metrics HTTP/1.1\r\n\r\n")
        assert b"predmesh_rpc_seconds" in await reader.read()
        writer.close()
        await writer.wait_closed()
    assert not path.exists()


async def test_a_signal_lets_the_call_in_flight_end(
    settings: ServiceSettings, echo: Any, echo_registration: Any, stub_of: Any
) -> None:
    release = asyncio.Event()

    async def behave(text: str) -> str:
        await release.wait()
        return text

    echo.behave = behave
    async with build(settings, [echo_registration]) as server, connect(settings.address) as channel:
        running = asyncio.create_task(run(server, grace_seconds=10))
        watched = await watching(channel)
        call = stub_of(channel).Unary(A)
        await asyncio.wait_for(echo.entered.wait(), 5)
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(watched, 5)
        late = await failure(stub_of(channel).Unary(A))
        release.set()
        assert (await call).value == "a"
        await asyncio.wait_for(running, 5)
    assert late.code() is grpc.StatusCode.UNAVAILABLE


async def test_what_does_not_end_within_the_grace_is_stopped(
    settings: ServiceSettings, echo: Any, echo_registration: Any, stub_of: Any
) -> None:
    echo.behave = echo.forever
    async with build(settings, [echo_registration]) as server, connect(settings.address) as channel:
        call = stub_of(channel).Unary(A, timeout=30)
        await asyncio.wait_for(echo.entered.wait(), 5)
        await server.drain(0.05)
        assert (await failure(call)).code() in (grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE)
        await asyncio.wait_for(echo.stopped.wait(), 5)


async def test_a_second_signal_ends_the_grace(
    settings: ServiceSettings, echo: Any, echo_registration: Any, stub_of: Any
) -> None:
    echo.behave = echo.forever
    async with build(settings, [echo_registration]) as server, connect(settings.address) as channel:
        running = asyncio.create_task(run(server, grace_seconds=60))
        call = stub_of(channel).Unary(A, timeout=30)
        await asyncio.wait_for(echo.entered.wait(), 5)
        watched = await watching(channel)
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.wait_for(watched, 5)
        os.kill(os.getpid(), signal.SIGINT)
        await failure(call)
        await asyncio.wait_for(running, 5)


async def test_a_channel_finds_a_server_that_comes_late(
    settings: ServiceSettings, echo_registration: Any, stub_of: Any
) -> None:
    async with connect(settings.address) as channel:
        down = await failure(stub_of(channel).Unary(A))
        assert translate(down, "echo").reason == "ERROR_REASON_STAGE_DOWN"
        async with build(settings, [echo_registration]):
            assert (await stub_of(channel).Unary(A, wait_for_ready=True, timeout=5)).value == "a"


@pytest.mark.parametrize(("safe", "calls"), [((), 1), (("predmesh.test.v1.EchoService/Unary",), 3)])
async def test_only_what_is_safe_is_retried(
    settings: ServiceSettings, echo: Any, running: Any, stub_of: Any, safe: tuple[str, ...], calls: int
) -> None:
    from predmesh_rpc.errors import DependencyDown

    async def behave(text: str) -> str:
        raise DependencyDown("ERROR_REASON_STORE_DOWN", "no")

    echo.behave = behave
    async with connect(settings.address, safe_to_retry=safe) as channel:
        await failure(stub_of(channel).Unary(A))
    assert echo.calls == calls


def test_a_whole_service_may_be_safe_to_retry() -> None:
    assert '"name": [{"service": "a.B"}, {"service": "a.C", "method": "D"}]' in service_config(["a.B", "a.C/D"])
