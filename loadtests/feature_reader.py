"""Compares our feature reader with Feast's own on one Redis: `python -m loadtests.feature_reader`.

Both read 32 features of 4 views: in one process each, ours on the mesh's loop and neither with its garbage collector
walking what stays; and as servers on one machine, ours as the mesh calls it, theirs over HTTP and JSON. Calls are
interleaved, so that a busy machine slows both; times are medians, and the ratio is what holds on another machine. CPU
is that of the process that reads, the servers' without their callers'. Rows are those of flights, where many share an
origin or a carrier, or all distinct.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import httpx
import psutil
import uvloop
from predmesh.features.v1 import feature_service_pb2 as pb
from predmesh.features.v1.feature_service_pb2_grpc import FeatureServiceStub
from predmesh_bundle.deploying import deploy
from predmesh_bundle.read_plan import ReadPlan
from predmesh_bundle.store import Store
from predmesh_features.feast_redis import FeastRedis
from predmesh_features.looking_up import FeatureReader
from predmesh_features.redis_address import parse_redis_url
from predmesh_frame.columns import Column, DataType
from predmesh_frame.frames import Frame
from predmesh_frame.wire import frame_to_proto
from predmesh_rpc.channels import connect
from predmesh_rpc.service import settle
from predmesh_testing.feast import Feast, running_feast
from predmesh_testing.feast_server import serving_feast
from predmesh_testing.redis import RedisServer, running_redis

if TYPE_CHECKING:
    from predmesh.features.v1.feature_service_pb2_grpc import FeatureServiceAsyncStub

SIZES = (1, 32, 256)
ENTITIES = 500
FLIGHTS = {"origin": 3, "carrier": 16, "dest": 100}
"""How many there are of what flights share."""
SERVICE = "all"
SETTINGS = """\
project: benchmark
provider: local
registry: registry.db
online_store: {type: redis, connection_string: unused}
offline_store: {type: duckdb}
entity_key_serialization_version: 3
"""
DEFINITIONS = """\
from feast import Entity, FeatureService, FeatureView, Field, FileSource, ValueType
from feast.types import Float32, Float64, Int64, String

source = FileSource(name="nothing", path="nothing.parquet", timestamp_field="event_timestamp")
origin = Entity(name="origin", value_type=ValueType.STRING)
carrier = Entity(name="carrier", value_type=ValueType.STRING)
dest = Entity(name="dest", value_type=ValueType.STRING)
tailnum = Entity(name="tailnum", value_type=ValueType.STRING)


def view(name, entities, types):
    fields = [Field(name=f"{name}_{index}", dtype=dtype) for index, dtype in enumerate(types)]
    return FeatureView(name=name, entities=entities, source=source, schema=fields)


weather = view("weather", [origin], [Float32] * 12)
carriers = view("carriers", [carrier], [Float64] * 6 + [Int64] * 2)
routes = view("routes", [origin, dest], [Float32] * 6 + [Int64] * 2)
planes = view("planes", [tailnum], [Int64] * 2 + [String] * 2)
service = FeatureService(name="all", features=[weather, carriers, routes, planes])
"""
BUNDLE = """\
name: reader
version: "1"
owner: loadtests
description: Reads features; nothing is predicted.
inputs:
  - {name: origin, type: string, entity_key: true, example: origin-1}
  - {name: carrier, type: string, entity_key: true, example: carrier-1}
  - {name: dest, type: string, entity_key: true, example: dest-1}
  - {name: tailnum, type: string, entity_key: true, example: tailnum-1}
features: {repo: repo, service: all}
inference:
  framework: onnx
  file: model.onnx
  inputs: [{name: x, datatype: FP32, shape: [1], feature_names: [weather_0]}]
  outputs: [{name: y, datatype: FP32, shape: [1]}]
outputs:
  - {name: y, type: double, tensor: y, index: 0}
"""

Entities = dict[str, list[str]]
Cost = tuple[float, float]
"""Seconds that passed, and seconds of CPU."""


@dataclass(slots=True)
class Costs:
    """What the calls of one side took."""

    passed: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def add(self, cost: Cost) -> None:
        """Note one call."""
        self.passed.append(cost[0])
        self.cpu.append(cost[1])

    @property
    def spread(self) -> str:
        """Median and, in brackets, the tenth and the ninetieth percentile, in milliseconds."""
        tenths = statistics.quantiles(self.passed, n=10)
        return f"{statistics.median(self.passed) * 1e3:.2f} ({tenths[0] * 1e3:.2f} to {tenths[-1] * 1e3:.2f})"


Call = Callable[[Entities], Awaitable[Cost]]


def main() -> None:
    """Prints a line a way of reading, kind of rows and number of rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=60, help="reads of each kind and size; %(default)s")
    parser.add_argument("--no-servers", action="store_true", help="in process alone")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, running_redis() as redis:
        repo = Path(folder) / "bundle/repo"
        repo.mkdir(parents=True)
        (repo / "feature_store.yaml").write_text(SETTINGS)
        (repo / "definitions.py").write_text(DEFINITIONS)
        with running_feast(repo, f"127.0.0.1:{redis.port}") as feast:
            plan = ReadPlan.from_json(feast.plan(SERVICE))
            fill(feast, plan)
            settle()
            uvloop.run(in_process(feast, plan, redis.unix_url, asked.rounds))
        if not asked.no_servers:
            asyncio.run(as_servers(Path(folder), repo, redis, asked.rounds))


def entities_of(rows: Sequence[int], shared: Mapping[str, int]) -> Entities:
    """Join keys of *rows*; *shared* says how many there are of those that rows share."""
    names = ("origin", "carrier", "dest", "tailnum")
    return {name: [f"{name}-{row % shared.get(name, ENTITIES)}" for row in rows] for name in names}


