"""Makes a read plan of the definitions in a Feast repository; imports Feast.

Run by ``feast_process``, in a process of its own.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from feast import FeatureStore
from feast.feature_service import FeatureService
from feast.feature_view import DUMMY_ENTITY_NAME, FeatureView
from feast.feature_view_projection import FeatureViewProjection
from feast.field import Field
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.repo_contents import RepoContents
from feast.value_type import ValueType

from predmesh_bundle.feast_repo import load, online_settings
from predmesh_bundle.nearest import hint
from predmesh_bundle.on_demand_source import SourceError, cut_out
from predmesh_bundle.read_plan import (
    FeaturePlan,
    FeatureType,
    JoinKey,
    OnDemandInput,
    OnDemandPlan,
    ReadPlan,
    ReadPlanError,
    StoredFeaturePlan,
    ViewPlan,
)

TYPES = {
    ValueType.BOOL: FeatureType.BOOL,
    ValueType.INT32: FeatureType.INT32,
    ValueType.INT64: FeatureType.INT64,
    ValueType.FLOAT: FeatureType.FLOAT,
    ValueType.DOUBLE: FeatureType.DOUBLE,
    ValueType.STRING: FeatureType.STRING,
    ValueType.BYTES: FeatureType.BYTES,
    ValueType.PDF_BYTES: FeatureType.BYTES,
    ValueType.IMAGE_BYTES: FeatureType.BYTES,
    ValueType.UNIX_TIMESTAMP: FeatureType.TIMESTAMP,
    ValueType.JSON: FeatureType.STRING,
    ValueType.UUID: FeatureType.STRING,
    ValueType.TIME_UUID: FeatureType.STRING,
    ValueType.DECIMAL: FeatureType.STRING,
}
"""Feast's types that are single values; what Feast keeps as text is served as text."""

LISTS = {
    ValueType[f"{each.name}_LIST"]: type for each, type in TYPES.items() if f"{each.name}_LIST" in ValueType.__members__
}
"""Feast's lists of them: columns where the definition says how long they are."""

AS_TEXT = {ValueType.JSON, ValueType.UUID, ValueType.TIME_UUID, ValueType.DECIMAL}
"""Types that Feast hands to Python as objects, and Predmesh as the stored text."""

NESTED = {ValueType.VALUE_LIST: "list_val", ValueType.VALUE_SET: "set_val"}
"""Fields of a stored value that are not called after their type."""

KEY_TYPES = {FeatureType.STRING, FeatureType.BYTES, FeatureType.INT32, FeatureType.INT64, FeatureType.TIMESTAMP}
"""Types that Feast can write into a key."""


def compile_service(contents: RepoContents, store: FeatureStore, service: str, key_ttl_seconds: int | None) -> ReadPlan:
    """The plan of *service*, without defaults.

    Raises:
        ReadPlanError: it holds something that cannot be served; tells all there is.
    """
    names = [each.name for each in contents.feature_services]
    if service not in names:
        raise ReadPlanError([f"there is no feature service {service!r}; {hint(service, names)}"])
    return _Compiling(contents, store).plan(store.get_feature_service(service), key_ttl_seconds)


