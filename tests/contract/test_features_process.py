"""The features process itself: a bundle compiled by Feast, a real Redis, a real socket, signals."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from predmesh.features.v1 import feature_service_pb2 as pb
from predmesh.features.v1.feature_service_pb2_grpc import FeatureServiceStub
from predmesh_bundle.clock import Clock, FixedClock
from predmesh_bundle.deploying import deploy
from predmesh_bundle.feast_compiler import compile_read_plan
from predmesh_bundle.read_plan import ReadPlanError
from predmesh_bundle.store import Store
from predmesh_features.domain import Status
from predmesh_frame.columns import Column, DataType
from predmesh_frame.frames import Frame
from predmesh_frame.wire import frame_from_proto, frame_to_proto
from predmesh_testing.redis import RedisServer, needs_redis, running_redis

pytestmark = needs_redis()
REPO = Path(__file__).parent / "features_repo"
SERVING = health_pb2.HealthCheckResponse.SERVING
TIME = datetime(2013, 6, 1, 12, tzinfo=UTC)
BUNDLE = """\
name: shop
version: "1"
owner: tests
description: Tells who comes again.
inputs:
  - {name: customer_id, type: int64, entity_key: true, example: 1}
  - {name: region, type: string, entity_key: true, example: EWR}
  - {name: day, type: int32, entity_key: day_number, example: 1}
  - {name: amount, type: double, example: 2.5}
  - {name: factor, type: int64, example: 3}
features:
  repo: features_repo
  service: computed
  defaults: {wind: 1.5}
inference:
  framework: onnx
  file: model.onnx
  inputs: [{name: x, datatype: FP64, shape: [3], feature_names: [half_visits, wind, amount]}]
  outputs: [{name: y, datatype: FP32, shape: [1]}]
outputs:
  - {name: again, type: double, tensor: y, index: 0}
"""


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A home with one bundle deployed; compiling it takes Feast some seconds."""
    with tempfile.TemporaryDirectory(prefix="predmesh-features-") as folder:
        bundle = Path(folder) / "bundle"
        shutil.copytree(REPO, bundle / "features_repo", ignore=shutil.ignore_patterns("__pycache__"))
        (bundle / "predmesh.yaml").write_text(BUNDLE)
        (bundle / "model.onnx").write_bytes(b"weights")
        deploy(Store(Path(folder) / "store"), bundle)
        yield Path(folder)


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with running_redis() as server:
        yield server


@contextlib.contextmanager
def features_process(home: Path, redis_url: str) -> Iterator[subprocess.Popen[bytes]]:
    environment = os.environ | {"PREDMESH_HOME": str(home), "PREDMESH_REDIS_URL": redis_url}
    command = [sys.executable, "-m", "predmesh_features"]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, env=environment, stdout=quiet, stderr=quiet) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def process(home: Path, redis: RedisServer) -> Iterator[subprocess.Popen[bytes]]:
    with features_process(home, redis.unix_url) as process:
        yield process


@contextlib.asynccontextmanager
async def channel_to(home: Path) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(f"unix:{home / 'run' / 'features.sock'}") as channel:
        async with asyncio.timeout(20):
            await until_health(channel, "", SERVING)
        yield channel


@pytest.fixture
async def channel(home: Path, process: subprocess.Popen[bytes]) -> AsyncIterator[grpc.aio.Channel]:
    async with channel_to(home) as channel:
        yield channel


async def until_health(channel: grpc.aio.Channel, service: str, status: int) -> None:
    request = health_pb2.HealthCheckRequest(service=service)
    watch = health_pb2_grpc.HealthStub(channel).Watch(request, wait_for_ready=True)
    async for told in watch:
        if told.status == status:
            watch.cancel()
            return


@pytest.fixture
def bundle_id(home: Path) -> str:
    return Store(home / "store").current().models[0].bundle_id


def customers(bundle_id: str, *ids: int) -> pb.PushFeaturesRequest:
    columns = {
        "customer_id": Column.of(DataType.INT64, ids),
        "visits": Column.of(DataType.INT64, [customer * 10 for customer in ids]),
        "segment": Column.of(DataType.STRING, ["gold"] * len(ids)),
        "spent": Column.of(DataType.DOUBLE, [None] * len(ids)),
    }
    return pb.PushFeaturesRequest(bundle_id=bundle_id, feature_view="customers", rows=frame_to_proto(Frame.of(columns)))


