"""A unary gRPC call is answered alike directly and through the gateway."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import struct_pb2
from google.rpc import status_pb2
from predmesh.prediction.v1 import prediction_service_pb2 as pb
from predmesh.prediction.v1.prediction_service_pb2_grpc import PredictionServiceStub
from predmesh_gateway import admin
from predmesh_testing.envoy import Gateway, running_echo, running_gateway, settings_over
from predmesh_testing.waiting import until

MIB = 1024 * 1024
SERVICE = "/predmesh.prediction.v1.PredictionService"
OIP = "/inference.GRPCInferenceService"
OF_THE_GATEWAY = {"date", "x-request-id"}
"""Metadata that the gateway adds to every answer."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("both")


@pytest.fixture(scope="module")
def gateway(folder: Path) -> Iterator[Gateway]:
    metrics = f"unix:{folder / 'metrics.sock'}"
    settings = settings_over(folder / "p.sock", request_timeout_seconds=5.0, keep_client_request_ids=True)
    with running_echo(folder / "p.sock", ECHO_METRICS_ADDRESS=metrics), running_gateway(settings, folder) as found:
        yield found


@pytest.fixture(scope="module")
def channels(gateway: Gateway, folder: Path) -> Iterator[tuple[grpc.Channel, grpc.Channel]]:
    """Straight to the process, and through the gateway."""
    with ExitStack() as stack:
        direct = stack.enter_context(grpc.insecure_channel(f"unix:{folder / 'p.sock'}"))
        yield direct, stack.enter_context(grpc.insecure_channel(gateway.address))


@dataclass(frozen=True)
class Outcome:
    """All that a caller can see of a call."""

    code: grpc.StatusCode
    details: str
    status: status_pb2.Status | None
    answer: bytes
    initial: frozenset[str]
    trailing: tuple[tuple[str, str | bytes], ...]


def outcome(channel: grpc.Channel, method: str, request: bytes, **how: Any) -> Outcome:
    ask: Any = channel.unary_unary(method)
    metadata = [("x-request-id", "the-same"), *how.pop("metadata", ())]
    try:
        answer, call = ask.with_call(request, timeout=10, metadata=metadata, **how)
    except grpc.RpcError as error:
        return seen(error, b"")
    return seen(call, answer)


def seen(call: Any, answer: bytes) -> Outcome:
    trailing = {key: value for key, value in call.trailing_metadata() if key not in OF_THE_GATEWAY}
    packed = trailing.get("grpc-status-details-bin")
    return Outcome(
        call.code(),
        call.details() or "",
        status_pb2.Status.FromString(packed) if packed else None,
        answer,
        frozenset(key for key, _ in call.initial_metadata()) - OF_THE_GATEWAY,
        tuple(sorted(trailing.items())),
    )


def get(model: str) -> bytes:
    return pb.GetModelRequest(model=model).SerializeToString()


def predict(size: int) -> bytes:
    row = struct_pb2.Struct()
    row.update({"text": "x" * size})
    return pb.PredictRequest(model="m", instances=[row]).SerializeToString()


CASES = [
    pytest.param(f"{SERVICE}/ListModels", b"", {}, id="an answer"),
    pytest.param(f"{SERVICE}/Predict", b"", {}, id="an empty answer"),
    pytest.param(f"{SERVICE}/Predict", predict(3 * MIB), {}, id="a large answer"),
    pytest.param(f"{SERVICE}/Predict", predict(9 * MIB), {}, id="too large"),
    pytest.param(f"{SERVICE}/Predict", predict(1000), {"compression": grpc.Compression.Gzip}, id="gzip"),
    pytest.param(f"{SERVICE}/Predict", predict(1000), {"compression": grpc.Compression.Deflate}, id="deflate"),
    pytest.param(f"{SERVICE}/Predict", b"\xff\xff", {}, id="no protobuf"),
    pytest.param(f"{SERVICE}/GetModel", get("missing"), {}, id="an error"),
    pytest.param(f"{SERVICE}/GetModel", get("missing-café 100% 日本\n\tx "), {}, id="an error in many letters"),
    pytest.param(f"{SERVICE}/GetModel", get("missing-" + "é" * 5000), {}, id="a long error"),
    pytest.param(f"{SERVICE}/GetModel", get("bad"), {}, id="violations"),
    *(pytest.param(f"{SERVICE}/GetModel", get(f"code-{code}"), {}, id=f"code {code}") for code in range(1, 17)),
    pytest.param(f"{SERVICE}/Nothing", b"", {}, id="no method"),
    pytest.param("/no.Service/Nothing", b"", {}, id="no service"),
    pytest.param("/predmesh.no.v1.Service/Nothing", b"", {}, id="no service of ours"),
    pytest.param(f"{OIP}/ServerLive", b"", {}, id="open inference"),
    pytest.param(f"{OIP}/ServerReady", b"", {}, id="an unexpected error"),
    pytest.param("/grpc.health.v1.Health/Check", b"", {}, id="health"),
    pytest.param("/grpc.health.v1.Health/Check", b"\n\1x", {}, id="health of nothing"),
]


