"""On-demand views: what their functions are given, and what may come of them."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import Any

import pytest
from predmesh_bundle.read_plan import FeaturePlan, FeatureType, OnDemandInput, OnDemandPlan
from predmesh_features.domain import Status
from predmesh_features.on_demand import OnDemandView, python_values
from predmesh_frame.columns import Column, DataType
from predmesh_rpc.errors import FailedPrecondition

DOUBLE = FeatureType.DOUBLE


def view(
    body: str, *, singleton: bool = False, type: FeatureType = FeatureType.DOUBLE, default: Any = None
) -> OnDemandView:
    plan = OnDemandPlan(
        name="made",
        module=f"SCALE = 2\n\ndef make(inputs):\n    {body}\n",
        function="make",
        singleton=singleton,
        inputs=(
            OnDemandInput(name="a", type=FeatureType.DOUBLE, view="base"),
            OnDemandInput(name="b", type=FeatureType.INT64),
        ),
        outputs=(FeaturePlan(name="out", type=type, default=default),),
    )
    return OnDemandView(plan, "b-1")


GIVEN: dict[str, list[Any]] = {"a": [1.0, None, 3.0], "b": [1, 2, 3], "key": ["x", "y", "z"]}


def test_a_function_is_given_lists_short_and_full_names_and_join_keys() -> None:
    body = "return {'out': [0.0 if k == 'y' else x * SCALE for k, x in zip(inputs['key'], inputs['base__a'])]}"
    (column,) = view(body).compute(GIVEN, 3)
    assert column.column.to_list() == [2.0, 0.0, 6.0]
    assert (column.view, column.statuses.tolist()) == ("made", [Status.PRESENT] * 3)


def test_a_singleton_function_is_given_each_rows_values() -> None:
    (column,) = view(
        "return {'out': None if inputs['a'] is None else inputs['a'] + inputs['b']}", singleton=True
    ).compute(GIVEN, 3)
    assert column.column.to_list() == [2.0, None, 6.0]
    assert column.statuses.tolist() == [Status.PRESENT, Status.NULL, Status.PRESENT]


def test_nothing_and_nan_are_null_and_take_the_default() -> None:
    (column,) = view("return {'out': [None, float('nan'), 1.0]}", default=9.0).compute(GIVEN, 3)
    assert column.column.to_list() == [9.0, 9.0, 1.0]
    assert column.statuses.tolist() == [Status.NULL, Status.NULL, Status.PRESENT]


def test_a_function_cannot_change_what_others_are_given() -> None:
    given = {name: list(values) for name, values in GIVEN.items()}
    view("inputs['a'].clear(); return {'out': [1.0] * 3}").compute(given, 3)
    assert given == GIVEN


@pytest.mark.parametrize(
    ("type", "values"),
    [
        (FeatureType.BOOL, [True, None, False]),
        (FeatureType.INT32, [1, -1, 2**31 - 1]),
        (FeatureType.INT64, [2**63 - 1, 0, None]),
        (FeatureType.FLOAT, [1.5, 2, None]),
        (FeatureType.STRING, ["", "é", None]),
        (FeatureType.BYTES, [b"", b"x", None]),
    ],
)
def test_a_function_may_make_any_type(type: FeatureType, values: list[Any]) -> None:
    (column,) = view(f"return {{'out': {values!r}}}", type=type).compute(GIVEN, 3)
    assert column.column.to_list() == values


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("raise ValueError('a secret')", "failed with ValueError"),
        ("return {'out': [1.0]}", "made no list of 3 values for 'out'"),
        ("return {'other': [1.0] * 3}", "made no list of 3 values for 'out'"),
        ("return {'out': ['x'] * 3}", "made values of 'out' that are not double"),
        ("return None", "made no list of 3 values for 'out'"),
    ],
)
def test_a_function_that_fails_is_told_by_its_view(body: str, words: str) -> None:
    with pytest.raises(FailedPrecondition, match=words) as caught:
        view(body).compute(GIVEN, 3)
    assert caught.value.metadata == {"bundleId": "b-1", "stage": "features"}
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("type", "value"), [("INT64", 1.5), ("INT32", 2**31), ("BOOL", 1), ("STRING", b"x"), ("INT64", True)]
)
def test_a_value_that_is_not_of_the_declared_type_is_refused(type: str, value: Any) -> None:
    with pytest.raises(FailedPrecondition, match="that are not"):
        view(f"return {{'out': [{value!r}] * 3}}", type=FeatureType[type]).compute(GIVEN, 3)


def test_timestamps_are_given_as_aware_datetimes() -> None:
    column = Column.of(DataType.TIMESTAMP, [datetime(2013, 1, 1, tzinfo=UTC), None])
    assert python_values(column, FeatureType.TIMESTAMP) == [datetime(2013, 1, 1, tzinfo=UTC), None]


def test_two_views_of_the_same_source_share_nothing() -> None:
    body = "global SCALE; SCALE += 1; return {'out': [float(SCALE)] * 3}"
    first, second = view(body), OnDemandView(dataclasses.replace(view(body).plan, name="other"))
    first.compute(GIVEN, 3)
    assert second.compute(GIVEN, 3)[0].column.to_list() == [3.0] * 3
