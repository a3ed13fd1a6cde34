"""Looks up features: one read of the store for all views, then columns, ages and statuses."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
from predmesh_bundle.read_plan import FeaturePlan, FeatureType, ReadPlan
from predmesh_frame.columns import Column, DataType, microseconds
from predmesh_frame.frames import Frame
from predmesh_rpc.errors import FailedPrecondition, InvalidInput, Violation

from predmesh_features.domain import (
    Array,
    FeatureColumn,
    HashRead,
    HashValues,
    Lookup,
    OnlineStore,
    States,
    Status,
    ages,
    judged,
    youngest,
)
from predmesh_features.entity_keys import EntityKeys, check_keys, entity_keys
from predmesh_features.lookup_plan import Block, ViewSlots, key_groups
from predmesh_features.on_demand import OnDemandView, python_values
from predmesh_features.stored_values import DATA_TYPES, StoredValueError, decode, decode_stamps


class FeatureReader:
    """Answers lookups of one bundle."""

    def __init__(self, plan: ReadPlan, *, bundle_id: str = "", max_age_seconds: float | None = None) -> None:
        """Prepare *plan*; *max_age_seconds* is the bundle's own limit, on top of each view's."""
        self.plan = plan
        self._bundle_id = bundle_id
        self._max_age_seconds = max_age_seconds
        self._groups = key_groups(plan)
        self._on_demand = [OnDemandView(each, bundle_id) for each in plan.on_demand]

    async def lookup(
        self, frame: Frame, store: OnlineStore, *, now: datetime, max_age_seconds: float | None = None
    ) -> Lookup:
        """The features of *frame*'s rows as they stand at *now*.

        Raises:
            InvalidInput: a join key or a request-time input is missing or of another type.
            DependencyDown: the store does not answer.
            FailedPrecondition: a stored value is not what its definition says, or an on-demand function failed.
        """
        check_keys(frame, self.plan.join_keys)
        requested = self._requested(frame)
        keys = [entity_keys(group, frame) for group in self._groups]
        found = await store.read(
            [HashRead(each.keys, group.fields) for each, group in zip(keys, self._groups, strict=True)]
        )
        limit = youngest(self._max_age_seconds, max_age_seconds)
        features: dict[str, FeatureColumn] = {}
        age_seconds: dict[str, npt.NDArray[np.float64]] = {}
        for group, each, replies in zip(self._groups, keys, found, strict=True):
            for view in group.views:
                age = self._ages(view, each, replies, now)
                age_seconds[view.view.alias] = age[each.rows]
                for column in self._columns(view, each, replies, age, limit):
                    features[column.name] = column
        if self._on_demand:
            await self._compute(frame, requested, features)
        ordered = [features[name] for name in self.plan.features]
        return Lookup(frame.rows, ordered, {view.alias: age_seconds[view.alias] for view in self.plan.views}, now)

    def _ages(
        self, view: ViewSlots, keys: EntityKeys, replies: Sequence[HashValues], now: datetime
    ) -> npt.NDArray[np.float64]:
        """By key, and NaN for the key that no row has."""
        stamps = decode_stamps([*[reply[view.stamp] for reply in replies], None])
        return ages(stamps, microseconds(now))

    def _columns(
        self,
        view: ViewSlots,
        keys: EntityKeys,
        replies: Sequence[HashValues],
        age_seconds: npt.NDArray[np.float64],
        max_age_seconds: float | None,
    ) -> Iterator[FeatureColumn]:
        limit = youngest(view.view.ttl_seconds, max_age_seconds)
        for block in view.blocks:
            values, states = self._decoded(view, block, replies)
            by_row = np.ascontiguousarray(values[:, keys.rows])
            states = np.ascontiguousarray(judged(states, age_seconds, limit)[:, keys.rows])
            complete = bool((states == Status.PRESENT).all())
            for feature, value, state in zip(block.features, by_row, states, strict=True):
                column = Column(DATA_TYPES[feature.type], value) if complete else filled(feature, value, state)
                yield FeatureColumn(feature.name, view.view.alias, column, state)

    def _decoded(self, view: ViewSlots, block: Block, replies: Sequence[HashValues]) -> tuple[Array, States]:
        """(features, keys + 1) values and states of *block*; the last is the key that no row has."""
        width = len(block.features)
        start, stop = block.start, block.stop
        flat = [value for reply in replies for value in reply[start:stop]] + [None] * width
        try:
            values, states = decode(block.type, flat)
        except StoredValueError as error:
            feature = block.features[error.index % width].name
            raise FailedPrecondition(
                "ERROR_REASON_MODEL_FAILED",
                f"feature {feature!r} of view {view.view.name!r}, defined as {block.type}, {error.reason};"
                " materialise the view again",
                bundleId=self._bundle_id,
                stage="features",
                feature=feature,
            ) from None
        shape = (len(replies) + 1, width)
        return values.reshape(shape).T, states.reshape(shape).T

    def _requested(self, frame: Frame) -> dict[str, Column]:
        """What on-demand views take from the caller."""
        columns: dict[str, Column] = {}
        violations = []
        for given in self.plan.request_inputs:
            column = frame.columns.get(given.name)
            if column is None or column.row_shape:
                violations.append(Violation(given.name, "is missing; an on-demand view takes it, one value a row"))
            elif (fitting := fitted(column, given.type)) is None:
                violations.append(Violation(given.name, f"is {column.type.name.lower()}; it must be {given.type}"))
            else:
                columns[given.name] = fitting
        if violations:
            raise InvalidInput(
                "ERROR_REASON_INVALID_REQUEST", "the request-time inputs do not fit", violations=violations
            )
        return columns

    async def _compute(self, frame: Frame, requested: Mapping[str, Column], features: dict[str, FeatureColumn]) -> None:
        """Add the on-demand features; their functions may take a while, so they run beside the loop."""
        keys = {key.column: python_values(frame.columns[key.column], key.type) for key in self.plan.join_keys}
        for view in self._on_demand:
            values: dict[str, list[Any]] = dict(keys)
            for given in view.plan.inputs:
                column = requested[given.name] if given.view is None and given.name not in keys else None
                if column is None and given.name in features:
                    column = features[given.name].column
                if column is not None:
                    values[given.name] = python_values(column, given.type)
            for made in await asyncio.to_thread(view.compute, values, frame.rows):
                features[made.name] = made


def filled(feature: FeaturePlan, values: Array, states: States) -> Column:
    """The column a model is given: the default where a value cannot be trusted, else nothing there."""
    type = DATA_TYPES[feature.type]
    present = states == Status.PRESENT
    if present.all():
        return Column(type, values)
    complete = np.array(values, dtype=type.numpy)
    if feature.default is not None:
        complete[~present] = feature.default
        return Column(type, complete)
    complete[~present] = np.nan if complete.dtype.kind == "f" else type.empty
    return Column(type, complete, present)


_WIDENS = {
    DataType.INT64: {DataType.INT32},
    DataType.DOUBLE: {DataType.FLOAT, DataType.INT32, DataType.INT64},
    DataType.FLOAT: {DataType.INT32, DataType.INT64},
}


def fitted(column: Column, type: FeatureType) -> Column | None:
    """*column* as one of *type*, where a number of its type is also one of that; None otherwise."""
    wanted = DATA_TYPES[type]
    if column.type is wanted:
        return column
    if column.type not in _WIDENS.get(wanted, ()):
        return None
    return Column(wanted, column.values.astype(wanted.numpy), column.valid)
