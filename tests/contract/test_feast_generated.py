"""100,000 generated values of every type: what Feast writes and reads, we read; real Redis, real Feast."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from predmesh.features.v1.stored_value_pb2 import StoredValue
from predmesh_bundle.read_plan import ReadPlan
from predmesh_features.feast_redis import FeastRedis
from predmesh_features.looking_up import FeatureReader
from predmesh_features.redis_address import parse_redis_url
from predmesh_features.redis_link import LinkOptions
from predmesh_frame.columns import Column, DataType
from predmesh_frame.frames import Frame
from predmesh_testing.feast import Feast, message_fields, running_feast
from predmesh_testing.golden import differences
from predmesh_testing.redis import RedisServer, redis_server

__all__ = ["redis_server"]

REPO = Path(__file__).parent / "generated_repo"
PATIENT = LinkOptions(timeout_seconds=60)  # Equal is what counts here, however busy the machine.
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ROWS = 10_000  # Of ten features each.
SCALARS = ["bool", "int32", "int64", "float", "double", "string", "bytes", "unix_timestamp"]
TEXTS = ["json", "uuid", "time_uuid", "decimal"]
LISTED = [*SCALARS, *TEXTS]
KINDS = [
    *LISTED,
    *("pdf_bytes", "image_bytes", "map", "scalar_map", "struct", "zoned_timestamp"),
    *(f"{kind}_list" for kind in LISTED),
    *(f"{kind}_set" for kind in LISTED if kind != "json"),
    *("map_list", "struct_list", "value_list", "value_set"),
]


@pytest.fixture(scope="module")
def golden(redis_server: RedisServer) -> Iterator[Feast]:
    with running_feast(REPO, f"127.0.0.1:{redis_server.port}") as feast:
        yield feast


def test_every_type_of_this_feast_is_generated(golden: Feast) -> None:
    assert sorted(golden.services()) == sorted(KINDS)


@pytest.mark.parametrize("kind", KINDS)
async def test_every_generated_value_is_what_feast_reads(golden: Feast, redis_server: RedisServer, kind: str) -> None:
    golden.fill([kind], ROWS, NOW, seed=1)
    plan = ReadPlan.from_json(golden.plan(kind))
    address = parse_redis_url(redis_server.unix_url)
    rows = Frame.of({"row": Column.of(DataType.INT64, range(ROWS))})
    async with FeastRedis.connect(address, address, PATIENT) as store:
        # Feast has a process, and mostly a core, of its own.
        theirs, lookup = await asyncio.gather(
            asyncio.to_thread(golden.read, kind, {"row": list(range(ROWS))}),
            FeatureReader(plan).lookup(rows, store, now=NOW),
        )
    with redis_server.client() as client:
        client.flushall()
    assert len(theirs) == 10
    assert differences(lookup, theirs) == []


@pytest.mark.parametrize("kind", LISTED)
def test_a_list_is_a_column_where_its_length_is_declared(golden: Feast, kind: str) -> None:
    plan = ReadPlan.from_json(golden.plan(f"{kind}_list"))
    assert [feature.row_shape for _, feature in plan.described()] == [(4,)] * 5
    assert all("vector_length" in feature.reason for _, feature in plan.described_stored())


def test_our_message_of_a_stored_value_has_every_field_of_feasts(golden: Feast) -> None:
    # Lists and sets of one element share a message of ours.
    def told(fields: set[tuple[str, str, int, str]]) -> set[tuple[str, int]]:
        return {(name, number) for _, name, number, _ in fields}

    ours = message_fields(StoredValue.DESCRIPTOR)
    assert told(ours) == told(golden.message_fields())
