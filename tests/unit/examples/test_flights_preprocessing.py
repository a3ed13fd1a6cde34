from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from predmesh_bundle.loading import load_bundle
from predmesh_bundle.read_plan import FeaturePlan, FeatureType, ReadPlan, ViewPlan

from examples.flights import preprocessing, train

PLAN = ReadPlan(
    project="flights",
    feature_service="flight_delay_v1",
    entity_key_serialization_version=3,
    views=(
        ViewPlan(
            name="a",
            alias="a",
            join_keys=(),
            ttl_seconds=None,
            features=(
                FeaturePlan(name="warm", type=FeatureType.FLOAT),
                FeaturePlan(name="many", type=FeatureType.INT64, default=0),
                FeaturePlan(name="exact", type=FeatureType.DOUBLE),
            ),
        ),
    ),
    on_demand=(),
    features=("warm", "many", "exact"),
)
CATEGORIES = {"carrier": ["AA", "UA"], "origin": ["EWR", "JFK"], "dest": ["BOS", "ORD"]}


@pytest.fixture(scope="module")
def graph() -> onnxruntime.InferenceSession:
    model = preprocessing.build(PLAN, CATEGORIES)
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def tensor(graph: onnxruntime.InferenceSession, **changed: object) -> dict[str, float]:
    """The row of a flight at 18:30 on Monday, 30 December 2013, in New York."""
    time = datetime(2013, 12, 30, 23, 30, tzinfo=UTC)
    row: dict[str, Any] = {
        "carrier": np.array(["UA"], object),
        "origin": np.array(["EWR"], object),
        "dest": np.array(["ORD"], object),
        "scheduled_departure": np.array([round(time.timestamp() * 1e6)], np.int64),
        "distance_miles": np.array([719.0]),
        "warm": np.array([1.5], np.float32),
        "many": np.array([3], np.int64),
        "exact": np.array([0.1]),
    }
    (x,) = graph.run(["x"], row | changed)
    return dict(zip(preprocessing.feature_names(PLAN), x[0].tolist(), strict=True))


def test_columns_have_their_names_and_places(graph: onnxruntime.InferenceSession) -> None:
    assert tensor(graph) == {
        "distance_miles": 719.0,
        "departure_hour": 18.5,
        "departure_weekday": 1.0,
        "carrier": 1.0,
        "origin": 0.0,
        "dest": 1.0,
        "warm": 1.5,
        "many": 3.0,
        "exact": np.float32(0.1),
    }


@pytest.mark.parametrize("name", preprocessing.CATEGORICAL)
def test_an_unknown_category_is_missing(graph: onnxruntime.InferenceSession, name: str) -> None:
    changed = tensor(graph, **{name: np.array(["XX"], object)})
    assert np.isnan(changed[name])
    assert {**tensor(graph), name: None} == {**changed, name: None}


def test_a_missing_feature_stays_missing(graph: onnxruntime.InferenceSession) -> None:
    assert np.isnan(tensor(graph, exact=np.array([np.nan]))["exact"])


def test_the_bundle_names_the_columns_in_the_order_of_the_feature_service() -> None:
    bundle = load_bundle(train.main())
    assert bundle.inference.inputs[0].feature_names == preprocessing.feature_names(train.read_plan())


def test_the_model_card_is_the_one_that_training_writes() -> None:
    assert (train.main() / "MODEL_CARD.md").read_text() == Path(train.CARD).read_text()
