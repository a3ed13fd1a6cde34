"""Turns pushed rows into writes of Feast's layout; no I/O."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from predmesh_bundle.nearest import nearest
from predmesh_bundle.read_plan import FeaturePlan, ReadPlan, ViewPlan
from predmesh_frame.frames import Frame
from predmesh_rpc.errors import InvalidInput, NotFound, NotOffered, Violation

from predmesh_features.domain import HashWrite
from predmesh_features.entity_keys import check_keys, entity_keys
from predmesh_features.feast_layout import feature_field, stamp_field
from predmesh_features.looking_up import fitted
from predmesh_features.lookup_plan import lookup_plan
from predmesh_features.stored_lists import encode_list
from predmesh_features.stored_values import encode, encode_stamp


def find_view(plan: ReadPlan, name: str) -> ViewPlan:
    """The view of *plan* that is called *name*, by its name in the store.

    Raises:
        NotFound: there is none.
        NotOffered: no row of it can be written whole.
    """
    views = {view.name: view for view in plan.views}
    if name not in views:
        raise NotFound(
            "ERROR_REASON_FEATURE_UNKNOWN",
            f"there is no feature view {name!r}; there are {', '.join(sorted(views)) or 'none'}",
            feature=name,
            nearest=nearest(name, views),
        )
    view = views[name]
    if view.unwritable:
        raise NotOffered(
            "ERROR_REASON_NOT_OFFERED",
            f"feature view {name!r} cannot be pushed: {view.unwritable}",
            method="PushFeatures",
        )
    return view


def hash_writes(plan: ReadPlan, view: ViewPlan, frame: Frame, event_nanos: Sequence[int]) -> list[HashWrite]:
    """The writes of *frame*'s rows into *view*, each with its event time; a null stays a null.

    Raises:
        InvalidInput: a join key or a feature is missing, unknown or of another type, or a join key is absent.
    """
    check_keys(frame, view.join_keys)
    features = (*view.features, *view.unread)
    columns = _columns(view, features, frame)
    (group,) = lookup_plan(ReadPlan(**{**_fields(plan), "views": (view,), "on_demand": (), "features": ()})).groups
    keys = entity_keys(group, frame)
    if (keys.rows == len(keys.keys)).any():
        raise _invalid([Violation(key.column, "is absent in a row") for key in view.join_keys])
    names = [feature_field(view.name, feature.name) for feature in features]
    stamp = stamp_field(view.name)
    return [
        HashWrite(
            keys.keys[key],
            stamp,
            nanos,
            {stamp: encode_stamp(nanos), **dict(zip(names, values, strict=True))},
            plan.key_ttl_seconds,
        )
        for key, nanos, values in zip(keys.rows.tolist(), event_nanos, zip(*columns, strict=True), strict=True)
    ]


def _columns(view: ViewPlan, features: Sequence[FeaturePlan], frame: Frame) -> list[list[bytes]]:
    """Stored values by feature."""
    known = {feature.name for feature in features} | {key.column for key in view.join_keys}
    violations = [
        Violation(name, f"is no feature or join key of {view.name!r}", nearest(name, known))
        for name in frame.columns
        if name not in known
    ]
    columns = []
    for feature in features:
        column = frame.columns.get(feature.name)
        if column is None or column.row_shape != feature.row_shape:
            shape = f" of shape {list(feature.row_shape)}" if feature.row_shape else ""
            violations.append(
                Violation(feature.name, f"is missing; a row is written whole, one value{shape} a feature")
            )
        elif (fitting := fitted(column, feature.type)) is None:
            violations.append(Violation(feature.name, f"is {column.type.name.lower()}; the feature is {feature.type}"))
        else:
            write = encode_list if feature.row_shape else encode
            columns.append([write(feature, value) for value in fitting.to_list()])
    if violations:
        raise _invalid(violations)
    return columns


def _invalid(violations: Sequence[Violation]) -> InvalidInput:
    return InvalidInput(
        "ERROR_REASON_INVALID_REQUEST", "the pushed rows do not fit the feature view", violations=violations
    )


def _fields(plan: ReadPlan) -> dict[str, Any]:
    return {name: getattr(plan, name) for name in ReadPlan.__dataclass_fields__}
