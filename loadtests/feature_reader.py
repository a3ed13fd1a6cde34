"""Compares our feature reader with Feast's own on one Redis: `python -m loadtests.feature_reader`.

Both read 32 features of 4 views; the runs are interleaved, so that a busy machine slows both. Feast gives its message
(`.proto`), ours gives columns with statuses and ages. Times are medians; the ratio is what holds on another machine.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from predmesh_bundle.read_plan import ReadPlan
from predmesh_features.feast_redis import FeastRedis
from predmesh_features.looking_up import FeatureReader
from predmesh_features.redis_address import parse_redis_url
from predmesh_frame.columns import Column, DataType
from predmesh_frame.frames import Frame
from predmesh_testing.feast import Feast, running_feast
from predmesh_testing.redis import running_redis

SIZES = (1, 32, 256)
ENTITIES = 500
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
tailnum = Entity(name="tailnum", value_type=ValueType.STRING)


def view(name, entities, types):
    fields = [Field(name=f"{name}_{index}", dtype=dtype) for index, dtype in enumerate(types)]
    return FeatureView(name=name, entities=entities, source=source, schema=fields)


weather = view("weather", [origin], [Float32] * 12)
carriers = view("carriers", [carrier], [Float64] * 6 + [Int64] * 2)
routes = view("routes", [origin, carrier], [Float32] * 6 + [Int64] * 2)
planes = view("planes", [tailnum], [Int64] * 2 + [String] * 2)
service = FeatureService(name="all", features=[weather, carriers, routes, planes])
"""


def main() -> None:
    """Prints one line a number of rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=60, help="reads of each kind and size; %(default)s")
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder, running_redis() as redis:
        (Path(folder) / "feature_store.yaml").write_text(SETTINGS)
        (Path(folder) / "definitions.py").write_text(DEFINITIONS)
        with running_feast(Path(folder), f"127.0.0.1:{redis.port}") as feast:
            plan = ReadPlan.from_json(feast.plan("all"))
            fill(feast, plan)
            asyncio.run(compare(feast, plan, redis.unix_url, rounds))


def fill(feast: Feast, plan: ReadPlan) -> None:
    """Writes a row of every view for every entity, by Feast."""
    now = datetime.now(UTC)
    for view in plan.views:
        rows = []
        for entity in range(ENTITIES):
            values = {feature.name: value_of(feature.type, entity) for feature in view.features}
            rows.append(({key.name: f"{key.name}-{entity}" for key in view.join_keys}, values, now))
        feast.write(view.name, rows)


def value_of(type: str, entity: int) -> Any:
    """Some value of a type."""
    return {"string": f"maker {entity}", "int64": entity * 1000}.get(type, entity / 7)


async def compare(feast: Feast, plan: ReadPlan, url: str, rounds: int) -> None:
    """Reads the same rows by turns, and prints what each took."""
    reader, address = FeatureReader(plan), parse_redis_url(url)
    print(f"{'rows':>5} {'Feast ms':>9} {'ours ms':>9} {'ratio':>7}")
    async with FeastRedis.connect(address, address) as store:
        for rows in SIZES:
            entities = {
                key.column: [f"{key.name}-{row * 7 % ENTITIES}" for row in range(rows)] for key in plan.join_keys
            }
            theirs, ours = [], []
            for turn in range(rounds):
                theirs += feast.read_seconds("all", entities, 1)
                ours.append(await timed(reader, store, entities))
                if not turn:  # The first of each warms caches.
                    theirs.clear()
                    ours.clear()
            feast_ms, our_ms = (statistics.median(each) * 1e3 for each in (theirs, ours))
            print(f"{rows:>5} {feast_ms:>9.2f} {our_ms:>9.2f} {feast_ms / our_ms:>6.1f}x")


async def timed(reader: FeatureReader, store: FeastRedis, entities: Mapping[str, list[str]]) -> float:
    """Seconds of one lookup."""
    frame = Frame.of({name: Column.of(DataType.STRING, values) for name, values in entities.items()})
    start = time.perf_counter()
    await reader.lookup(frame, store, now=datetime.now(UTC))
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
