"""Looks up features: one read of the store for all views, then columns, ages and statuses."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
from predmesh.features.v1.stored_value_pb2 import StoredValue
from predmesh_bundle.read_plan import FeaturePlan, FeatureType, ReadPlan, StoredFeaturePlan
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
    StoredFeature,
    ages,
    judged,
    youngest,
)
from predmesh_features.entity_keys import EntityKeys, check_keys, entity_keys
from predmesh_features.lookup_plan import DATA_TYPES, Block, KeyGroup, lookup_plan
from predmesh_features.on_demand import OnDemandView, python_values
from predmesh_features.row_cache import RowCache
from predmesh_features.stored_lists import decode_lists, decode_messages
from predmesh_features.stored_values import Stored, StoredValueError, decode, decode_stamps

_PRESENT = np.uint8(Status.PRESENT)
_UNAVAILABLE = np.uint8(Status.UNAVAILABLE)
_NOTHING = StoredValue()


class FeatureReader:
    """Answers lookups of one bundle."""

    def __init__(
        self,
        plan: ReadPlan,
        *,
        bundle_id: str = "",
        max_age_seconds: float | None = None,
        cache: RowCache | None = None,
    ) -> None:
        """Prepare *plan*; *max_age_seconds* is the bundle's own limit, on top of each view's; *cache* keeps rows."""
        self.plan = plan
        self._bundle_id = bundle_id
        self._max_age_seconds = max_age_seconds
        self._cache = cache
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
        reads = [HashRead(each.keys, group.fields) for each, group in zip(keys, prepared.groups, strict=True)]
        cached = None if self._cache is None else await self._cache.read(store, reads)
        found = await store.read(reads) if cached is None else cached.values
        replies = [Replies.of(*each) for each in zip(prepared.groups, keys, found, strict=True)]
        age_seconds = self._ages(replies, frame.rows, now)
        limit = youngest(self._max_age_seconds, max_age_seconds)
        limits = prepared.limits if limit is None else np.minimum(prepared.limits, limit)
        down = self._down(replies, frame.rows)
        sure = down is None and (age_seconds <= limits).all()
        doubt = None if sure else Doubt(age_seconds, limits, down)
        blocks = [self._block(each, replies, frame.rows, doubt) for each in prepared.blocks]
        lists, stored = self._lone(replies, doubt) if prepared.loners else ([], [])
        single = [each for each, answered in lists if answered]
        if self._on_demand:
            single += await self._compute(frame, requested, blocks, [each for each, _ in lists])
        answered = [
            made.only(block.answered)
            for block, made in zip(prepared.blocks, blocks, strict=True)
            if block.answered is None or block.answered.size
        ]
        read_ages = None if cached is None else self._spread_read_ages(replies, frame.rows, cached.ages)
        return Lookup(
            frame.rows, answered, single, stored, self.plan.features, prepared.views, age_seconds, now, read_ages
        )

    def forget(self, keys: Collection[bytes]) -> None:
        """Ask the store for the rows of *keys* anew: they have been written."""
        if self._cache is not None:
            self._cache.forget(keys)

    def _ages(self, replies: Sequence[Replies], rows: int, now: datetime) -> Ages:
        """(views, rows), each as old as its key's event time."""
        places = [
            (each, stamp) for each, group in zip(replies, self._plan.groups, strict=True) for stamp in group.stamps
        ]
        events = np.empty((len(places), rows), dtype=np.int64)
        for each, stamp in places:
            events[stamp.view] = each.spread(decode_stamps(each.columns[stamp.field]))
        return ages(events, microseconds(now))

    def _spread_read_ages(self, replies: Sequence[Replies], rows: int, by_key: Sequence[Ages]) -> Ages | None:
        """(views, rows) seconds since each row was read; None when all were read now."""
        if not any(each.any() for each in by_key):
            return None
        spread = np.empty((len(self._plan.views), rows))
        for each, group, seconds in zip(replies, self._plan.groups, by_key, strict=True):
            padded = np.append(seconds, np.zeros(each.keys - len(seconds)))
            spread[[stamp.view for stamp in group.stamps]] = each.spread(padded)
        return spread

    def _down(self, replies: Sequence[Replies], rows: int) -> npt.NDArray[np.bool_] | None:
        """(views, rows) whether the server that has a row's key does not answer; None when all do."""
        if all(each.down is None for each in replies):
            return None
        down = np.zeros((len(self._plan.views), rows), dtype=np.bool_)
        for each, group in zip(replies, self._plan.groups, strict=True):
            if each.down is not None:
                down[[stamp.view for stamp in group.stamps]] = each.spread(each.down)
        return down

    def _block(self, block: Block, replies: Sequence[Replies], rows: int, doubt: Doubt | None) -> FeatureBlock:
        """The features of *block*, judged by ages and limits of all views where those are in *doubt*."""
        values, states = self._decoded(block, replies, rows)
        type = DATA_TYPES[block.type]
        if doubt is not None:
            present = np.broadcast_to(_PRESENT, values.shape)
            states = doubt.judged(present if states is None else states, block.views)
        if states is None or (states == _PRESENT).all():
            return FeatureBlock(block.names, block.aliases, type, values, None, None)
        present = states == _PRESENT
        valid = present | block.declared
        complete = np.where(present, values, block.fills)
        return FeatureBlock(block.names, block.aliases, type, complete, None if valid.all() else valid, states)

    def _decoded(self, block: Block, replies: Sequence[Replies], rows: int) -> tuple[Array, States | None]:
        """(features, rows) values and states, None where all are PRESENT; each key is decoded once."""
        flat: list[bytes | None] = []
        for segment in block.segments:
            flat += chain.from_iterable(replies[segment.group].columns[segment.fields])
        try:
            found, states = decode(block.type, flat)
        except StoredValueError as error:
            raise self._misfit_in(block, replies, error) from None
        present = states.max() == _PRESENT  # The smallest of the statuses.
        if rows == 1:  # Then every group has one key, and all stands where it belongs.
            return found.reshape(-1, 1), None if present else states.reshape(-1, 1)
        return _spread(block, replies, rows, found), None if present else _spread(block, replies, rows, states)

    def _lone(
        self, replies: Sequence[Replies], doubt: Doubt | None
    ) -> tuple[list[tuple[FeatureColumn, bool]], list[StoredFeature]]:
        """Lists, and whether each is answered with; and what no column can hold."""
        lists, stored = [], []
        for each in self._plan.loners:
            feature, found = each.feature, replies[each.group]
            values = found.columns[each.field]
            try:
                if isinstance(feature, StoredFeaturePlan):
                    messages, states = decode_messages(feature.stored_as, values)
                    states = found.spread(states) if doubt is None else doubt.judged(found.spread(states), each.view)
                    spread = [messages[row] for row in found.rows.tolist()]
                    kept = [m if state == _PRESENT else _NOTHING for m, state in zip(spread, states, strict=True)]
                    stored.append(StoredFeature(feature.name, kept, states))
                else:
                    table, states = decode_lists(feature, values)
                    states = found.spread(states) if doubt is None else doubt.judged(found.spread(states), each.view)
                    lists.append((_list_column(feature, each.alias, found.spread(table), states), each.answered))
            except StoredValueError as error:
                kind = feature.feast_type if isinstance(feature, StoredFeaturePlan) else f"a list of {feature.type}"
                raise self._misfit(feature.name, each.view, kind, error.reason) from None
        return lists, stored

    def _misfit_in(self, block: Block, replies: Sequence[Replies], error: StoredValueError) -> FailedPrecondition:
        index = error.index
        for segment in block.segments:
            keys = replies[segment.group].keys
            if index < segment.width * keys:
                break
            index -= segment.width * keys
        position = segment.first + index // keys
        return self._misfit(block.names[position], int(block.views[position]), block.type, error.reason)

    def _misfit(self, feature: str, view: int, kind: str, reason: str) -> FailedPrecondition:
        return FailedPrecondition(
            "ERROR_REASON_MODEL_FAILED",
            f"feature {feature!r} of view {self.plan.views[view].name!r}, defined as {kind}, {reason};"
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
        self,
        frame: Frame,
        requested: Mapping[str, Column],
        blocks: Sequence[FeatureBlock],
        lists: Sequence[FeatureColumn],
    ) -> list[FeatureColumn]:
        """The on-demand features; their functions may take a while, so they run beside the loop."""
        features = {each.name: each for block in blocks for each in block.features()}
        features |= {each.name: each for each in lists}
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