def asked(bundle_id: str, customer: int) -> pb.LookupFeaturesRequest:
    columns = {
        "customer_id": Column.of(DataType.INT64, [customer]),
        "region": Column.of(DataType.STRING, ["EWR"]),
        "day_number": Column.of(DataType.INT32, [1]),
        "amount": Column.of(DataType.DOUBLE, [2.5]),
        "factor": Column.of(DataType.INT64, [3]),
    }
    return pb.LookupFeaturesRequest(bundle_id=bundle_id, entity_keys=frame_to_proto(Frame.of(columns)))


def values(answer: pb.LookupFeaturesResponse) -> dict[str, Any]:
    return {name: column.to_list()[0] for name, column in frame_from_proto(answer.features).columns.items()}


async def test_a_deployed_bundle_is_served_by_the_meshs_clock(
    channel: grpc.aio.Channel, home: Path, bundle_id: str
) -> None:
    stub, store = FeatureServiceStub(channel), Store(home / "store")
    store.set_clock(FixedClock(TIME))
    try:
        assert (await stub.PushFeatures(customers(bundle_id, 1, 2))).rows_written == 2
        answer = await stub.LookupFeatures(asked(bundle_id, 2))
        assert values(answer) == {
            "segment": "gold",
            "half_visits": 10.0,
            "big_spender": None,
            "weighted": 62,
            "wind": 1.5,
        }
        assert answer.clock_time.ToDatetime(UTC) == TIME
        store.set_clock(FixedClock(TIME.replace(day=3)))
        later = await stub.LookupFeatures(asked(bundle_id, 2))
        segment = list(frame_from_proto(later.features).columns).index("segment")
        assert later.statuses[segment] == Status.OUTSIDE_MAX_AGE
    finally:
        store.set_clock(Clock())


async def test_health_tells_of_redis_and_mends(channel: grpc.aio.Channel, redis: RedisServer, bundle_id: str) -> None:
    redis.stop()
    async with asyncio.timeout(20):
        await until_health(channel, "redis", health_pb2.HealthCheckResponse.NOT_SERVING)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await FeatureServiceStub(channel).LookupFeatures(asked(bundle_id, 1))
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
        assert str(redis.socket) not in (caught.value.debug_error_string() or "") + (caught.value.details() or "")
        redis.start()
        await until_health(channel, "redis", SERVING)
    assert values(await FeatureServiceStub(channel).LookupFeatures(asked(bundle_id, 1)))["segment"] is None


class Gate:
    """Stands before a Redis, and keeps what is read back until it opens."""

    def __init__(self, redis: RedisServer) -> None:
        self._redis = redis
        self.asked = asyncio.Event()
        self.open = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back_reader, back_writer = await asyncio.open_unix_connection(str(self._redis.socket))
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._relay(reader, back_writer))
                group.create_task(self._relay(back_reader, writer))
        except* ConnectionError:
            pass
        finally:
            writer.close()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            if b"HMGET" in data:
                self.asked.set()
                await self.open.wait()
            writer.write(data)
        writer.close()


async def test_a_lookup_in_flight_ends_well_when_the_process_is_asked_to_end(
    home: Path, redis: RedisServer, bundle_id: str
) -> None:
    gate = Gate(redis)
    async with await asyncio.start_unix_server(gate.serve, home / "gate.sock"):
        with features_process(home, f"unix://{home / 'gate.sock'}") as process:
            async with channel_to(home) as channel, asyncio.timeout(20):
                lookup = asyncio.ensure_future(
                    FeatureServiceStub(channel).LookupFeatures(asked(bundle_id, 1), timeout=10)
                )
                watching = asyncio.create_task(until_health(channel, "", health_pb2.HealthCheckResponse.NOT_SERVING))
                await gate.asked.wait()
                process.send_signal(signal.SIGTERM)
                await watching
                gate.open.set()
                assert values(await lookup)["wind"] == 1.5
                assert await asyncio.to_thread(process.wait, 10) == 0


def test_definitions_that_do_not_load_are_told_and_not_raised(tmp_path: Path) -> None:
    (tmp_path / "feature_store.yaml").write_text((REPO / "feature_store.yaml").read_text())
    (tmp_path / "definitions.py").write_text("raise RuntimeError('half written')")
    with pytest.raises(ReadPlanError, match="RuntimeError: half written"):
        compile_read_plan(tmp_path, "any", {})


def test_definitions_that_never_end_are_given_up(tmp_path: Path) -> None:
    with pytest.raises(ReadPlanError, match=r"longer than 0\.01 s"):
        compile_read_plan(tmp_path, "any", timeout_seconds=0.01)
