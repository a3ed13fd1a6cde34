"""A read plan made ready for its lookups: which hashes to ask, for which fields, and where each value goes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt
from predmesh_bundle.read_plan import FeaturePlan, FeatureType, JoinKey, ReadPlan, StoredFeaturePlan, ViewPlan
from predmesh_frame.columns import DataType, object_array

from predmesh_features.feast_layout import ENTITYLESS, feature_field, key_order, key_prefix, stamp_field

DATA_TYPES = {type: DataType[type.name] for type in FeatureType}
"""Types of columns by those of features."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """Where the event time of one view stands among the fields of its group, and the view among those of the plan."""

    view: int
    field: int


@dataclass(frozen=True, slots=True)
class KeyGroup:
    """Views of the same entities: Feast keeps them in one hash, so that one read takes all.

    Attributes:
        join_keys: in the order of the store's keys.
        prefix: what stands before the values in every key.
        project: what stands after them.
        fields: names of all fields to read.
        stamps: where the event times of its views stand.
    """

    join_keys: tuple[JoinKey, ...]
    prefix: bytes
    project: bytes
    fields: tuple[bytes, ...]
    stamps: tuple[Stamp, ...]

    @property
    def entityless(self) -> bool:
        """Whether one row holds for everyone."""
        return self.join_keys == ENTITYLESS


@dataclass(frozen=True, slots=True)
class Segment:
    """The part of a block that one group's hashes hold.

    Attributes:
        group: position of the group.
        width: number of features.
        first: position of the first feature in the block.
        fields: where the block's values stand among those of a hash.
    """

    group: int
    width: int
    first: int
    fields: slice


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """All features of one type, whatever their views: they are decoded together.

    Attributes:
        type: of every value.
        features: in the order of the segments.
        names: of the features.
        aliases: name of each feature's view, as answers tell it.
        views: (features,) position of each feature's view in the plan.
        segments: where the values come from.
        fills: (features, 1) what stands where a value cannot be trusted.
        declared: (features, 1) whether that is a declared default.
        answered: positions of the features that lookups answer with; None when all are.
    """

    type: FeatureType
    features: tuple[FeaturePlan, ...]
    names: tuple[str, ...]
    aliases: tuple[str, ...]
    views: npt.NDArray[np.intp]
    segments: tuple[Segment, ...]
    fills: npt.NDArray[Any]
    declared: npt.NDArray[np.bool_]
    answered: npt.NDArray[np.intp] | None


@dataclass(frozen=True, slots=True)
class Loner:
    """A feature that is decoded by itself: a list, or what no column can hold.

    Attributes:
        feature: what it is.
        alias: name of its view, as answers tell it.
        view: position of its view in the plan.
        group: position of its group.
        field: position of its value among the group's fields.
        answered: whether lookups answer with it.
    """

    feature: FeaturePlan | StoredFeaturePlan
    alias: str
    view: int
    group: int
    field: int
    answered: bool


@dataclass(frozen=True, slots=True, eq=False)
class LookupPlan:
    """What a lookup needs of a read plan.

    Attributes:
        groups: the hashes to read, as few as there are.
        blocks: what to make of their single values.
        loners: their other values.
        views: names of the views, as answers tell them.
        limits: (views, 1) oldest age in seconds at which a view's values count.
    """

    groups: tuple[KeyGroup, ...]
    blocks: tuple[Block, ...]
    loners: tuple[Loner, ...]
    views: tuple[str, ...]
    limits: npt.NDArray[np.float64]


def lookup_plan(plan: ReadPlan) -> LookupPlan:
    """*plan*, made ready."""
    positions: dict[tuple[JoinKey, ...], list[int]] = {}
    for position, view in enumerate(plan.views):
        positions.setdefault(key_order(view.join_keys), []).append(position)
    placed = [_placed(plan.views, each) for each in positions.values()]
    groups = tuple(
        KeyGroup(keys, key_prefix(keys), plan.project.encode(), *_fields(plan.views, features, positions[keys]))
        for keys, features in zip(positions, placed, strict=True)
    )
    types = sorted({feature.type for features in placed for _, feature in features if _in_block(feature)})
    limits = [[math.inf if view.ttl_seconds is None else view.ttl_seconds] for view in plan.views]
    aliases = tuple(view.alias for view in plan.views)
    answered = frozenset(plan.features)
    return LookupPlan(
        groups,
        tuple(_block(type, placed, aliases, answered) for type in types),
        tuple(_loners(placed, aliases, answered)),
        aliases,
        np.array(limits, dtype=np.float64).reshape(-1, 1),
    )


_Placed = list[tuple[int, FeaturePlan | StoredFeaturePlan]]
"""Features with the positions of their views, in the order of a group's fields."""


def _in_block(feature: FeaturePlan | StoredFeaturePlan) -> TypeGuard[FeaturePlan]:
    return isinstance(feature, FeaturePlan) and not feature.row_shape


def _placed(views: Sequence[ViewPlan], positions: Sequence[int]) -> _Placed:
    """Single values of one type side by side, then the others."""
    features: _Placed = [(position, feature) for position in positions for feature in views[position].features]
    features += [(position, feature) for position in positions for feature in views[position].stored]
    return sorted(features, key=lambda each: each[1].type if _in_block(each[1]) else "~")


def _fields(
    views: Sequence[ViewPlan], features: _Placed, positions: Sequence[int]
) -> tuple[tuple[bytes, ...], tuple[Stamp, ...]]:
    fields = [feature_field(views[position].name, feature.name) for position, feature in features]
    stamps = tuple(Stamp(position, len(fields) + index) for index, position in enumerate(positions))
    return (*fields, *(stamp_field(views[position].name) for position in positions)), stamps


def _block(type: FeatureType, groups: Sequence[_Placed], aliases: Sequence[str], answered: frozenset[str]) -> Block:
    found: list[tuple[int, FeaturePlan]] = []
    segments = []
    for group, features in enumerate(groups):
        mine = [
            (field, view, feature)
            for field, (view, feature) in enumerate(features)
            if _in_block(feature) and feature.type is type
        ]
        if mine:
            start = mine[0][0]
            segments.append(Segment(group, len(mine), len(found), slice(start, start + len(mine))))
            found += [(view, feature) for _, view, feature in mine]
    wanted = [index for index, (_, feature) in enumerate(found) if feature.name in answered]
    return Block(
        type,
        tuple(feature for _, feature in found),
        tuple(feature.name for _, feature in found),
        tuple(aliases[position] for position, _ in found),
        np.array([position for position, _ in found], dtype=np.intp),
        tuple(segments),
        _fills(type, [feature.default for _, feature in found]),
        np.array([[feature.default is not None] for _, feature in found], dtype=np.bool_),
        None if len(wanted) == len(found) else np.array(wanted, dtype=np.intp),
    )


def _loners(groups: Sequence[_Placed], aliases: Sequence[str], answered: frozenset[str]) -> Iterator[Loner]:
    for group, features in enumerate(groups):
        for field, (view, feature) in enumerate(features):
            if not _in_block(feature):
                asked = isinstance(feature, StoredFeaturePlan) or feature.name in answered
                yield Loner(feature, aliases[view], view, group, field, asked)


def _fills(type: FeatureType, defaults: Sequence[Any]) -> npt.NDArray[Any]:
    dtype = DATA_TYPES[type].numpy
    nothing = math.nan if dtype.kind == "f" else DATA_TYPES[type].empty
    values = [nothing if default is None else default for default in defaults]
    shape = (len(values), 1)
    return object_array(values, shape) if dtype.hasobject else np.array(values, dtype=dtype).reshape(shape)