class _Compiling:
    """Gathers views and problems while a feature service is read."""

    def __init__(self, contents: RepoContents, store: FeatureStore) -> None:
        self._store = store
        self._functions = {view.name: view for view in contents.on_demand_feature_views}
        self._entities = {entity.name: entity for entity in store.list_entities()}
        self._views: dict[str, ViewPlan] = {}
        self._on_demand: list[OnDemandPlan] = []
        self._features: list[str] = []
        self.problems: list[str] = []

    def plan(self, service: FeatureService, key_ttl_seconds: int | None) -> ReadPlan:
        for projection in service.feature_view_projections:
            view = self._registered(projection.name)
            self._check_view(view, projection)
            if isinstance(view, OnDemandFeatureView):
                self._add_on_demand(self._functions[view.name], projection)
            else:
                self._add_view(view, projection)
            self._features += [field.name for field in projection.features if _is_column(field)]
        plan = ReadPlan(
            project=self._store.project,
            feature_service=service.name,
            entity_key_serialization_version=3,
            views=tuple(self._views.values()),
            on_demand=tuple(self._on_demand),
            features=tuple(self._features),
            key_ttl_seconds=key_ttl_seconds,
        )
        self.problems += name_problems(plan)
        if self.problems:
            raise ReadPlanError(dict.fromkeys(self.problems))
        return plan

    def _registered(self, name: str) -> Any:
        return self._store.registry.get_any_feature_view(name, self._store.project)

    def _check_view(self, view: Any, projection: FeatureViewProjection) -> None:
        if not isinstance(view, FeatureView | OnDemandFeatureView):
            self.problems.append(f"view {view.name!r} is a {type(view).__name__}, which is not served")
        if projection.version_tag is not None:
            self.problems.append(f"view {view.name!r}: a pinned version is not served; use the latest")
        if not getattr(view, "enabled", True):
            self.problems.append(f"view {view.name!r} is disabled; enable it or leave it out")
        if not getattr(view, "online", True):
            self.problems.append(f"view {view.name!r} has online=False, so that the store never holds it")

    def _add_view(self, view: FeatureView, projection: FeatureViewProjection) -> None:
        alias = projection.name_alias or projection.name
        features = tuple(found for field in projection.features if (found := self._feature(view.name, field)))
        known = self._views.get(alias)
        if known:  # An on-demand view takes other features of a view that is also asked for itself.
            features = tuple(
                {feature.name: feature for feature in (*known.features, *known.stored, *features)}.values()
            )
        read = {feature.name for feature in features}
        unread = [field for field in view.features if field.name not in read]
        odd = [field.name for field in view.features if not isinstance(_planned(field), FeaturePlan)]
        self._views[alias] = ViewPlan(
            name=view.name,
            alias=alias,
            join_keys=self._join_keys(view, projection),
            ttl_seconds=view.ttl.total_seconds() if view.ttl else None,
            features=tuple(each for each in features if isinstance(each, FeaturePlan)),
            unread=tuple(each for field in unread if isinstance(each := _planned(field), FeaturePlan)),
            unwritable=f"no column can hold its features {', '.join(odd)}" if odd else "",
            stored=tuple(each for each in features if isinstance(each, StoredFeaturePlan)),
        )

    def _feature(self, view: str, field: Field) -> FeaturePlan | StoredFeaturePlan | None:
        if field.dtype.to_value_type() is ValueType.UNKNOWN:
            self.problems.append(f"feature {field.name!r} of view {view!r} has no type; {refusal(ValueType.UNKNOWN)}")
            return None
        return _planned(field)

    def _output(self, view: str, field: Field) -> FeaturePlan | None:
        what = f"feature {field.name!r} of on-demand view {view!r}"
        if field.dtype.to_value_type() in AS_TEXT:
            self.problems.append(f"{what} is of type {field.dtype}; make a String of it")
            return None
        type = self._type(what, field)
        return FeaturePlan(name=field.name, type=type, description=field.description or "") if type else None

    def _type(self, what: str, field: Field) -> FeatureType | None:
        value_type = field.dtype.to_value_type()
        if value_type not in TYPES:
            self.problems.append(f"{what} is of type {field.dtype}, and must be a single value: {refusal(value_type)}")
        return TYPES.get(value_type)

    def _join_keys(self, view: FeatureView, projection: FeatureViewProjection) -> tuple[JoinKey, ...]:
        types = {column.name: column for column in view.entity_columns}
        keys = []
        for entity_name in view.entities:
            if entity_name == DUMMY_ENTITY_NAME:
                continue
            name = self._entities[entity_name].join_key
            type = self._type(f"join key {name!r} of view {view.name!r}", types[name])
            if type and type not in KEY_TYPES:
                self.problems.append(f"join key {name!r} of view {view.name!r} is {type}, which Feast cannot store")
            if type:
                keys.append(JoinKey(name=name, type=type, column=projection.join_key_map.get(name, name)))
        return tuple(keys)

    def _add_on_demand(self, view: OnDemandFeatureView, projection: FeatureViewProjection) -> None:
        what = f"on-demand view {view.name!r}"
        reason = on_demandrefusal(view)
        if reason:
            self.problems.append(f"{what}: {reason}")
            return
        inputs = [*self._source_inputs(view, what), *self._request_inputs(view, what)]
        try:
            source, function = function_source(view)
        except SourceError as error:
            self.problems.append(f"{what}: {error}")
            return
        outputs = tuple(found for field in projection.features if (found := self._output(view.name, field)))
        self._on_demand.append(
            OnDemandPlan(
                name=projection.name_alias or projection.name,
                module=source,
                function=function,
                singleton=view.singleton,
                inputs=tuple(inputs),
                outputs=outputs,
            )
        )

    def _source_inputs(self, view: OnDemandFeatureView, what: str) -> Iterator[OnDemandInput]:
        for projection in view.source_feature_view_projections.values():
            source = self._registered(projection.name)
            self._check_view(source, projection)
            self._add_view(source, projection)
            for field in projection.features:
                if type := self._input_type(what, field):
                    yield OnDemandInput(name=field.name, type=type, view=projection.name)

    def _request_inputs(self, view: OnDemandFeatureView, what: str) -> Iterator[OnDemandInput]:
        for source in view.source_request_sources.values():
            for field in source.schema:
                if type := self._input_type(what, field):
                    yield OnDemandInput(name=field.name, type=type)

    def _input_type(self, what: str, field: Field) -> FeatureType | None:
        if field.dtype.to_value_type() in AS_TEXT:
            self.problems.append(f"{what}: input {field.name!r} is of type {field.dtype}; take it as String")
            return None
        return self._type(f"{what}: input {field.name!r}", field)


