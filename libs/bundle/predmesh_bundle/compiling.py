"""From a checked bundle to the folder that the store keeps: its files, its normal form and its read plan."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from predmesh_bundle.content import bundle_files
from predmesh_bundle.loading import load_document
from predmesh_bundle.nearest import hint
from predmesh_bundle.problems import BundleError, Problem
from predmesh_bundle.reading import Document
from predmesh_bundle.rules import sources
from predmesh_bundle.schema import Bundle, FeatureSet

if TYPE_CHECKING:
    from predmesh_bundle.read_plan import ReadPlan


def compile_bundle(folder: Path, into: Path) -> Bundle:
    """Check the bundle in *folder* and write its compiled form to *into*, a folder that must not exist.

    Raises:
        BundleError: something is wrong with it; tells everything that is.
    """
    bundle, document = load_document(folder)
    for path in bundle_files(folder):
        target = into / path.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    compiled = into / "compiled"
    compiled.mkdir()
    if bundle.features is not None:
        plan = _read_plan(folder, bundle.features, document)
        if problems := [document.problem(path, message) for path, message in _plan_rules(bundle, plan)]:
            raise BundleError(problems)
        (compiled / "read_plan.json").write_text(plan.to_json(), encoding="utf-8")
    (compiled / "bundle.json").write_text(bundle.model_dump_json(indent=1), encoding="utf-8")
    return bundle


def _read_plan(folder: Path, features: FeatureSet, document: Document) -> "ReadPlan":
    # Feast takes seconds to import, so bundles without features do not.
    from predmesh_bundle.feast_compiler import compile_read_plan
    from predmesh_bundle.read_plan import ReadPlanError

    try:
        return compile_read_plan(folder / features.repo, features.service, features.defaults)
    except ReadPlanError as error:
        raise BundleError(document.problem(_place(each, features), each) for each in error.problems) from error
    except Exception as error:
        # The definitions are the user's own code; whatever it raises is a problem of the bundle.
        message = f"the feature definitions cannot be read: {type(error).__name__}: {error}"
        raise BundleError([Problem(features.repo, None, message)]) from error


def _place(problem: str, features: FeatureSet) -> tuple[str | int, ...]:
    """Where in the file a problem of the read plan belongs: the default that it quotes, else the feature set."""
    quoted = [name for name in features.defaults if repr(name) in problem]
    return ("features", "defaults", quoted[0]) if quoted else ("features",)


def _plan_rules(bundle: Bundle, plan: "ReadPlan") -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Whether inputs, features and tensors agree, now that the features are known."""
    needed = {key.column for key in plan.join_keys}
    for name in sorted(needed - bundle.join_keys.keys()):
        message = f"the features need the join key {name!r}: mark the input that fills it with `entity_key: {name}`"
        yield ("inputs",), message
    for index, given in enumerate(bundle.inputs):
        if given.entity_key is not None and given.entity_key not in needed:
            yield (
                ("inputs", index, "entity_key"),
                f"{given.entity_key!r} is no join key; {hint(given.entity_key, needed)}",
            )
        if given.name in plan.features:
            yield ("inputs", index, "name"), f"{given.name!r} is a feature too: rename the input"
    inputs = {each.name for each in bundle.inputs}
    for each in plan.request_inputs:
        if each.name not in inputs:
            yield ("inputs",), f"an on-demand feature needs the input {each.name!r}; {hint(each.name, inputs)}"
    if bundle.preprocessing is None:
        yield from _tensor_rules(bundle, {*inputs, *plan.features})


def _tensor_rules(bundle: Bundle, known: set[str]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    for index, tensor in enumerate(bundle.inference.inputs):
        for name in sources(bundle.inference.inputs, tensor):
            if name not in known:
                message = f"without `preprocessing`, {name!r} must be an input or a feature; {hint(name, known)}"
                yield ("inference", "inputs", index), message
