"""Computes on-demand feature views: the functions that came with the read plan, on the values just looked up."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import numpy as np
from predmesh_bundle.read_plan import FeaturePlan, FeatureType, OnDemandPlan
from predmesh_frame.columns import Column, FrameError, moment
from predmesh_rpc.errors import FailedPrecondition

from predmesh_features.domain import FeatureColumn, Status
from predmesh_features.lookup_plan import DATA_TYPES

Values = Mapping[str, list[Any]]
"""Python values by name, as Feast hands them to functions: None where absent, timestamps as aware datetimes."""


class OnDemandView:
    """One on-demand view, ready to be computed."""

    def __init__(self, plan: OnDemandPlan, bundle_id: str = "") -> None:
        """Run the module of *plan*, which holds the function and what it needs."""
        self.plan = plan
        self._bundle_id = bundle_id
        namespace: dict[str, Any] = {"__name__": f"on_demand_{plan.name}"}
        # The bundle's own code, as trusted as its model; it was tried when the bundle was deployed.
        exec(compile(plan.module, f"<on-demand view {plan.name}>", "exec"), namespace)  # noqa: S102
        self._function: Callable[[dict[str, Any]], Mapping[str, Any]] = namespace[plan.function]

    def compute(self, values: Values, rows: int) -> list[FeatureColumn]:
        """The view's features for *rows* rows, from its inputs and the join keys in *values*.

        Raises:
            FailedPrecondition: the function failed, or made something else than it declares.
        """
        given = {name: list(column) for name, column in values.items()}
        for feature in self.plan.inputs:
            if feature.view is not None:
                given[f"{feature.view}__{feature.name}"] = list(given[feature.name])
        try:
            made = self._each(given, rows) if self.plan.singleton else self._function(given)
        except Exception as error:
            raise self._failed(f"failed with {type(error).__name__}") from error
        return [self._column(feature, made, rows) for feature in self.plan.outputs]

    def _each(self, given: Mapping[str, list[Any]], rows: int) -> dict[str, list[Any]]:
        made = [self._function({name: column[row] for name, column in given.items()}) for row in range(rows)]
        return {feature.name: [row[feature.name] for row in made] for feature in self.plan.outputs}

    def _column(self, feature: FeaturePlan, made: object, rows: int) -> FeatureColumn:
        values = made.get(feature.name) if isinstance(made, Mapping) else None
        if not isinstance(values, list | tuple | np.ndarray) or len(values) != rows:
            raise self._failed(f"made no list of {rows} values for {feature.name!r}")
        convert = _CONVERTERS[feature.type]
        try:
            found = [None if _is_null(value) else convert(value) for value in values]
            filled = [feature.default if value is None else value for value in found]
            column = Column.of(DATA_TYPES[feature.type], filled)
        except (TypeError, ValueError, FrameError):
            raise self._failed(f"made values of {feature.name!r} that are not {feature.type}") from None
        states = [Status.NULL if value is None else Status.PRESENT for value in found]
        return FeatureColumn(feature.name, self.plan.name, column, np.array(states, dtype=np.uint8))

    def _failed(self, what: str) -> FailedPrecondition:
        return FailedPrecondition(
            "ERROR_REASON_MODEL_FAILED",
            f"on-demand feature view {self.plan.name!r} {what}",
            bundleId=self._bundle_id,
            stage="features",
        )


def python_values(column: Column, type: FeatureType) -> list[Any]:
    """What a function is given for *column*."""
    values = column.to_list()
    if type is not FeatureType.TIMESTAMP:
        return values
    return [None if value is None else moment(value) for value in values]


def _is_null(value: Any) -> bool:
    # Feast takes NaN for null here, too.
    return value is None or bool(value != value)


def _whole(value: Any) -> int:
    if isinstance(value, bool):
        raise TypeError("a boolean is no number")
    return operator.index(value)


def _exactly(kind: type) -> Callable[[Any], Any]:
    def convert(value: Any) -> Any:
        if not isinstance(value, kind):
            raise TypeError(f"not {kind.__name__}")
        return value

    return convert


_CONVERTERS: dict[FeatureType, Callable[[Any], Any]] = {
    FeatureType.BOOL: lambda value: bool(value) if isinstance(value, np.bool_) else _exactly(bool)(value),
    FeatureType.INT32: _whole,
    FeatureType.INT64: _whole,
    FeatureType.FLOAT: float,
    FeatureType.DOUBLE: float,
    FeatureType.STRING: _exactly(str),
    FeatureType.BYTES: _exactly(bytes),
    FeatureType.TIMESTAMP: _exactly(datetime),
}