@dataclass(frozen=True, slots=True, eq=False)
class Doubt:
    """What may make stored values not to be trusted.

    Attributes:
        ages: (views, rows) seconds.
        limits: (views, 1) oldest age at which a view's values count.
        down: (views, rows) whether the server that has the values does not answer; None when all do.
    """

    ages: Ages
    limits: Ages
    down: npt.NDArray[np.bool_] | None

    def judged(self, states: States, views: npt.NDArray[np.intp] | int) -> States:
        """The *states* of values of *views* (…, rows), now that it is known."""
        found = judged(states, self.ages[views], self.limits[views])
        return found if self.down is None else np.where(self.down[views], _UNAVAILABLE, found)


@dataclass(frozen=True, slots=True)
class Replies:
    """What the store said of one group.

    Attributes:
        keys: how many, and one for what nobody has where rows have no key.
        columns: (fields, keys) values, key by key, field by field.
        rows: (rows,) which key is each row's.
        in_order: whether that is the first for the first row, and so on.
        down: (keys,) whether the server that has the key does not answer; None when all do.
    """

    keys: int
    columns: Sequence[Stored]
    rows: npt.NDArray[np.intp]
    in_order: bool
    down: npt.NDArray[np.bool_] | None

    @classmethod
    def of(cls, group: KeyGroup, keys: EntityKeys, found: Sequence[HashValues | None]) -> Replies:
        """The replies *found* for *keys*."""
        nothing = (None,) * len(group.fields)
        known, down = found, None
        if keys.incomplete:
            known = [*found, nothing]
        if not all(known):  # Whoever answers for a key says something of each field.
            down = np.array([each is None for each in known])
            known = [nothing if each is None else each for each in known]
        columns = list(zip(*known, strict=True)) or [()] * len(group.fields)
        return cls(len(known), columns, keys.rows, keys.in_order, down)

    def spread(self, by_key: Array) -> Array:
        """(rows, …) of what is (keys, …)."""
        return by_key if self.in_order else by_key[self.rows]


def _spread(block: Block, replies: Sequence[Replies], rows: int, by_key: Array) -> Array:
    """(features, rows) of what was decoded key by key, segment by segment."""
    spread = np.empty((len(block.features), rows), dtype=by_key.dtype)
    start = 0
    for segment in block.segments:
        found, width = replies[segment.group], segment.width
        stop = start + found.keys * width
        part = by_key[start:stop].reshape(width, -1)
        spread[segment.first : segment.first + width] = part if found.in_order else part[:, found.rows]
        start = stop
    return spread


def _list_column(feature: FeaturePlan, alias: str, values: Array, states: States) -> FeatureColumn:
    type, present = DATA_TYPES[feature.type], states == _PRESENT
    if present.all():
        return FeatureColumn(feature.name, alias, Column(type, values), states)
    nothing = np.nan if values.dtype.kind == "f" else type.empty
    complete = np.where(present[:, np.newaxis], values, np.array(nothing, dtype=values.dtype))
    return FeatureColumn(feature.name, alias, Column(type, complete, present), states)


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