def fill(feast: Feast, plan: ReadPlan) -> None:
    """Writes a row of every view for every entity of both kinds of rows, by Feast."""
    now = datetime.now(UTC)
    for view in plan.views:
        rows = []
        for shared in (FLIGHTS, {}):
            entities = entities_of(range(ENTITIES), shared)
            for row in range(ENTITIES):
                values = {feature.name: value_of(feature.type, row) for feature in view.features}
                rows.append(({key.name: entities[key.name][row] for key in view.join_keys}, values, now))
        feast.write(view.name, rows)


def value_of(type: str, entity: int) -> Any:
    """Some value of a type."""
    return {"string": f"maker {entity}", "int64": entity * 1000}.get(type, entity / 7)


async def in_process(feast: Feast, plan: ReadPlan, url: str, rounds: int) -> None:
    """Compares the two as libraries; Feast gives its message (`.proto`), ours columns with statuses and ages."""
    reader, address = FeatureReader(plan), parse_redis_url(url)
    async with FeastRedis.connect(address, address) as store:

        async def ours(entities: Entities) -> Cost:
            frame = frame_of(entities)
            start, cpu = time.perf_counter(), time.process_time()
            await reader.lookup(frame, store, now=datetime.now(UTC))
            return time.perf_counter() - start, time.process_time() - cpu

        async def theirs(entities: Entities) -> Cost:
            (cost,) = feast.read_costs(SERVICE, entities, 1)
            return cost

        await compare("in process", theirs, ours, rounds)


async def as_servers(folder: Path, repo: Path, redis: RedisServer, rounds: int) -> None:
    """Compares the two as servers on loopback, each called as it is meant to be."""
    with serving_feast(repo, f"127.0.0.1:{redis.port}") as (url, their_process):
        async with features_process(folder, redis) as (stub, bundle_id, our_process), httpx.AsyncClient() as client:

            async def ours(entities: Entities) -> Cost:
                asked = pb.LookupFeaturesRequest(bundle_id=bundle_id, entity_keys=frame_to_proto(frame_of(entities)))
                before, start = cpu_seconds(our_process), time.perf_counter()
                await stub.LookupFeatures(asked)
                return time.perf_counter() - start, cpu_seconds(our_process) - before

            async def theirs(entities: Entities) -> Cost:
                asked = {"feature_service": SERVICE, "entities": entities}
                before, start = cpu_seconds(their_process), time.perf_counter()
                (await client.post(f"{url}/get-online-features", json=asked)).raise_for_status()
                return time.perf_counter() - start, cpu_seconds(their_process) - before

            await compare("as servers", theirs, ours, rounds)


async def compare(way: str, theirs: Call, ours: Call, rounds: int) -> None:
    """Reads the same rows by turns, and prints what each took."""
    print(f"\n{way:<12}{'rows':>5}  {'Feast ms':>26} {'ours ms':>26} {'ratio':>7} {'of CPU':>7}")
    for kind, shared in (("flights", FLIGHTS), ("distinct", {})):
        for size in SIZES:
            entities = entities_of([row * 7 % ENTITIES for row in range(size)], shared)
            for call in (theirs, ours):  # The first of each warms caches.
                await call(entities)
            feast, reader = Costs(), Costs()
            for _ in range(rounds * (4 if size == 1 else 1)):
                feast.add(await theirs(entities))
                reader.add(await ours(entities))
            ratio = statistics.median(feast.passed) / statistics.median(reader.passed)
            # The system counts a server's CPU in hundredths of a second: their sum tells more than their median.
            cpu = sum(feast.cpu) / max(sum(reader.cpu), 1e-9)
            print(f"{kind:<12}{size:>5}  {feast.spread:>26} {reader.spread:>26} {ratio:>6.1f}x {cpu:>6.1f}x")


def frame_of(entities: Entities) -> Frame:
    """The rows of a lookup."""
    return Frame.of({name: Column.of(DataType.STRING, values) for name, values in entities.items()})


def cpu_seconds(process: psutil.Process) -> float:
    """CPU that a server has used, its workers' included."""
    used = [each.cpu_times() for each in (process, *process.children(recursive=True))]
    return float(sum(each.user + each.system for each in used))


@contextlib.asynccontextmanager
async def features_process(
    folder: Path, redis: RedisServer
) -> AsyncIterator[tuple[FeatureServiceAsyncStub, str, psutil.Process]]:
    """The features service, its bundle deployed."""
    bundle = folder / "bundle"
    (bundle / "predmesh.yaml").write_text(BUNDLE)
    (bundle / "model.onnx").write_bytes(b"weights")
    store = Store(folder / "store")
    deploy(store, bundle)
    with started([sys.executable, "-m", "predmesh_features"], folder, redis) as process:
        socket = folder / "run/features.sock"
        async with grpc.aio.insecure_channel(f"unix:{socket}") as grown, connect(f"h2+unix:{socket}") as channel:
            await asyncio.wait_for(grown.channel_ready(), 30)
            yield FeatureServiceStub(channel), store.current().models[0].bundle_id, psutil.Process(process.pid)


@contextlib.contextmanager
def started(command: Sequence[str], home: Path, redis: RedisServer) -> Iterator[subprocess.Popen[bytes]]:
    """A service of the mesh, for the block."""
    environment = os.environ | {
        "PREDMESH_HOME": str(home),
        "PREDMESH_REDIS_URL": redis.unix_url,
    }
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, env=environment, stdout=quiet, stderr=quiet) as process:
        try:
            yield process
        finally:
            process.terminate()
            process.wait(20)


if __name__ == "__main__":
    main()
