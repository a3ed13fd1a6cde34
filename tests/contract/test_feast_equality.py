"""Value for value what Feast's own online read says, and its own bytes when we write; real Redis, real Feast."""

from __future__ import annotations

import json
import math
import random
import struct
import uuid
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from predmesh.features.v1.stored_value_pb2 import StoredValue
from predmesh_bundle.read_plan import ReadPlan
from predmesh_features.domain import Status
from predmesh_features.feast_redis import FeastRedis
from predmesh_features.looking_up import FeatureReader
from predmesh_features.pushing import find_view, hash_writes
from predmesh_features.redis_address import parse_redis_url
from predmesh_features.redis_link import LinkOptions
from predmesh_frame.columns import Column, DataType
from predmesh_frame.frames import Frame
from predmesh_rpc.errors import FailedPrecondition
from predmesh_testing.feast import Feast, FeastError, Message, running_feast
from predmesh_testing.redis import RedisServer, redis_server

__all__ = ["redis_server"]

REPO = Path(__file__).parent / "features_repo"
PATIENT = LinkOptions(timeout_seconds=60)  # Equal is what counts here, however busy the machine.
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
CUSTOMERS = 120
Entities = dict[str, list[Any]]
EXTREMES: dict[str, list[Any]] = {
    "a_bool": [True, False],
    "an_int32": [0, -1, 1, 127, 128, 2**31 - 1, -(2**31)],
    "an_int64": [0, -1, 300, 2**53 + 1, 2**63 - 1, -(2**63)],
    "a_float": [0.0, -0.0, 1.5, math.inf, -math.inf, 1e-45, 3.4028234663852886e38],
    "another_float": [2.25, -7.0],
    "a_double": [0.0, -0.0, math.pi, math.inf, -math.inf, 5e-324, 1.7976931348623157e308],
    "a_string": ["", "EWR", "naïve ✈ 東京 🛫", "x" * 127, "y" * 128, "z" * 70_000, "a\0b", "5"],
    "some_bytes": [b"\0\xff", b"q" * 300],  # Feast takes no bytes for null.
    "a_time": [
        datetime(1969, 12, 31, tzinfo=UTC),
        datetime(2013, 1, 1, 5, tzinfo=UTC),
        datetime(9999, 1, 1, tzinfo=UTC),
    ],
    "a_document": [json.dumps({"a": [1, None]}), "{}"],
    "a_uuid": [uuid.UUID(int=5)],
    "a_time_uuid": [uuid.UUID("d9428888-122b-11e1-b85c-61cd3cbb3210")],
    "a_decimal": [Decimal("-12.340"), Decimal("1e400")],
}


@pytest.fixture(scope="module")
def golden(redis_server: RedisServer) -> Iterator[Feast]:
    with running_feast(REPO, f"127.0.0.1:{redis_server.port}") as feast:
        yield feast


def plan_of(feast: Feast, service: str) -> ReadPlan:
    return ReadPlan.from_json(feast.plan(service))


@pytest.fixture
async def online(redis_server: RedisServer) -> AsyncIterator[FeastRedis]:
    address = parse_redis_url(redis_server.unix_url)
    async with FeastRedis.connect(address, address, PATIENT) as store:
        yield store


@pytest.fixture(scope="module")
def filled(golden: Feast) -> Feast:
    dice = random.Random(7)
    rows = []
    for customer in range(CUSTOMERS):
        values = {
            name: None if dice.random() < 0.15 else extremes[customer % len(extremes)]
            for name, extremes in EXTREMES.items()
        }
        if customer % 9 == 0:
            values["a_float"] = values["a_double"] = math.nan
        if customer % 11 == 0:  # A feature added after these rows were written.
            del values["another_float"]
        rows.append(({"customer_id": customer - 5}, values, NOW - timedelta(minutes=customer)))
    golden.write("everything", rows)
    golden.write(
        "weather",
        [
            ({"region": region, "day_number": day}, {"temperature": day * 1.5, "wind": 2.0}, NOW - timedelta(hours=day))
            for region in ("ör", "", "EWR")
            for day in (-3, 0, 2, 6, 7)
        ],
    )
    golden.write("tokens", [({"token": b"\0\1"}, {"uses": 3}, NOW), ({"token": b"\2"}, {"uses": None}, NOW)])
    golden.write("moments", [({"moment": datetime(2013, 1, 1, tzinfo=UTC)}, {"load": 0.25}, NOW)])
    golden.write("whole_world", [({}, {"population": 8_000_000_000}, NOW)])
    golden.write(
        "customers",
        [
            ({"customer_id": 1}, {"visits": 7, "segment": "gold", "spent": 10.0}, NOW - timedelta(hours=1)),
            ({"customer_id": 2}, {"visits": None, "segment": None, "spent": 1.0}, NOW - timedelta(hours=1)),
        ],
    )
    return golden


