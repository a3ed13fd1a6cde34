"""A cluster that Feast itself has written: we read there what Feast reads, and Feast what we write."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from predmesh_bundle.read_plan import ReadPlan
from predmesh_features.feast_redis_cluster import FeastRedisCluster
from predmesh_features.looking_up import FeatureReader
from predmesh_features.pushing import find_view, hash_writes
from predmesh_features.redis_address import parse_redis_url
from predmesh_frame.columns import Column, DataType
from predmesh_frame.frames import Frame
from predmesh_testing.feast import Feast, running_feast
from predmesh_testing.redis_cluster import RedisCluster, redis_cluster

__all__ = ["redis_cluster"]

REPO = Path(__file__).parent / "features_repo"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PLACES = [(region, day) for region in ("EWR", "ör", "") for day in range(20)]


@pytest.fixture
def feast(redis_cluster: RedisCluster) -> Iterator[Feast]:
    redis_cluster.clear()
    with running_feast(REPO, redis_cluster.hosts) as feast:
        yield feast


async def test_both_read_what_the_other_wrote(feast: Feast, redis_cluster: RedisCluster) -> None:
    plan, pushed = (ReadPlan.from_json(feast.plan(service)) for service in ("renamed", "golden"))
    rows = [
        ({"region": region, "day_number": day}, {"temperature": day / 3, "wind": 2.0}, NOW) for region, day in PLACES
    ]
    feast.write("weather", rows[::2])
    ours = Frame.of(
        {
            "region": Column.of(DataType.STRING, [keys["region"] for keys, _, _ in rows[1::2]]),
            "day_number": Column.of(DataType.INT32, [keys["day_number"] for keys, _, _ in rows[1::2]]),
            "temperature": Column.of(DataType.DOUBLE, [values["temperature"] for _, values, _ in rows[1::2]]),
            "wind": Column.of(DataType.FLOAT, [values["wind"] for _, values, _ in rows[1::2]]),
        }
    )
    asked = {
        "home": Column.of(DataType.STRING, [region for region, _ in PLACES]),
        "destination": Column.of(DataType.STRING, ["nowhere"] * len(PLACES)),
        "day_number": Column.of(DataType.INT32, [day for _, day in PLACES]),
    }
    address = parse_redis_url(redis_cluster.url)
    async with FeastRedisCluster.connect(address, address) as store:
        writes = hash_writes(pushed, find_view(pushed, "weather"), ours, [int(NOW.timestamp()) * 10**9] * ours.rows)
        assert all(await store.write(writes))
        lookup = await FeatureReader(plan).lookup(Frame.of(asked), store, now=NOW)
    theirs = feast.read("renamed", {name: column.to_list() for name, column in asked.items()})
    assert len(lookup.features) == len(plan.features)
    for feature in lookup.features:
        read = [None if message is None else message[1] for message in theirs[feature.name]]
        assert list(map(bits, feature.column.to_list())) == list(map(bits, read))
        assert (feature.view == "here") == all(value is not None for value in read)


def bits(value: float | None) -> bytes | None:
    return None if value is None else struct.pack("<d", value)
