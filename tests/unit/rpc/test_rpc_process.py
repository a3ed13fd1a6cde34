"""A service as a process: how it starts, says what is wrong, traces, and ends at a signal."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from predmesh_rpc.channels import connect
from predmesh_rpc.settings import ServiceSettings
from predmesh_rpc.translate import translate

SERVICE = """
import asyncio, logging, os
import grpc
from google.protobuf.wrappers_pb2 import StringValue
from predmesh_rpc.channels import connect
from predmesh_rpc.server import build, launch, run
from predmesh_rpc.settings import ServiceSettings

class Echo:
    async def Unary(self, request, context):
        logging.getLogger("echo").warning("begun")
        if request.value == "bug":
            raise RuntimeError("redis://user:hunter2@host is broken")
        if request.value == "slow":
            await asyncio.sleep(0.5)
        if request.value == "onward":
            async with connect(os.environ["ONWARD"], traced=True) as channel:
                coding = (StringValue.SerializeToString, StringValue.FromString)
                await channel.unary_unary("/predmesh.test.v1.EchoService/Unary", *coding)(StringValue(value="x"))
        return request

def add(servicer, server):
    handlers = {"Unary": grpc.unary_unary_rpc_method_handler(
        servicer.Unary, StringValue.FromString, StringValue.SerializeToString)}
    server.add_registered_method_handlers("predmesh.test.v1.EchoService", handlers)

async def main(settings: ServiceSettings) -> None:
    async with build(settings, [(add, Echo())]) as server:
        await run(server, settings.grace_seconds)

launch(main, ServiceSettings, prefix="ECHO_")
"""
TRACE = "0af7651916cd43dd8448eb211c80319c"


class Process:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def line(self, message: str) -> dict[str, Any]:
        """The first log line of that message."""
        assert self.process.stderr is not None
        async with asyncio.timeout(20):
            async for raw in self.process.stderr:
                line: dict[str, Any] = json.loads(raw)
                if line["message"] == message:
                    return line
        raise AssertionError(f"ended without the line {message!r}")


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Any]:
    started: list[asyncio.subprocess.Process] = []
    script = tmp_path / "service.py"
    script.write_text(SERVICE)

    async def start(**environ: str) -> Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(script),
            env={"ECHO_ADDRESS": f"unix:{tmp_path}/echo.sock", **environ},
            stderr=asyncio.subprocess.PIPE,
        )
        started.append(process)
        return Process(process)

    yield start
    for process in started:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def unary(channel: Any) -> Any:
    coding = (StringValue.SerializeToString, StringValue.FromString)
    return channel.unary_unary("/predmesh.test.v1.EchoService/Unary", *coding)


async def test_sigterm_during_a_call_lets_it_end_and_the_process_end_well(start: Any, tmp_path: Path) -> None:
    echo = await start()
    await echo.line("listening")
    async with connect(f"unix:{tmp_path}/echo.sock") as channel:
        call = unary(channel)(StringValue(value="slow"))
        await echo.line("begun")
        echo.process.send_signal(signal.SIGTERM)
        assert (await call).value == "slow"
    assert await asyncio.wait_for(echo.process.wait(), 10) == 0
    assert not (tmp_path / "echo.sock").exists()


async def test_a_bad_variable_ends_the_start_in_words(start: Any) -> None:
    echo = await start(ECHO_GRACE_SECONDS="soon")
    _, errors = await echo.process.communicate()
    assert echo.process.returncode == 2
    assert b"ECHO_GRACE_SECONDS" in errors
    assert b"Traceback" not in errors


async def test_the_log_has_what_the_caller_is_not_told(start: Any, tmp_path: Path) -> None:
    echo = await start()
    async with connect(f"unix:{tmp_path}/echo.sock") as channel:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await unary(channel)(StringValue(value="bug"), wait_for_ready=True, timeout=20)
    line = await echo.line("a call failed unexpectedly")
    assert line["request_id"] == translate(raised.value, "echo").metadata["requestId"]
    assert "RuntimeError" in line["exception"]
    assert "hunter2" not in json.dumps(line)


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    def __init__(self) -> None:
        self.spans: list[Any] = []

    async def Export(self, request: Any, context: Any) -> trace_service_pb2.ExportTraceServiceResponse:
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                self.spans += scope.spans
        return trace_service_pb2.ExportTraceServiceResponse()


@pytest.mark.parametrize("way", ["unix:{}/echo.sock", "h2+unix:{}/echo.sock"], ids=["grpcio", "lean"])
async def test_spans_go_to_the_endpoint_and_their_trace_to_the_log(start: Any, tmp_path: Path, way: str) -> None:
    address = way.format(tmp_path)
    collector, server = Collector(), grpc.aio.server()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        endpoint = f"http://127.0.0.1:{port}"
        echo = await start(ECHO_OTLP_ENDPOINT=endpoint, ONWARD=address)
        await echo.line("listening")
        parent = (("traceparent", f"00-{TRACE}-b7ad6b7169203331-01"),)
        async with connect(address) as channel:
            await unary(channel)(StringValue(value="onward"), timeout=20, metadata=parent)
        assert (await echo.line("begun"))["trace_id"] == TRACE
        echo.process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(echo.process.wait(), 10) == 0
    finally:
        await server.stop(0)
    assert [span.trace_id.hex() for span in collector.spans] == [TRACE] * 3
    children = {span.parent_span_id: span for span in collector.spans}
    outer = children[bytes.fromhex("b7ad6b7169203331")]
    client = children[outer.span_id]
    assert (client.kind, children[client.span_id].kind) == (Span.SPAN_KIND_CLIENT, Span.SPAN_KIND_SERVER)


def test_settings_of_a_service_know_its_name() -> None:
    assert ServiceSettings(service="echo").address.endswith("/run/echo.sock")