def _plain(message: Message) -> Any:
    """A stored message as a value that can be compared; floats by their bits."""
    if message is None:
        return None
    field, value = message
    if field == "unix_timestamp_val":
        return value * 1_000_000
    return struct.pack("<d", value) if isinstance(value, float) else value


def _ours(column: Column) -> list[Any]:
    return [struct.pack("<d", value) if isinstance(value, float) else value for value in column.to_list()]


def _frame(entities: Entities, types: dict[str, DataType]) -> Frame:
    return Frame.of({name: Column.of(types[name], values) for name, values in entities.items()})


GOLDEN_TYPES = {
    "customer_id": DataType.INT64,
    "region": DataType.STRING,
    "day_number": DataType.INT32,
    "token": DataType.BYTES,
    "moment": DataType.TIMESTAMP,
}


def golden_entities() -> Entities:
    dice = random.Random(3)
    rows = 300
    customers = [dice.randrange(-5, CUSTOMERS + 10) for _ in range(rows)]
    return {
        "customer_id": customers,
        "region": [dice.choice(["ör", "", "EWR", "nowhere"]) for _ in range(rows)],
        "day_number": [dice.choice([-3, 0, 2, 6, 7, 99]) for _ in range(rows)],
        "token": [dice.choice([b"\0\1", b"\2", b"none"]) for _ in range(rows)],
        "moment": [datetime(2013, 1, dice.choice([1, 2]), tzinfo=UTC) for _ in range(rows)],
    }


async def test_every_value_is_what_feast_reads(filled: Feast, online: FeastRedis) -> None:
    entities = golden_entities()
    theirs = filled.read("golden", entities)
    plan = plan_of(filled, "golden")
    unlimited = ReadPlan.from_json(plan.to_json().replace('"ttl_seconds": 21600.0', '"ttl_seconds": null'))
    lookup = await FeatureReader(unlimited).lookup(_frame(entities, GOLDEN_TYPES), online, now=NOW)
    assert [feature.name for feature in lookup.features] == list(plan.features)
    for feature in lookup.features:
        expected = [_plain(value) for value in theirs[feature.name]]
        assert _ours(feature.column) == expected, feature.name
    assert sum(len(values) for values in theirs.values()) == 300 * len(plan.features)


async def test_an_entity_that_was_never_written_is_not_found_where_feast_says_present(
    filled: Feast, online: FeastRedis
) -> None:
    entities: Entities = {
        "region": ["nowhere"],
        "day_number": [0],
        "customer_id": [999],
        "token": [b"none"],
        "moment": [NOW],
    }
    lookup = await FeatureReader(plan_of(filled, "golden")).lookup(_frame(entities, GOLDEN_TYPES), online, now=NOW)
    statuses = {feature.name: int(feature.statuses[0]) for feature in lookup.features}
    assert statuses.pop("population") == Status.PRESENT
    assert set(statuses.values()) == {Status.NOT_FOUND}
    assert math.isnan(lookup.age_seconds["weather"][0])


async def test_a_value_is_outside_its_ttl_one_moment_after_it(filled: Feast, online: FeastRedis) -> None:
    days = [2, 6, 7]
    entities: Entities = {
        "region": ["EWR"] * 3,
        "day_number": days,
        "customer_id": [1] * 3,
        "token": [b"\2"] * 3,
        "moment": [NOW] * 3,
    }
    lookup = await FeatureReader(plan_of(filled, "golden")).lookup(_frame(entities, GOLDEN_TYPES), online, now=NOW)
    wind = next(feature for feature in lookup.features if feature.name == "wind")
    assert wind.statuses.tolist() == [Status.PRESENT, Status.PRESENT, Status.OUTSIDE_MAX_AGE]
    assert wind.column.to_list() == [2.0, 2.0, None]
    assert lookup.age_seconds["weather"].tolist() == [hours * 3600.0 for hours in days]


async def test_null_and_never_written_are_told_apart(filled: Feast, online: FeastRedis) -> None:
    filled.write("everything", [({"customer_id": 5000}, {"a_string": None, "a_bool": True}, NOW)])
    entities: Entities = {"customer_id": [5000], "region": [""], "day_number": [0], "token": [b"\2"], "moment": [NOW]}
    lookup = await FeatureReader(plan_of(filled, "golden")).lookup(_frame(entities, GOLDEN_TYPES), online, now=NOW)
    statuses = {feature.name: int(feature.statuses[0]) for feature in lookup.features}
    assert (statuses["a_bool"], statuses["a_string"], statuses["an_int64"]) == (1, 2, 3)
    assert statuses["uses"] == Status.NULL


