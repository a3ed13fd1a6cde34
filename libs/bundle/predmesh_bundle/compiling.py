"""From a bundle's folder to the one that the store keeps: its files, its normal form and its read plan."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from predmesh_bundle.content import bundle_files
from predmesh_bundle.loading import load_document
from predmesh_bundle.nearest import hint
from predmesh_bundle.problems import BundleError
from predmesh_bundle.reading import Document
from predmesh_bundle.rules import sources
from predmesh_bundle.schema import Bundle, FeatureSet

if TYPE_CHECKING:
    from predmesh_bundle.read_plan import JoinKey, ReadPlan

_Found = Iterator[tuple[tuple[str | int, ...], str]]


@dataclass(frozen=True, slots=True)
class Checked:
    """A bundle that nothing is wrong with."""

    bundle: Bundle
    """What it says."""
    plan: "ReadPlan | None"
    """How its features are read; None where it has none."""
    document: Document
    """On which line of the file each part of it stands."""


def check_bundle(folder: Path) -> Checked:
    """The bundle in *folder*, checked as a deploy does.

    Raises:
        BundleError: something is wrong with it; tells everything that is.
    """
    bundle, document = load_document(folder)
    if bundle.features is None:
        return Checked(bundle, None, document)
    plan = _read_plan(folder, bundle.features, document)
    problems = [document.problem(path, message) for path, message in plan_rules(bundle, plan)]
    if problems:
        raise BundleError(problems)
    return Checked(bundle, plan, document)


def compile_bundle(folder: Path, into: Path) -> Bundle:
    """Check the bundle in *folder* and write its compiled form to *into*, a folder that must not exist.

    Raises:
        BundleError: something is wrong with it; tells everything that is.
    """
    checked = check_bundle(folder)
    write_compiled(folder, checked, into)
    return checked.bundle


def write_compiled(folder: Path, checked: Checked, into: Path) -> None:
    """Write the compiled form of the bundle in *folder* to *into*, a folder that must not exist."""
    for path in bundle_files(folder):
        target = into / path.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    compiled = into / "compiled"
    compiled.mkdir()
    (compiled / "bundle.json").write_text(checked.bundle.model_dump_json(indent=1), encoding="utf-8")
    if checked.plan is not None:
        (compiled / "read_plan.json").write_text(checked.plan.to_json(), encoding="utf-8")


def _read_plan(folder: Path, features: FeatureSet, document: Document) -> "ReadPlan":
    # Bundles without features do without Feast's compiler, and with it without Feast.
    from predmesh_bundle.feast_compiler import compile_read_plan
    from predmesh_bundle.read_plan import ReadPlanError

    try:
        return compile_read_plan(folder / features.repo, features.service, features.defaults)
    except ReadPlanError as error:
        raise BundleError(document.problem(_place(each, features), each) for each in error.problems) from error


def _place(problem: str, features: FeatureSet) -> tuple[str | int, ...]:
    """Where in the file a problem of the read plan belongs: at the default that it quotes, else the service."""
    quoted = [name for name in features.defaults if f"default for {name!r}" in problem or f"of {name!r}" in problem]
    return ("features", "defaults", quoted[0]) if quoted else ("features", "service")


def plan_rules(bundle: Bundle, plan: "ReadPlan") -> _Found:
    """Whether inputs, features and tensors agree, now that the features are known."""
    keys = {key.column: key for key in plan.join_keys}
    features = {*plan.features, *(feature.name for _, feature in plan.described_stored())}
    for name in sorted(keys - bundle.join_keys.keys()):
        yield ("inputs",), f"the features need the join key {name!r}: mark its input with `entity_key: {name}`"
    for index, given in enumerate(bundle.inputs):
        if given.entity_key is not None and given.entity_key not in keys:
            yield (
                ("inputs", index, "entity_key"),
                f"{given.entity_key!r} is no join key; {hint(given.entity_key, keys)}",
            )
        elif given.entity_key is not None and not _same_kind(given.type.name.lower(), keys[given.entity_key]):
            message = f"{given.name!r} must be of type {keys[given.entity_key].type.value}, as its join key is"
            yield ("inputs", index, "type"), message
        if given.name in features:
            yield ("inputs", index, "name"), f"{given.name!r} is a feature too: rename the input"
    names = {each.name for each in bundle.inputs}
    for asked in plan.request_inputs:
        if asked.name not in names:
            yield ("inputs",), f"an on-demand feature needs the input {asked.name!r}; {hint(asked.name, names)}"
    if bundle.preprocessing is None:
        yield from _tensor_rules(bundle, names | features)
        yield from _feature_rules(bundle, plan)


def _same_kind(type_name: str, key: "JoinKey") -> bool:
    integers = ("int32", "int64")
    return type_name == key.type.value or (type_name in integers and key.type.value in integers)


def _feature_rules(bundle: Bundle, plan: "ReadPlan") -> _Found:
    features = {feature.name: feature for _, feature in plan.described()}
    refused = {feature.name: feature for _, feature in plan.described_stored()}
    for index, tensor in enumerate(bundle.inference.inputs):
        names = sources(bundle.inference.inputs, tensor)
        for name in names:
            shape = features[name].row_shape if name in features else ()
            if name in refused:
                message = (
                    f"feature {name!r} is of type {refused[name].feast_type} and no tensor: {refused[name].reason}"
                )
                yield ("inference", "inputs", index), message
            elif len(names) > 1 and shape:
                message = f"feature {name!r} is no single value and cannot stand beside others: add `preprocessing`"
                yield ("inference", "inputs", index), message
            elif shape and -1 not in tensor.shape and prod(shape) != prod(tensor.shape):
                message = f"feature {name!r} has the shape {list(shape)}, its tensor {list(tensor.shape)}"
                yield ("inference", "inputs", index), message


def _tensor_rules(bundle: Bundle, known: set[str]) -> _Found:
    for index, tensor in enumerate(bundle.inference.inputs):
        for name in sources(bundle.inference.inputs, tensor):
            if name not in known:
                message = f"without `preprocessing`, {name!r} must be an input or a feature; {hint(name, known)}"
                yield ("inference", "inputs", index), message
