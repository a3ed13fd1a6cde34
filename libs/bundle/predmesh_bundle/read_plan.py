"""What the features service must know of a Feast feature service to read it without Feast; plain data, JSON in and out.

A plan is compiled once, at deploy, by ``feast_compiler``. Nothing here imports Feast.
"""

from __future__ import annotations

import dataclasses
import enum
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from predmesh_bundle.nearest import hint

Scalar = bool | int | float | str
"""A declared default; timestamps are microseconds since 1970-01-01T00:00:00Z."""

FORMAT = 2
"""Version of the JSON; raised when an older features service could not read it."""

READABLE = (1, FORMAT)
"""Versions that are read: lists and stored features came with the second."""


class ReadPlanError(ValueError):
    """A feature service that cannot be served.

    Attributes:
        problems: every reason found, each in words that say what to change.
    """

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(self.problems))


class FeatureType(enum.StrEnum):
    """Types of features and join keys, in the words of predmesh.yaml."""

    BOOL = "bool"
    INT32 = "int32"
    INT64 = "int64"
    FLOAT = "float"
    DOUBLE = "double"
    STRING = "string"
    BYTES = "bytes"
    TIMESTAMP = "timestamp"


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinKey:
    """One join key of a view.

    Attributes:
        name: what the view calls it; part of the key in the store.
        type: its type in the store: string, bytes, int32, int64 or timestamp.
        column: what the caller calls it; differs from `name` where the projection maps it.
    """

    name: str
    type: FeatureType
    column: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FeaturePlan:
    """One feature.

    Attributes:
        name: unique in the plan.
        type: type of its values.
        default: what stands where the store has no value; None when nothing is declared.
        description: from its definition; may be empty.
        stored_as: field of ``StoredValue`` that holds it, e.g. ``json_val``; empty for the one that `type` implies.
        row_shape: of one row's value; empty for a scalar, the declared length of a list.
    """

    name: str
    type: FeatureType
    default: Scalar | None = None
    description: str = ""
    stored_as: str = ""
    row_shape: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFeaturePlan:
    """One feature that no column can hold: lookups answer with what the store has, and no model takes it.

    Attributes:
        name: unique in the plan.
        feast_type: its type in Feast's words, e.g. ``Map``.
        stored_as: field of ``StoredValue`` that holds it.
        reason: why no column can hold it, and what to store instead.
        description: from its definition; may be empty.
    """

    name: str
    feast_type: str
    stored_as: str
    reason: str
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewPlan:
    """One feature view, as the store keeps it.

    Attributes:
        name: its name in the store.
        alias: its name in answers; the same unless the feature service renames it.
        join_keys: in the order of its definition; none when the view has no entity.
        ttl_seconds: values older than this are outside their maximum age; None for no limit.
        features: those to read, also those that only an on-demand view takes.
        unread: the rest of its definition; a row is written whole, because a view's values share one event time.
        unwritable: why no row of it can be written; empty when it can.
        stored: those to read as the store has them.
    """

    name: str
    alias: str
    join_keys: tuple[JoinKey, ...]
    ttl_seconds: float | None
    features: tuple[FeaturePlan, ...]
    unread: tuple[FeaturePlan, ...] = ()
    unwritable: str = ""
    stored: tuple[StoredFeaturePlan, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OnDemandInput:
    """One value an on-demand view takes: a stored feature, or what the caller brings.

    Attributes:
        name: the feature, or the caller's column.
        type: its type.
        view: feature view of a stored feature, which the function may also call ``view__name``; None for the caller's.
    """

    name: str
    type: FeatureType
    view: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OnDemandPlan:
    """One on-demand feature view in python mode.

    Attributes:
        name: of the view.
        module: source of a module that needs nothing but the standard library and numpy.
        function: the function's name in `module`.
        singleton: whether the function takes one row's values, not lists of all rows'.
        inputs: what it takes, besides the join keys.
        outputs: the features it makes that the feature service asks for.
    """

    name: str
    module: str
    function: str
    singleton: bool
    inputs: tuple[OnDemandInput, ...]
    outputs: tuple[FeaturePlan, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadPlan:
    """One feature service of one Feast project.

    Attributes:
        project: Feast project; part of every key in the store.
        feature_service: its name.
        entity_key_serialization_version: how keys are written; 3.
        views: the feature views to read.
        on_demand: the on-demand views to compute, in order.
        features: names of the features to answer with as columns, in the order of the feature service.
        key_ttl_seconds: the store forgets a key that long after it was written; None for never.
    """

    project: str
    feature_service: str
    entity_key_serialization_version: int
    views: tuple[ViewPlan, ...]
    on_demand: tuple[OnDemandPlan, ...]
    features: tuple[str, ...]
    key_ttl_seconds: int | None = None

    @property
    def join_keys(self) -> tuple[JoinKey, ...]:
        """The join keys a lookup must bring, by the caller's names, in the order of first use."""
        return tuple({key.column: key for view in self.views for key in view.join_keys}.values())

    @property
    def request_inputs(self) -> tuple[OnDemandInput, ...]:
        """What on-demand views take from the caller, in the order of first use; no join keys."""
        asked = {given.name: given for plan in self.on_demand for given in plan.inputs if given.view is None}
        return tuple(given for name, given in asked.items() if name not in {key.column for key in self.join_keys})

    def described(self) -> tuple[tuple[str, FeaturePlan], ...]:
        """View name and plan of every feature answered with as a column, in order."""
        found = {feature.name: (view.alias, feature) for view in self.views for feature in view.features}
        found |= {feature.name: (plan.name, feature) for plan in self.on_demand for feature in plan.outputs}
        return tuple(found[name] for name in self.features)

    def described_stored(self) -> tuple[tuple[str, StoredFeaturePlan], ...]:
        """View name and plan of every feature answered with as the store has it, view by view."""
        return tuple((view.alias, feature) for view in self.views for feature in view.stored)

    def with_defaults(self, defaults: Mapping[str, Any]) -> ReadPlan:
        """This plan with the declared *defaults*, by feature name.

        Raises:
            ReadPlanError: a default for no feature of this plan, or not of its feature's type.
        """
        features = [feature for view in self.views for feature in view.features]
        features += [feature for plan in self.on_demand for feature in plan.outputs]
        known = {feature.name: feature for feature in features}
        problems = [
            f"default for {name!r}, which is no feature; {hint(name, known)}" for name in defaults - known.keys()
        ]
        values: dict[str, Scalar] = {}
        for name in sorted(defaults.keys() & known.keys()):
            try:
                if known[name].row_shape:
                    raise ValueError("lists take no default")
                values[name] = checked_default(defaults[name], known[name].type)
            except ValueError as error:
                problems.append(f"default of {name!r}: {error}")
        if problems:
            raise ReadPlanError(problems)
        return dataclasses.replace(
            self,
            views=tuple(dataclasses.replace(view, features=_defaulted(view.features, values)) for view in self.views),
            on_demand=tuple(
                dataclasses.replace(plan, outputs=_defaulted(plan.outputs, values)) for plan in self.on_demand
            ),
        )

    def to_json(self) -> str:
        """Text that `from_json` reads; the same plan gives the same text."""
        return json.dumps({"format": FORMAT, **dataclasses.asdict(self)}, indent=1, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> ReadPlan:
        """The plan in *text*.

        Raises:
            ReadPlanError: the text is of another format; deploy the bundle again.
        """
        data = json.loads(text)
        if data.pop("format", None) not in READABLE:
            raise ReadPlanError(["the read plan was written by another version of Predmesh; deploy the bundle again"])
        return cls(
            **data
            | {
                "views": tuple(_view(view) for view in data["views"]),
                "on_demand": tuple(_on_demand(plan) for plan in data["on_demand"]),
                "features": tuple(data["features"]),
            }
        )


def checked_default(value: Any, type: FeatureType) -> Scalar:
    """*value* as a default of *type*.

    Raises:
        ValueError: it is not of that type.
    """
    check = _DEFAULTS.get(type)
    found: Scalar | None = check(value) if check else None
    if found is None:
        raise ValueError(f"{value!r} is not of type {type}" if check else f"{type} features take no default")
    return found


def _integer(bits: int) -> Any:
    limit = 1 << (bits - 1)
    return lambda value: value if type(value) is int and -limit <= value < limit else None


def _real(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _timestamp(value: Any) -> int | None:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if not isinstance(value, datetime):
        return None
    aware = value if value.tzinfo else value.replace(tzinfo=UTC)
    whole = aware.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return (whole.days * 86_400 + whole.seconds) * 1_000_000 + whole.microseconds


_DEFAULTS: dict[FeatureType, Any] = {
    FeatureType.BOOL: lambda value: value if isinstance(value, bool) else None,
    FeatureType.INT32: _integer(32),
    FeatureType.INT64: _integer(64),
    FeatureType.FLOAT: _real,
    FeatureType.DOUBLE: _real,
    FeatureType.STRING: lambda value: value if isinstance(value, str) else None,
    FeatureType.TIMESTAMP: _timestamp,
}


def _defaulted(features: tuple[FeaturePlan, ...], values: Mapping[str, Scalar]) -> tuple[FeaturePlan, ...]:
    return tuple(
        dataclasses.replace(feature, default=values.get(feature.name, feature.default)) for feature in features
    )


def _feature(data: dict[str, Any]) -> FeaturePlan:
    return FeaturePlan(**data | {"type": FeatureType(data["type"]), "row_shape": tuple(data.get("row_shape", ()))})


def _view(data: dict[str, Any]) -> ViewPlan:
    keys = tuple(JoinKey(**key | {"type": FeatureType(key["type"])}) for key in data["join_keys"])
    features = {name: tuple(_feature(item) for item in data[name]) for name in ("features", "unread")}
    stored = tuple(StoredFeaturePlan(**each) for each in data.get("stored", ()))
    return ViewPlan(**data | features | {"join_keys": keys, "stored": stored})


def _on_demand(data: dict[str, Any]) -> OnDemandPlan:
    inputs = tuple(OnDemandInput(**given | {"type": FeatureType(given["type"])}) for given in data["inputs"])
    return OnDemandPlan(**data | {"inputs": inputs, "outputs": tuple(_feature(item) for item in data["outputs"])})
