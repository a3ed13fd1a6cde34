"""Looks up features: one read of the store for all views, then columns, ages and statuses."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
from predmesh_bundle.read_plan import FeatureType, ReadPlan
from predmesh_frame.columns import Column, DataType, microseconds
from predmesh_frame.frames import Frame
from predmesh_rpc.errors import FailedPrecondition, InvalidInput, Violation

from predmesh_features.domain import (
    Ages,
    Array,
    FeatureBlock,
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
from predmesh_features.lookup_plan import DATA_TYPES, Block, KeyGroup, lookup_plan
from predmesh_features.on_demand import OnDemandView, python_values
from predmesh_features.stored_values import StoredValueError, decode, decode_stamps

_PRESENT = np.uint8(Status.PRESENT)


class FeatureReader:
    """Answers lookups of one bundle."""

    def __init__(self, plan: ReadPlan, *, bundle_id: str = "", max_age_seconds: float | None = None) -> None:
        """Prepare *plan*; *max_age_seconds* is the bundle's own limit, on top of each view's."""
        self.plan = plan
        self._bundle_id = bundle_id
        self._max_age_seconds = max_age_seconds
        self._plan = lookup_plan(plan)
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
        prepared = self._plan
        keys = [entity_keys(group, frame) for group in prepared.groups]
        found = await store.read(
            [HashRead(each.keys, group.fields) for each, group in zip(keys, prepared.groups, strict=True)]
        )
        stored = [Replies.of(*each) for each in zip(prepared.groups, keys, found, strict=True)]
        age_seconds = self._ages(stored, frame.rows, now)
        limit = youngest(self._max_age_seconds, max_age_seconds)
        limits = prepared.limits if limit is None else np.minimum(prepared.limits, limit)
        doubt = None if (age_seconds <= limits).all() else (age_seconds, limits)
        blocks = [self._block(each, stored, frame.rows, doubt) for each in prepared.blocks]
        computed = await self._compute(frame, requested, blocks) if self._on_demand else ()
        answered = [
            made.only(block.answered)
            for block, made in zip(prepared.blocks, blocks, strict=True)
            if block.answered is None or block.answered.size
        ]
        return Lookup(frame.rows, answered, computed, self.plan.features, prepared.views, age_seconds, now)

    def _ages(self, stored: Sequence[Replies], rows: int, now: datetime) -> Ages:
        """(views, rows), each as old as its key's event time."""
        places = [
            (each, stamp) for each, group in zip(stored, self._plan.groups, strict=True) for stamp in group.stamps
        ]
        flat = decode_stamps([values[stamp.field] for each, stamp in places for values in each.values])
        by_key = ages(flat, microseconds(now))
        by_row = np.empty((len(places), rows))
        start = 0
        for each, stamp in places:
            stop = start + len(each.values)
            by_row[stamp.view] = by_key[start:stop][each.rows]
            start = stop
        return by_row

    def _block(
        self, block: Block, stored: Sequence[Replies], rows: int, doubt: tuple[Ages, Ages] | None
    ) -> FeatureBlock:
        """The features of *block*, judged by ages and limits of all views where those are in *doubt*."""
        values, states = self._decoded(block, stored, rows)
        if doubt is not None:
            age_seconds, limits = doubt
            states = judged(states, age_seconds[block.views], limits[block.views])
        type = DATA_TYPES[block.type]
        present = states == _PRESENT
        if present.all():
            return FeatureBlock(block.names, block.aliases, type, values, None, None)
        valid = present | block.declared
        complete = np.where(present, values, block.fills)
        return FeatureBlock(block.names, block.aliases, type, complete, None if valid.all() else valid, states)

    def _decoded(self, block: Block, stored: Sequence[Replies], rows: int) -> tuple[Array, States]:
        """(features, rows) values and states; each key is decoded once, whatever the number of its rows."""
        flat: list[bytes | None] = []
        for segment in block.segments:
            for values in stored[segment.group].values:
                flat += values[segment.start : segment.stop]
        try:
            found, states = decode(block.type, flat)
        except StoredValueError as error:
            raise self._misfit(block, stored, error) from None
        if rows == 1:  # Then every group has one key, and all stands where it belongs.
            return found.reshape(-1, 1), states.reshape(-1, 1)
        return _spread(block, stored, rows, found), _spread(block, stored, rows, states)

    def _misfit(self, block: Block, stored: Sequence[Replies], error: StoredValueError) -> FailedPrecondition:
        index = error.index
        for segment in block.segments:
            size = segment.width * len(stored[segment.group].values)
            if index < size:
                break
            index -= size
        position = segment.first + index % segment.width
        feature, view = block.names[position], self.plan.views[block.views[position]].name
        return FailedPrecondition(
            "ERROR_REASON_MODEL_FAILED",
            f"feature {feature!r} of view {view!r}, defined as {block.type}, {error.reason};"
            " materialise the view again",
            bundleId=self._bundle_id,
            stage="features",
            feature=feature,
        )

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

    async def _compute(
        self, frame: Frame, requested: Mapping[str, Column], blocks: Sequence[FeatureBlock]
    ) -> list[FeatureColumn]:
        """The on-demand features; their functions may take a while, so they run beside the loop."""
        features = {each.name: each for block in blocks for each in block.features()}
        keys = {key.column: python_values(frame.columns[key.column], key.type) for key in self.plan.join_keys}
        computed: list[FeatureColumn] = []
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
                computed.append(made)
        answered = frozenset(self.plan.features)
        return [each for each in computed if each.name in answered]


@dataclass(frozen=True, slots=True)
class Replies:
    """What the store said of one group.

    Attributes:
        values: one a key, and last, where rows have no key, what nobody has.
        rows: (rows,) which of them is each row's.
    """

    values: Sequence[HashValues]
    rows: npt.NDArray[np.intp]

    @classmethod
    def of(cls, group: KeyGroup, keys: EntityKeys, found: Sequence[HashValues]) -> Replies:
        """The replies *found* for *keys*."""
        if not keys.incomplete:
            return cls(found, keys.rows)
        return cls([*found, [None] * len(group.fields)], keys.rows)


def _spread(block: Block, stored: Sequence[Replies], rows: int, by_key: Array) -> Array:
    """(features, rows) of what was decoded key by key, segment by segment."""
    spread = np.empty((len(block.features), rows), dtype=by_key.dtype)
    start = 0
    for segment in block.segments:
        replies, width = stored[segment.group], segment.width
        stop = start + len(replies.values) * width
        table = by_key[start:stop].reshape(-1, width)
        spread[segment.first : segment.first + width] = table[replies.rows].T
        start = stop
    return spread


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
