"""A small plan with every kind of view, and a store in memory that holds some rows of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from predmesh_bundle.read_plan import (
    FeaturePlan,
    FeatureType,
    JoinKey,
    OnDemandInput,
    OnDemandPlan,
    ReadPlan,
    ViewPlan,
)
from predmesh_features import feast_layout
from predmesh_features.feast_layout import feature_field, key_order, key_prefix, stamp_field
from predmesh_features.stored_values import encode, encode_stamp
from predmesh_frame.columns import Column, DataType
from predmesh_frame.frames import Frame
from predmesh_testing.fake_store import FakeStore

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
STRING, INT64, FLOAT, DOUBLE = FeatureType.STRING, FeatureType.INT64, FeatureType.FLOAT, FeatureType.DOUBLE
ORIGIN = JoinKey(name="airport", type=STRING, column="origin")
CARRIER = JoinKey(name="carrier", type=STRING, column="carrier")
WEATHER = ViewPlan(
    name="weather",
    alias="weather",
    join_keys=(ORIGIN,),
    ttl_seconds=3600.0,
    features=(
        FeaturePlan(name="wind", type=FLOAT),
        FeaturePlan(name="sky", type=STRING),
        FeaturePlan(name="temperature", type=FLOAT, default=15.0),
    ),
)
RUNWAYS = ViewPlan(
    name="runways",
    alias="runways",
    join_keys=(ORIGIN,),
    ttl_seconds=None,
    features=(FeaturePlan(name="runways", type=INT64, description="open now"),),
)
ROUTE = ViewPlan(
    name="route",
    alias="route",
    join_keys=(ORIGIN, CARRIER),
    ttl_seconds=None,
    features=(FeaturePlan(name="delay", type=DOUBLE), FeaturePlan(name="flights", type=INT64)),
)
TWICE = OnDemandPlan(
    name="twice_the_delay",
    module="""
def twice(inputs):
    return {"twice": [None if d is None else d * f for d, f in zip(inputs["delay"], inputs["factor"])]}
""",
    function="twice",
    singleton=False,
    inputs=(
        OnDemandInput(name="delay", type=DOUBLE, view="route"),
        OnDemandInput(name="factor", type=INT64),
    ),
    outputs=(FeaturePlan(name="twice", type=DOUBLE),),
)
PLAN = ReadPlan(
    project="flights",
    feature_service="delays",
    entity_key_serialization_version=3,
    views=(WEATHER, RUNWAYS, ROUTE),
    on_demand=(TWICE,),
    features=("temperature", "flights", "wind", "twice", "sky", "runways"),
)

Put = Callable[..., None]


@pytest.fixture
def plan() -> ReadPlan:
    return PLAN


@pytest.fixture
def now() -> datetime:
    return NOW


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


@pytest.fixture
def put(store: FakeStore) -> Put:
    """Stores a row of a view: join keys by their stored names, values, and its age."""

    def put(view: ViewPlan, keys: Mapping[str, Any], values: Mapping[str, Any], age_seconds: float = 0) -> None:
        ordered = key_order(view.join_keys)
        columns = [[keys[key.name]] for key in ordered]
        (key,) = feast_layout.keys(
            [key.type for key in ordered], columns, prefix=key_prefix(ordered), project=b"flights"
        )
        row = store.hashes.setdefault(key, {})
        row[stamp_field(view.name)] = encode_stamp(int((NOW.timestamp() - age_seconds) * 1e9))
        for feature in view.features:
            if feature.name in values:
                row[feature_field(view.name, feature.name)] = encode(feature, values[feature.name])

    return put


@pytest.fixture
def asked() -> Callable[..., Frame]:
    """A frame of a lookup: origins, and the same carrier and factor for all."""

    def asked(*origins: str | None) -> Frame:
        rows = len(origins)
        return Frame.of(
            {
                "origin": Column.of(DataType.STRING, origins),
                "carrier": Column.of(DataType.STRING, ["UA"] * rows),
                "factor": Column.of(DataType.INT64, [2] * rows),
            }
        )

    return asked