@pytest.mark.parametrize(("method", "request_", "how"), CASES)
def test_both_ways_answer_alike(channels: Any, method: str, request_: bytes, how: dict[str, Any]):
    direct, through = (outcome(channel, method, request_, **how) for channel in channels)
    assert through == direct


def test_both_ways_hear_the_same_metadata(channels: Any):
    metadata = [("k-bin", b"\0\1\xff"), ("k-bin", b""), ("a", "1"), ("a", "b%20 c"), ("traceparent", "00-1-2-01")]
    heard = []
    for channel in channels:
        answer = outcome(channel, f"{SERVICE}/GetModel", get("m"), metadata=metadata).answer
        told = json.loads(pb.GetModelResponse.FromString(answer).model.description)["metadata"]
        heard.append({key: value for key, value in told.items() if not key.startswith(("x-forwarded-", "x-envoy-"))})
    assert heard[0] == heard[1]
    assert {"k-bin", "a", "traceparent", "user-agent"} <= heard[0].keys()


@pytest.mark.parametrize("way", [0, 1], ids=["direct", "gateway"])
def test_the_time_of_the_caller_is_kept(channels: Any, way: int):
    stub = PredictionServiceStub(channels[way])
    seconds = json.loads(stub.GetModel(pb.GetModelRequest(model="m"), timeout=1.5).model.description)["seconds"]
    assert 1.0 < seconds <= 1.6
    with pytest.raises(grpc.RpcError) as caught:
        stub.GetModel(pb.GetModelRequest(model="slow"), timeout=0.2)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


def in_flight(gateway: Gateway) -> int:
    """Calls of GetModel that prediction is at."""
    page = admin.get(f"unix:{Path(gateway.settings.admin_address[5:]).parent / 'metrics.sock'}", "/metrics")
    (line,) = [line for line in page.splitlines() if "in_flight{" in line and '"GetModel"' in line]
    return int(float(line.split()[-1]))


async def test_a_call_that_is_cancelled_stops_the_work(gateway: Gateway):
    async with grpc.aio.insecure_channel(gateway.address) as channel:
        call = PredictionServiceStub(channel).GetModel(pb.GetModelRequest(model="slow"))
        await until(lambda: in_flight(gateway) == 1)
        call.cancel()
        await until(lambda: in_flight(gateway) == 0)


async def test_a_burst_is_answered_to_the_last_call(gateway: Gateway):
    async with grpc.aio.insecure_channel(gateway.address) as channel:
        ask = PredictionServiceStub(channel).Predict
        answers = await asyncio.gather(*(ask(pb.PredictRequest(model=str(number))) for number in range(900)))
    assert [answer.model for answer in answers] == [str(number) for number in range(900)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_a_process_that_ends_among_several_fails_no_call(tmp_path: Path, number: signal.Signals):
    sockets = [tmp_path / "a.sock", tmp_path / "b.sock"]
    settings = settings_over(*sockets, health_interval_seconds=0.1)
    answered = 0
    with (
        running_echo(sockets[0], ECHO_GRACE_SECONDS="5") as first,
        running_echo(sockets[1]),
        running_gateway(settings, tmp_path) as gateway,
    ):
        async with grpc.aio.insecure_channel(gateway.address) as channel:
            ask = PredictionServiceStub(channel).Predict

            async def calls() -> None:
                nonlocal answered
                while answered < 1500:
                    await ask(pb.PredictRequest(model="m"), timeout=10)
                    answered += 1
                    if answered == 300:
                        first.send_signal(number)

            await asyncio.gather(*(calls() for _ in range(32)))
        assert first.wait(10) in (0, -signal.SIGKILL)


async def test_a_process_that_dies_under_a_call_is_unavailable(tmp_path: Path):
    settings = settings_over(tmp_path / "p.sock", retries=0)
    with running_echo(tmp_path / "p.sock"), running_gateway(settings, tmp_path) as gateway:
        async with grpc.aio.insecure_channel(gateway.address) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await PredictionServiceStub(channel).GetModel(pb.GetModelRequest(model="die"), timeout=10)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert "ended while it answered" in (caught.value.details() or "")