async def test_on_demand_features_are_what_feast_computes(filled: Feast, online: FeastRedis) -> None:
    plan = plan_of(filled, "computed")
    for customer in (1, 2, 77):  # Feast computes a singleton view for the first row alone.
        entities: Entities = {"customer_id": [customer], "region": ["EWR"], "day_number": [0]}
        asked: Entities = {"amount": [5.0], "factor": [3]}
        theirs = filled.read("computed", entities | asked)
        types = GOLDEN_TYPES | {"amount": DataType.DOUBLE, "factor": DataType.INT64}
        lookup = await FeatureReader(plan).lookup(_frame(entities | asked, types), online, now=NOW)
        for feature in lookup.features:
            assert _ours(feature.column) == [_plain(value) for value in theirs[feature.name]], (customer, feature.name)


async def test_a_singleton_view_is_computed_for_every_row(filled: Feast, online: FeastRedis) -> None:
    plan = plan_of(filled, "computed")
    types = GOLDEN_TYPES | {"amount": DataType.DOUBLE, "factor": DataType.INT64}
    entities: Entities = {
        "customer_id": [1, 2, 1],
        "region": ["EWR"] * 3,
        "day_number": [0] * 3,
        "amount": [5.0, 0.5, 50.0],
        "factor": [3, 3, 10],
    }
    lookup = await FeatureReader(plan).lookup(_frame(entities, types), online, now=NOW)
    made = {feature.name: feature.column.to_list() for feature in lookup.features}
    assert made["weighted"] == [22, None, 71]
    assert made["big_spender"] == [True, True, False]
    assert list(made) == list(plan.features)


async def test_one_view_under_two_names_follows_each_names_keys(filled: Feast, online: FeastRedis) -> None:
    entities: Entities = {"home": ["EWR"], "destination": ["ör"], "day_number": [2]}
    theirs = filled.read("renamed", entities)
    types = {"home": DataType.STRING, "destination": DataType.STRING, "day_number": DataType.INT32}
    lookup = await FeatureReader(plan_of(filled, "renamed")).lookup(_frame(entities, types), online, now=NOW)
    assert {feature.view for feature in lookup.features} == {"here", "there"}
    for feature in lookup.features:
        assert _ours(feature.column) == [_plain(value) for value in theirs[feature.name]]


async def test_a_pushed_row_is_stored_in_feasts_own_bytes(
    golden: Feast, online: FeastRedis, redis_server: RedisServer
) -> None:
    plan = plan_of(golden, "golden")
    view = find_view(plan, "everything")
    types = {feature.name: DataType[feature.type.name] for feature in view.features}
    for index in range(8):
        values = {name: extremes[index % len(extremes)] for name, extremes in EXTREMES.items()}
        if index == 7:
            values = dict.fromkeys(values)
        time = NOW + timedelta(seconds=index, microseconds=index)
        golden.write("everything", [({"customer_id": 9000 + index}, values, time)])
        texts = {
            name: str(value) if isinstance(value, uuid.UUID | Decimal) else value for name, value in values.items()
        }
        columns = {name: Column.of(types[name], [value]) for name, value in texts.items()}
        frame = Frame.of({"customer_id": Column.of(DataType.INT64, [-9000 - index]), **columns})
        nanos = (int(time.timestamp()) * 1_000_000 + time.microsecond) * 1000
        assert await online.write(hash_writes(plan, view, frame, [nanos])) == [True]
        with redis_server.client() as client:
            theirs, ours = (
                client.hgetall(golden.key("everything", {"customer_id": (9000 + index) * sign})) for sign in (1, -1)
            )
        assert ours == theirs
        assert len(ours) == len(EXTREMES) + 1


async def test_what_is_pushed_is_what_feast_reads(golden: Feast, online: FeastRedis) -> None:
    plan = plan_of(golden, "golden")
    rows: Entities = {"region": ["pushed"], "day_number": [1]}
    frame = _frame(rows, GOLDEN_TYPES).with_columns(
        {"temperature": Column.of(DataType.DOUBLE, [-3.5]), "wind": Column.of(DataType.FLOAT, [None])}
    )
    await online.write(hash_writes(plan, find_view(plan, "weather"), frame, [int(NOW.timestamp()) * 10**9]))
    entities: Entities = rows | {"customer_id": [1], "token": [b"\2"], "moment": [NOW]}
    theirs = golden.read("golden", entities)
    assert [_plain(theirs[name][0]) for name in ("temperature", "wind")] == [struct.pack("<d", -3.5), None]


