"""Read plans: JSON in and out, defaults, and what a function needs to be carried along."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from predmesh_bundle.on_demand_source import SourceError, cut_out
from predmesh_bundle.read_plan import (
    FeaturePlan,
    FeatureType,
    ReadPlan,
    ReadPlanError,
    StoredFeaturePlan,
    checked_default,
)


def test_a_plan_is_read_as_it_was_written(plan: ReadPlan) -> None:
    assert ReadPlan.from_json(plan.to_json()) == plan


def with_lists(plan: ReadPlan) -> ReadPlan:
    weather, *others = plan.views
    place = FeaturePlan(name="place", type=FeatureType.DOUBLE, stored_as="double_list_val", row_shape=(2,))
    tags = StoredFeaturePlan(name="tags", feast_type="Map", stored_as="map_val", reason="store its parts as features")
    listed = replace(weather, features=(*weather.features, place), stored=(tags,))
    return replace(plan, views=(listed, *others), features=(*plan.features, "place"))


def test_a_plan_with_lists_and_maps_is_read_as_it_was_written(plan: ReadPlan) -> None:
    listed = with_lists(plan)
    assert ReadPlan.from_json(listed.to_json()) == listed
    assert [feature.name for _, feature in listed.described_stored()] == ["tags"]


def test_a_plan_of_before_there_were_lists_is_read(plan: ReadPlan) -> None:
    data = json.loads(plan.to_json()) | {"format": 1}
    for view in data["views"]:
        del view["stored"]
        for feature in view["features"]:
            del feature["row_shape"]
    assert ReadPlan.from_json(json.dumps(data)) == plan


def test_a_list_takes_no_default(plan: ReadPlan) -> None:
    with pytest.raises(ReadPlanError, match="default of 'place': lists take no default"):
        with_lists(plan).with_defaults({"place": 1.0})


def test_a_plan_of_another_format_asks_for_a_deploy(plan: ReadPlan) -> None:
    with pytest.raises(ReadPlanError, match="deploy the bundle again"):
        ReadPlan.from_json(json.dumps(json.loads(plan.to_json()) | {"format": 999}))


def test_join_keys_are_the_callers_names_once_and_request_inputs_are_the_rest(plan: ReadPlan) -> None:
    assert [key.column for key in plan.join_keys] == ["origin", "carrier"]
    assert [given.name for given in plan.request_inputs] == ["factor"]


def test_defaults_reach_stored_and_computed_features(plan: ReadPlan) -> None:
    filled = plan.with_defaults({"wind": 1, "twice": 0.5, "sky": "grey"})
    defaults = {feature.name: feature.default for _, feature in filled.described()}
    assert defaults == {"temperature": 15.0, "flights": None, "wind": 1.0, "twice": 0.5, "sky": "grey", "runways": None}


def test_every_default_that_does_not_fit_is_told(plan: ReadPlan) -> None:
    with pytest.raises(ReadPlanError) as caught:
        plan.with_defaults({"wnd": 1.0, "sky": 5, "runways": 1.5})
    assert len(caught.value.problems) == 3
    assert "did you mean 'wind'?" in caught.value.problems[0]


@pytest.mark.parametrize(
    ("type", "value", "expected"),
    [
        (FeatureType.BOOL, True, True),
        (FeatureType.INT32, -(2**31), -(2**31)),
        (FeatureType.INT64, 2**63 - 1, 2**63 - 1),
        (FeatureType.FLOAT, 3, 3.0),
        (FeatureType.STRING, "", ""),
        (FeatureType.TIMESTAMP, "1970-01-01T00:00:01+00:00", 1_000_000),
        (FeatureType.TIMESTAMP, datetime(1969, 12, 31, 23, 59, 59, 999_999), -1),
        (FeatureType.TIMESTAMP, datetime(1970, 1, 1, tzinfo=UTC), 0),
    ],
)
def test_a_default_becomes_its_features_type(type: FeatureType, value: Any, expected: Any) -> None:
    assert checked_default(value, type) == expected


@pytest.mark.parametrize(
    ("type", "value"),
    [
        (FeatureType.BOOL, 1),
        (FeatureType.INT32, 2**31),
        (FeatureType.INT64, True),
        (FeatureType.INT64, 1.0),
        (FeatureType.DOUBLE, "1"),
        (FeatureType.DOUBLE, True),
        (FeatureType.STRING, None),
        (FeatureType.TIMESTAMP, "yesterday"),
        (FeatureType.TIMESTAMP, 5),
        (FeatureType.BYTES, "x"),
    ],
)
def test_a_default_of_another_type_is_refused(type: FeatureType, value: Any) -> None:
    with pytest.raises(ValueError):
        checked_default(value, type)


SOURCE = '''
"""Definitions."""
import math as m, json
import os.path
from collections import OrderedDict
import numpy as np
from feast import FeatureView, on_demand

A: float = 2.0
B = A * m.pi
UNUSED = FeatureView()

class Table:
    size = 3

def helper(x: FeatureView, y=B) -> FeatureView:
    local = np.abs(x)
    return [local * z for z in range(Table.size)] or helper(y)

@on_demand(sources=[UNUSED])
def wanted(inputs: dict[str, FeatureView]):
    """Make it."""
    def inner():
        return os.path.join("a", "b")
    try:
        return {"x": [helper(v) for v in inputs["x"]], "y": inner()}
    except KeyError as error:
        return {"x": str(error)}

def on_feast(inputs):
    return UNUSED.name

def on_pandas(inputs):
    import pandas
    return pandas

def on_nothing(inputs):
    return nowhere(inputs)

def on_sibling(inputs):
    from .sibling import scale
    return scale

async def later(inputs):
    return {}

not_a_function = 5
'''


def test_a_function_is_cut_out_with_what_it_needs_and_nothing_else() -> None:
    cut = cut_out(SOURCE, "wanted")
    for needed in ("import math as m", "A: float = 2.0", "B = A * m.pi", "class Table", "def helper", "import os.path"):
        assert needed in cut
    for other in ("from feast", "UNUSED", "OrderedDict", "@", "on_pandas"):
        assert other not in cut
    namespace: dict[str, Any] = {}
    exec(cut, namespace)
    assert namespace["wanted"]({"x": [-1]}) == {"x": [[0, 1, 2]], "y": "a/b"}


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("on_feast", "it needs 'feast'"),
        ("on_pandas", "it needs 'pandas'"),
        ("on_nothing", "'nowhere' is not defined"),
        ("on_sibling", "relative imports"),
        ("later", "must be a plain function"),
        ("not_a_function", "must be a plain function"),
        ("absent", "must be a plain function"),
    ],
)
def test_a_function_that_needs_more_is_refused_with_the_reason(function: str, words: str) -> None:
    with pytest.raises(SourceError, match=words):
        cut_out(SOURCE, function)
