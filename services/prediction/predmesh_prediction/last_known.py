"""The feature values last seen of each entity, for bundles that answer with them while the features are down."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from predmesh_bundle.read_plan import ReadPlan, ViewPlan
from predmesh_frame import Column, DataType, Frame


@dataclass(frozen=True, slots=True)
class Feature:
    """One feature as the read plan has it."""

    name: str
    type: DataType
    default: Any
    row_shape: tuple[int, ...] = ()

    def column(self, values: Sequence[Any]) -> Column:
        """A column of *values*, None where there is none."""
        return Column.of(self.type, values, self.row_shape)


def features_of(plan: ReadPlan) -> tuple[Feature, ...]:
    """The features of *plan*, in the order of its feature service."""
    return tuple(
        Feature(feature.name, DataType[feature.type.upper()], feature.default, feature.row_shape)
        for _, feature in plan.described()
    )


def defaults(features: Iterable[Feature], rows: int) -> Frame:
    """*rows* rows of the declared defaults; a feature without one is absent."""
    return Frame(rows, {each.name: each.column([each.default] * rows) for each in features})


@dataclass(slots=True)
class LastKnown:
    """Keeps the values of the entities seen last, view by view; the oldest is forgotten first."""

    plan: ReadPlan
    max_entities: int = 10_000
    """Entities kept of each view."""
    _views: dict[str, OrderedDict[tuple[Any, ...], tuple[Any, ...]]] = field(default_factory=dict)

    def remember(self, keys: Frame, features: Frame) -> None:
        """Keep the *features* of the entities in *keys*, row by row."""
        for view in self.plan.views:
            names = self._asked(view)
            if not names:
                continue
            kept = self._views.setdefault(view.alias, OrderedDict())
            rows = zip(*(features.columns[name].to_list() for name in names), strict=True)
            for key, values in zip(_entities(view, keys), rows, strict=True):
                kept[key] = values
                kept.move_to_end(key)
            while len(kept) > self.max_entities:
                kept.popitem(last=False)

    def recall(self, keys: Frame) -> Frame:
        """What is known of the entities in *keys*; the declared defaults of what is not."""
        known = {feature.name: [feature.default] * keys.rows for feature in features_of(self.plan)}
        for view in self.plan.views:
            kept, names = self._views.get(view.alias), self._asked(view)
            if not kept:
                continue
            for row, key in enumerate(_entities(view, keys)):
                for name, value in zip(names, kept.get(key, ()), strict=False):
                    known[name][row] = value
        return Frame(keys.rows, {each.name: each.column(known[each.name]) for each in features_of(self.plan)})

    def _asked(self, view: ViewPlan) -> list[str]:
        return [feature.name for feature in view.features if feature.name in self.plan.features]


def _entities(view: ViewPlan, keys: Frame) -> Iterator[tuple[Any, ...]]:
    if not view.join_keys:
        return iter([()] * keys.rows)
    return zip(*(keys.columns[key.column].to_list() for key in view.join_keys), strict=True)