def test_a_view_is_written_whole_though_the_service_takes_one_feature(golden: Feast) -> None:
    view = find_view(plan_of(golden, "renamed"), "weather")
    assert {feature.name for feature in (*view.features, *view.unread)} == {"temperature", "wind"}


REFUSED = {
    "pandas_mode": "on-demand view 'in_pandas': mode 'pandas' is not served",
    "twice_the_same": "feature 'wind' is in the views here, there",
    "goldne": "did you mean 'golden'",
}


@pytest.mark.parametrize("service", REFUSED)
def test_what_cannot_be_served_is_refused_by_name(golden: Feast, service: str) -> None:
    with pytest.raises(FeastError) as refusal:
        golden.plan(service)
    assert REFUSED[service] in str(refusal.value)


def test_a_view_with_a_list_serves_its_other_features_but_takes_no_pushes(golden: Feast) -> None:
    plan = plan_of(golden, "beside_a_list")
    assert plan.features == ("norm",)
    assert "embedding" in plan.views[0].unwritable


def test_every_type_of_feast_is_a_column_or_served_as_stored_with_a_reason(golden: Feast) -> None:
    stored = golden.stored_types()
    assert len(stored) == 33
    assert all(stored.values())


async def test_lists_are_columns_or_served_as_stored(golden: Feast, online: FeastRedis) -> None:
    golden.write(
        "vectors",
        [
            ({"customer_id": 7001}, {"embedding": [1.5, -2.0], "place": [0.5, math.inf], "tags": []}, NOW),
            ({"customer_id": 7002}, {"embedding": [], "place": None, "tags": None}, NOW - timedelta(days=2)),
            ({"customer_id": 7003}, {"place": [1.0, 2.0]}, NOW - timedelta(days=2)),
        ],
    )
    frame = _frame({"customer_id": [7002, 7001, 7001, 7003, 7004]}, GOLDEN_TYPES)
    reader = FeatureReader(plan_of(golden, "listed"))
    lookup = await reader.lookup(frame, online, now=NOW)
    (place,) = lookup.features
    assert place.column.row_shape == (2,)
    assert place.column.to_list() == [None, [0.5, math.inf], [0.5, math.inf], [1.0, 2.0], None]
    assert place.statuses.tolist() == [2, 1, 1, 1, 3]
    embedding, tags = lookup.stored
    kinds = [message.WhichOneof("value") for message in tags.messages]
    assert (tags.statuses.tolist(), kinds[1:3]) == ([2, 1, 1, 3, 3], ["string_list_val"] * 2)
    assert [list(message.float_list_val.val) for message in embedding.messages] == [[], [1.5, -2], [1.5, -2], [], []]
    aged = await reader.lookup(frame, online, now=NOW, max_age_seconds=3600)
    assert aged.features[0].statuses.tolist() == [4, 1, 1, 4, 3]
    assert [each.statuses.tolist() for each in aged.stored] == [[4, 1, 1, 3, 3]] * 2
    assert aged.stored[0].messages[0] == StoredValue()


async def test_a_list_of_another_length_is_told(golden: Feast, online: FeastRedis) -> None:
    golden.write("vectors", [({"customer_id": 7010}, {"place": [1.0, 2.0, 3.0]}, NOW)])
    with pytest.raises(FailedPrecondition, match=r"'place' of view 'vectors'.*holds 3 values .* vector_length is 2"):
        frame = _frame({"customer_id": [7010]}, GOLDEN_TYPES)
        await FeatureReader(plan_of(golden, "listed")).lookup(frame, online, now=NOW)


async def test_an_on_demand_view_is_given_no_value_that_is_too_old_where_feast_gives_it(
    golden: Feast, online: FeastRedis
) -> None:
    golden.write("customers", [({"customer_id": 8001}, {"visits": 8, "spent": 9.0}, NOW - timedelta(days=2))])
    asked: Entities = {"customer_id": [8001], "region": ["EWR"], "day_number": [0], "amount": [5.0], "factor": [3]}
    types = GOLDEN_TYPES | {"amount": DataType.DOUBLE, "factor": DataType.INT64}
    plan = plan_of(golden, "computed")

    async def half_visits(plan: ReadPlan) -> list[Any]:
        lookup = await FeatureReader(plan).lookup(_frame(asked, types), online, now=NOW)
        return next(each.column.to_list() for each in lookup.features if each.name == "half_visits")

    assert golden.read("computed", asked)["half_visits"] == [("double_val", 4.0)]
    assert await half_visits(plan) == [None]
    assert await half_visits(plan.with_defaults({"visits": 6})) == [3.0]
