"""Lookups over a store in memory: what is asked of it, and what becomes of what it says."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import datetime
from typing import Any

import numpy as np
import pytest
from predmesh.features.v1.stored_value_pb2 import StoredValue
from predmesh_bundle.read_plan import ReadPlan, ViewPlan
from predmesh_features.domain import FeatureColumn, Lookup, Status
from predmesh_features.feast_layout import feature_field
from predmesh_features.looking_up import FeatureReader
from predmesh_frame.columns import Column, DataType
from predmesh_frame.frames import Frame
from predmesh_rpc.errors import DependencyDown, FailedPrecondition, InvalidInput
from predmesh_testing.fake_store import FakeStore

Asked = Callable[..., Frame]
Put = Callable[..., None]


def of(lookup: Lookup, name: str) -> FeatureColumn:
    return next(feature for feature in lookup.features if feature.name == name)


@pytest.fixture
def views(plan: ReadPlan) -> dict[str, ViewPlan]:
    return {view.name: view for view in plan.views}


@pytest.fixture
def filled(put: Put, views: dict[str, ViewPlan]) -> None:
    put(views["weather"], {"airport": "EWR"}, {"wind": 4.0, "sky": None, "temperature": -2.5}, 60)
    put(views["weather"], {"airport": "JFK"}, {"wind": 1.0, "sky": "clear", "temperature": 20.0}, 7200)
    put(views["runways"], {"airport": "EWR"}, {"runways": 3}, 1e6)
    put(views["route"], {"airport": "EWR", "carrier": "UA"}, {"delay": 7.5, "flights": 2**60}, 10)


@pytest.mark.usefixtures("filled")
async def test_features_come_in_the_order_of_the_service(
    plan: ReadPlan, store: FakeStore, asked: Asked, now: datetime
) -> None:
    lookup = await FeatureReader(plan).lookup(asked("EWR"), store, now=now)
    assert {each.name: each.column.to_list()[0] for each in lookup.features} == {
        "temperature": -2.5,
        "flights": 2**60,
        "wind": 4.0,
        "twice": 15.0,
        "sky": None,
        "runways": 3,
    }
    assert [each.name for each in lookup.features] == list(plan.features)
    assert [each.view for each in lookup.features][3] == "twice_the_delay"
    assert lookup.clock_time == now


@pytest.mark.usefixtures("filled")
async def test_statuses_and_defaults_are_by_value(
    plan: ReadPlan, store: FakeStore, asked: Asked, now: datetime
) -> None:
    lookup = await FeatureReader(plan).lookup(asked("EWR", "JFK", "LGA", None), store, now=now)
    present, null, unknown, old = Status.PRESENT, Status.NULL, Status.NOT_FOUND, Status.OUTSIDE_MAX_AGE
    assert of(lookup, "temperature").statuses.tolist() == [present, old, unknown, unknown]
    assert of(lookup, "temperature").column.to_list() == [-2.5, 15.0, 15.0, 15.0]
    assert of(lookup, "sky").statuses.tolist() == [null, old, unknown, unknown]
    assert of(lookup, "wind").column.to_list() == [4.0, None, None, None]
    assert np.isnan(of(lookup, "wind").column.values[1:]).all()
    assert lookup.age_seconds["weather"].tolist()[:2] == [60.0, 7200.0]
    assert np.isnan(lookup.age_seconds["weather"][2:]).all()


@pytest.mark.usefixtures("filled")
async def test_a_hash_is_read_once_for_all_views_and_rows_of_its_entity(
    plan: ReadPlan, store: FakeStore, asked: Asked, now: datetime
) -> None:
    await FeatureReader(plan).lookup(asked("EWR", "JFK", "EWR", None, "EWR"), store, now=now)
    ((airports, routes),) = store.reads
    assert [len(airports.keys), len(routes.keys)] == [2, 2]
    assert len(airports.fields) == 3 + 1 + 1 + 1


@pytest.mark.usefixtures("filled")
async def test_the_smallest_maximum_age_counts(plan: ReadPlan, store: FakeStore, asked: Asked, now: datetime) -> None:
    reader = FeatureReader(plan, max_age_seconds=30)
    assert of(await reader.lookup(asked("EWR"), store, now=now), "wind").statuses.tolist() == [Status.OUTSIDE_MAX_AGE]
    assert of(await reader.lookup(asked("EWR"), store, now=now), "flights").statuses.tolist() == [Status.PRESENT]
    by_call = await reader.lookup(asked("EWR"), store, now=now, max_age_seconds=5)
    assert of(by_call, "flights").statuses.tolist() == [Status.OUTSIDE_MAX_AGE]


@pytest.mark.usefixtures("filled")
async def test_an_event_still_to_come_has_a_negative_age_and_counts(
    plan: ReadPlan, store: FakeStore, asked: Asked, now: datetime
) -> None:
    lookup = await FeatureReader(plan).lookup(asked("EWR"), store, now=now.replace(hour=11))
    assert lookup.age_seconds["route"].tolist() == [10.0 - 3600]
    assert of(lookup, "flights").statuses.tolist() == [Status.PRESENT]


async def test_a_view_without_entities_holds_for_every_row(
    store: FakeStore, put: Put, plan: ReadPlan, now: datetime
) -> None:
    view = dataclasses.replace(plan.views[1], join_keys=())
    put(view, {"__dummy_id": ""}, {"runways": 9})
    alone = dataclasses.replace(plan, views=(view,), on_demand=(), features=("runways",))
    lookup = await FeatureReader(alone).lookup(Frame(3), store, now=now)
    assert lookup.features[0].column.to_list() == [9, 9, 9]
    assert len(store.reads[0][0].keys) == 1


@pytest.mark.parametrize(
    ("columns", "field", "words"),
    [
        ({"origin": None}, "origin", "is missing"),
        ({"origin": Column.of(DataType.INT64, [1])}, "origin", "is int64; the join key is string"),
        ({"origin": Column.of(DataType.STRING, [["a", "b"]], (2,))}, "origin", "several values"),
        ({"factor": None}, "factor", "is missing"),
        ({"factor": Column.of(DataType.DOUBLE, [1.5])}, "factor", "must be int64"),
    ],
)
async def test_what_is_missing_or_of_another_type_is_told_by_name(
    plan: ReadPlan, store: FakeStore, asked: Asked, now: datetime, columns: dict[str, Any], field: str, words: str
) -> None:
    given = {**asked("EWR").columns, **columns}
    frame = Frame.of({name: column for name, column in given.items() if column is not None})
    with pytest.raises(InvalidInput) as caught:
        await FeatureReader(plan).lookup(frame, store, now=now)
    ((found, reason),) = [(each.field, each.reason_text) for each in caught.value.violations]
    assert found == field
    assert words in reason
    assert not store.reads


async def test_a_misspelt_join_key_brings_the_right_one_to_mind(
    plan: ReadPlan, store: FakeStore, asked: Asked, now: datetime
) -> None:
    frame = asked("EWR")
    misspelt = Frame.of({name.replace("origin", "orgin"): column for name, column in frame.columns.items()})
    with pytest.raises(InvalidInput) as caught:
        await FeatureReader(plan).lookup(misspelt, store, now=now)
    assert caught.value.violations[0].description == "is missing; did you mean 'orgin'?"


async def test_a_stored_value_of_another_type_is_told_by_feature_and_view(
    plan: ReadPlan, store: FakeStore, put: Put, views: dict[str, ViewPlan], asked: Asked, now: datetime
) -> None:
    put(views["weather"], {"airport": "EWR"}, {"wind": 1.0})
    (row,) = store.hashes.values()
    row[feature_field("weather", "temperature")] = StoredValue(string_val="secret").SerializeToString()
    with pytest.raises(FailedPrecondition) as caught:
        await FeatureReader(plan, bundle_id="b-1").lookup(asked("EWR"), store, now=now)
    assert "feature 'temperature' of view 'weather', defined as float, is stored as string_val" in str(caught.value)
    assert caught.value.metadata["bundleId"] == "b-1"
    assert "secret" not in str(caught.value)


async def test_a_store_that_is_down_is_not_hidden(
    plan: ReadPlan, store: FakeStore, asked: Asked, now: datetime
) -> None:
    store.down = True
    with pytest.raises(DependencyDown):
        await FeatureReader(plan).lookup(asked("EWR"), store, now=now)
