"""A read plan made ready for its lookups: which hashes to ask, for which fields, and where each value stands."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from predmesh_bundle.read_plan import FeaturePlan, FeatureType, JoinKey, ReadPlan, ViewPlan

from predmesh_features.feast_layout import ENTITYLESS, feature_field, key_order, key_prefix, stamp_field


@dataclass(frozen=True, slots=True)
class Block:
    """Features of one view and one type, which stand side by side among the fields and are decoded together."""

    type: FeatureType
    start: int
    features: tuple[FeaturePlan, ...]

    @property
    def stop(self) -> int:
        """Position after the last one."""
        return self.start + len(self.features)


@dataclass(frozen=True, slots=True)
class ViewSlots:
    """Where the values of one view stand among the fields of its group."""

    view: ViewPlan
    blocks: tuple[Block, ...]
    stamp: int


@dataclass(frozen=True, slots=True)
class KeyGroup:
    """Views of the same entities: Feast keeps them in one hash, so that one read takes all.

    Attributes:
        join_keys: in the order of the store's keys.
        prefix: what stands before the values in every key.
        project: what stands after them.
        fields: names of all fields to read.
        views: the views, with the places of their values.
    """

    join_keys: tuple[JoinKey, ...]
    prefix: bytes
    project: bytes
    fields: tuple[bytes, ...]
    views: tuple[ViewSlots, ...]

    @property
    def entityless(self) -> bool:
        """Whether one row holds for everyone."""
        return self.join_keys == ENTITYLESS


def key_groups(plan: ReadPlan) -> tuple[KeyGroup, ...]:
    """The hashes to read for *plan*, as few as there are."""
    by_keys: dict[tuple[JoinKey, ...], list[ViewPlan]] = {}
    for view in plan.views:
        by_keys.setdefault(key_order(view.join_keys), []).append(view)
    return tuple(_group(plan.project, keys, views) for keys, views in by_keys.items())


def _group(project: str, keys: tuple[JoinKey, ...], views: Sequence[ViewPlan]) -> KeyGroup:
    fields: list[bytes] = []
    slots = [_slots(view, fields) for view in views]
    return KeyGroup(keys, key_prefix(keys), project.encode(), tuple(fields), tuple(slots))


def _slots(view: ViewPlan, fields: list[bytes]) -> ViewSlots:
    """The slots of *view*, whose fields are added to *fields*."""
    blocks = []
    ordered = sorted(view.features, key=lambda feature: feature.type)
    for type, features in itertools.groupby(ordered, key=lambda feature: feature.type):
        block = Block(type, len(fields), tuple(features))
        fields += [feature_field(view.name, feature.name) for feature in block.features]
        blocks.append(block)
    fields.append(stamp_field(view.name))
    return ViewSlots(view, tuple(blocks), len(fields) - 1)