def on_demandrefusal(view: OnDemandFeatureView) -> str | None:
    """Why *view* cannot be computed online; None when it can."""
    if view.mode != "python":
        return f"mode {view.mode!r} is not served; write it with mode='python'"
    if view.aggregations:
        return "aggregations are not served; compute them when materialising"
    if view.write_to_online_store:
        return "write_to_online_store=True is not served; materialise a plain feature view instead"
    return None


def function_source(view: OnDemandFeatureView) -> tuple[str, str]:
    """A module that holds the function of *view* and what it needs, and the function's name; tried on Feast's sample.

    Raises:
        SourceError: it cannot be carried to the features service, or fails there.
    """
    function: Any = getattr(view.feature_transformation, "udf", None)
    if function is None:
        raise SourceError("it has no function")
    file = Path(function.__code__.co_filename)
    if not file.is_file():
        raise SourceError("its function must be written in a file of the repository")
    source = cut_out(file.read_text(), function.__name__)
    namespace: dict[str, Any] = {"__name__": view.name}
    try:
        exec(compile(source, f"<on-demand view {view.name}>", "exec"), namespace)  # noqa: S102
        made = namespace[function.__name__](view._construct_random_input(singleton=view.singleton))
    except Exception as error:
        raise SourceError(f"its function fails on a sample: {type(error).__name__}: {error}") from None
    missing = [field.name for field in view.features if field.name not in made]
    if missing:
        raise SourceError(f"its function does not make {', '.join(missing)}")
    return source, function.__name__


def name_problems(plan: ReadPlan) -> list[str]:
    """Names that two things of *plan* share: answers carry feature names alone, without those of their views."""
    owners: dict[str, list[str]] = {}
    for view in plan.views:
        for name in [each.name for each in view.features] + [each.name for each in view.stored]:
            owners.setdefault(name, []).append(view.alias)
    for made in plan.on_demand:
        for feature in made.outputs:
            owners.setdefault(feature.name, []).append(made.name)
    problems = [
        f"feature {name!r} is in the views {', '.join(views)}; rename it in one, or take other features of it"
        for name, views in owners.items()
        if len(views) > 1
    ]
    problems += [
        f"feature {name!r} is asked for twice; take it once"
        for name in plan.features
        if plan.features.count(name) > 1 and len(owners.get(name, ())) < 2
    ]
    types: dict[str, set[str]] = {}
    for key in (key for view in plan.views for key in view.join_keys):
        types.setdefault(key.column, set()).add(key.type)
    problems += [
        f"join key {name!r} has several types: {', '.join(sorted(of))}" for name, of in types.items() if len(of) > 1
    ]
    problems += [f"{name!r} is both a join key and a feature; rename the feature" for name in types if name in owners]
    return problems


def _planned(field: Field) -> FeaturePlan | StoredFeaturePlan:
    value_type, description = field.dtype.to_value_type(), field.description or ""
    stored_as = NESTED.get(value_type, f"{value_type.name.lower()}_val")
    if value_type in TYPES:
        stored_as = stored_as if value_type in AS_TEXT else ""
        return FeaturePlan(name=field.name, type=TYPES[value_type], description=description, stored_as=stored_as)
    if value_type in LISTS and field.vector_length:
        return FeaturePlan(
            name=field.name,
            type=LISTS[value_type],
            description=description,
            stored_as=stored_as,
            row_shape=(field.vector_length,),
        )
    return StoredFeaturePlan(
        name=field.name,
        feast_type=str(field.dtype),
        stored_as=stored_as,
        reason=refusal(value_type),
        description=description,
    )


def _is_column(field: Field) -> bool:
    return isinstance(_planned(field), FeaturePlan)


def refusal(value_type: ValueType) -> str:
    """Why no column can hold features of *value_type*, and what to store instead."""
    name = value_type.name
    if value_type in LISTS:
        return "its length differs from row to row; give its field a vector_length, or store one feature an element"
    if name.endswith(("_LIST", "_SET")):
        return "its size differs from row to row; store one feature an element"
    if name == "ZONED_TIMESTAMP":
        return "its zone would be lost; store a UnixTimestamp"
    if name == "UNKNOWN":
        return "say its type in the definition"
    return "it is no single value; store its parts as features"


def read(repo: Path, service: str) -> dict[str, Any]:
    """The answer to give: the plan as JSON, or the problems."""
    with tempfile.TemporaryDirectory(prefix="predmesh-registry-") as scratch:
        try:
            contents, store = load(repo, Path(scratch))
            settings = online_settings(yaml.safe_load((repo / "feature_store.yaml").read_text()))
            return {"plan": compile_service(contents, store, service, settings.get("key_ttl_seconds")).to_json()}
        except ReadPlanError as error:
            return {"problems": error.problems}
        except (Exception, SystemExit) as error:
            return {"problems": [f"Feast could not load {repo}: {type(error).__name__}: {error}"]}
