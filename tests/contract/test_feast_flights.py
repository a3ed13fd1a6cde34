"""Every feature value of the flights, of all entities and views, is what Feast reads; real Redis, real Feast."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle, islice

import polars as pl
import pytest
from predmesh_bundle.read_plan import ReadPlan
from predmesh_features.feast_redis import FeastRedis
from predmesh_features.looking_up import FeatureReader
from predmesh_features.redis_address import parse_redis_url
from predmesh_features.redis_link import LinkOptions
from predmesh_frame.columns import Column, DataType
from predmesh_frame.frames import Frame
from predmesh_testing.feast import Feast, running_feast
from predmesh_testing.golden import differences
from predmesh_testing.redis import RedisServer, needs_redis, running_redis
from predmesh_testing.running import ROOT

from examples.flights import train
from examples.flights.materialise import CONNECTION, DEMO_TIME

pytestmark = needs_redis()
REPO = ROOT / "examples/flights/bundle/feature_repo"
PATIENT = LinkOptions(timeout_seconds=60)  # Equal is what counts here, however busy the machine.


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    """A Redis that holds the features as of the example's time."""
    with running_redis() as server:
        environment = os.environ | {CONNECTION: f"127.0.0.1:{server.port}"}
        command = [sys.executable, "-m", "examples.flights.materialise", "--follow"]
        told = subprocess.run(
            command, cwd=ROOT, env=environment, input=f"{DEMO_TIME.isoformat()}\n", stdout=subprocess.PIPE, text=True
        )
        assert told.stdout.strip() == DEMO_TIME.isoformat()
        yield server


@pytest.fixture(scope="module")
def feast(redis: RedisServer) -> Iterator[Feast]:
    with running_feast(REPO, f"127.0.0.1:{redis.port}") as running:
        yield running


def every_entity(plan: ReadPlan) -> tuple[dict[str, list[str]], int]:
    """Rows that name every entity that has a row by the example's time; and how many entities those are."""
    columns: dict[str, list[str]] = {}
    entities = 0
    by_width = sorted(plan.views, key=lambda view: -len(view.join_keys))
    for view in by_width:
        keys = [key.column for key in view.join_keys]
        table = pl.read_parquet(train.TABLES / f"{view.name}.parquet").filter(pl.col("event_timestamp") <= DEMO_TIME)
        known = table.select(keys).unique().sort(keys)
        entities += known.height
        if not columns.keys() & set(keys):
            columns |= {key: known[key].to_list() for key in keys}
    rows = max(map(len, columns.values()))
    return {key: list(islice(cycle(values), rows)) for key, values in columns.items()}, entities


async def test_every_value_of_the_flights_is_what_feast_reads(feast: Feast, redis: RedisServer) -> None:
    service = "flight_delay_v1"
    plan = ReadPlan.from_json(feast.plan(service))
    entities, known = every_entity(plan)
    theirs = feast.read(service, entities)
    frame = Frame.of({name: Column.of(DataType.STRING, values) for name, values in entities.items()})
    address = parse_redis_url(redis.unix_url)
    async with FeastRedis.connect(address, address, PATIENT) as store:
        # Feast has no maximum age online.
        unlimited = replace(plan, views=tuple(replace(view, ttl_seconds=None) for view in plan.views))
        lookup = await FeatureReader(unlimited).lookup(frame, store, now=DEMO_TIME)
    assert known > 4000
    assert differences(lookup, theirs) == []
