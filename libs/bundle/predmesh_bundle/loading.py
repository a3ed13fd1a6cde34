"""From a bundle's folder to a `Bundle`: strict, and telling all that is wrong at once with file and line."""

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from predmesh_bundle import references, rules
from predmesh_bundle.content import bundle_files, link_problem
from predmesh_bundle.nearest import hint
from predmesh_bundle.problems import BundleError, Problem
from predmesh_bundle.reading import Document, read_yaml
from predmesh_bundle.schema import (
    Bundle,
    Explanation,
    FeatureSet,
    Inference,
    Input,
    Output,
    Policies,
    Preprocessing,
    Stages,
)

FILE = "predmesh.yaml"
"""The file that makes a folder a bundle."""

__all__ = ["FILE", "BundleError", "Problem", "load_bundle", "load_document", "parse_bundle"]

_Part = TypeVar("_Part", bound=BaseModel)
_Path = tuple[str | int, ...]
_MAX_PROBLEMS = 100
_BY_HAND = {"written": True}


def load_bundle(folder: Path) -> Bundle:
    """The bundle that *folder* holds.

    Raises:
        BundleError: something is wrong with it; tells everything that is.
    """
    return load_document(folder)[0]


def parse_bundle(text: bytes) -> Bundle:
    """The bundle that a file's *text* describes, whose other files are not looked at.

    Raises:
        BundleError: it describes none.
    """
    document = read_yaml(text, FILE)
    if document.problems:
        raise BundleError(document.problems)
    try:
        return _validated(Bundle, document.values)
    except ValidationError as error:
        raise BundleError(_problems(document, error, ())) from error


def load_document(folder: Path) -> tuple[Bundle, Document]:
    """The bundle that *folder* holds, and the document that says on which line each part of it stands.

    Raises:
        BundleError: something is wrong with it; tells everything that is.
    """
    document = read_yaml(_text(folder), FILE)
    if not isinstance(document.values, dict):
        raise BundleError([Problem(FILE, None, "the file is empty: `predmesh new NAME` writes one to start from")])
    problems = [*document.problems, *_Check(document, folder).problems(), *_link_problems(folder)]
    if problems:
        raise BundleError(problems[:_MAX_PROBLEMS])
    try:
        return _validated(Bundle, document.values), document
    except ValidationError as error:
        raise BundleError(_problems(document, error, ())) from error


def _text(folder: Path) -> bytes:
    try:
        return (folder / FILE).read_bytes()
    except FileNotFoundError as error:
        where = "the folder has no such file" if folder.is_dir() else f"there is no folder {str(folder)!r}"
        raise BundleError([Problem(FILE, None, f"{where}: `predmesh new NAME` makes a bundle")]) from error
    except OSError as error:
        raise BundleError([Problem(FILE, None, f"the file cannot be read: {error.strerror}")]) from error


class _Check:
    """Reads the parts one by one, so that a broken one does not hide what is wrong with the others."""

    def __init__(self, document: Document, folder: Path) -> None:
        self._document = document
        self._folder = folder
        self._found: list[Problem] = []

    def problems(self) -> list[Problem]:
        values = self._document.values
        self._head(values)
        inputs = self._list(Input, "inputs", rules.input_rules, rules.inputs_rules)
        outputs = self._list(Output, "outputs", rules.output_rules, rules.outputs_rules)
        features = self._part(FeatureSet, "features", references.feature_files)
        self._part(Preprocessing, "preprocessing", references.preprocessing_files)
        inference = self._part(Inference, "inference", references.inference_files)
        explanation = self._part(Explanation, "explanation")
        stages = self._part(Stages, "stages")
        policies = self._part(Policies, "policies")
        if inference is not None:
            self._note(rules.inference_rules(inference), "inference")
        if inputs is not None and (features is not None or "features" not in values):
            self._note(rules.feature_rules(inputs, features))
        if inputs is not None and inference is not None:
            self._note(rules.warmup_rules(inputs, inference))
            if "features" not in values and "preprocessing" not in values:
                self._note(rules.tensor_source_rules(inputs, inference))
        if inputs is not None and outputs is not None:
            self._note(rules.enum_rules(inputs, outputs, str(values.get("name", ""))))
        if outputs is not None and inference is not None:
            self._note(rules.output_source_rules(outputs, inference))
        if explanation is not None and outputs is not None:
            self._note(rules.explained_output_rules(explanation, outputs), "explanation")
        if explanation is not None and inference is not None:
            self._note(rules.explained_model_rules(explanation, inference), "explanation")
        if stages is not None and inference is not None:
            self._note(rules.stage_rules(stages, inference), "stages")
        if policies is not None:
            declared = {"features": bool(values.get("features")), "explanation": bool(values.get("explanation"))}
            self._note(rules.policy_rules(policies, **declared), "policies")
        return self._found

    def _head(self, values: dict[str, Any]) -> None:
        """The keys of the file itself: their names, and the values that are no part of their own."""
        parts = {"inputs", "outputs", "features", "preprocessing", "inference", "explanation", "stages", "policies"}
        head = {key: value for key, value in values.items() if key not in parts or value is None}
        try:
            _validated(Bundle, head)
        except ValidationError as error:
            absent = (each for each in error.errors() if not (each["type"] == "missing" and each["loc"][0] in values))
            self._found += [_problem(self._document, each, ()) for each in absent]

    def _part(
        self,
        kind: type[_Part],
        key: str,
        files: Callable[[_Part, Path], Iterator[tuple[_Path, str]]] | None = None,
    ) -> _Part | None:
        value = self._document.values.get(key)
        if value is None:
            return None
        try:
            part = _validated(kind, value)
        except ValidationError as error:
            self._found += _problems(self._document, error, (key,))
            return None
        if files is not None:
            self._note(files(part, self._folder), key)
        return part

    def _list(
        self,
        kind: type[_Part],
        key: str,
        each_rule: Callable[[_Part], Iterator[tuple[_Path, str]]],
        all_rule: Callable[[list[_Part]], Iterator[tuple[_Path, str]]],
    ) -> list[_Part] | None:
        values = self._document.values.get(key)
        if values is None:
            return None
        if not isinstance(values, list) or not values:
            self._found.append(self._document.problem((key,), f"{key} are a list of at least one: `- name: …`"))
            return None
        parts: list[_Part] = []
        for index, value in enumerate(values):
            try:
                parts.append(_validated(kind, value))
            except ValidationError as error:
                self._found += _problems(self._document, error, (key, index))
            else:
                self._note(each_rule(parts[-1]), key, index)
        if len(parts) < len(values):
            return None
        self._note(all_rule(parts), key)
        return parts

    def _note(self, found: Iterable[tuple[_Path, str]], *prefix: str | int) -> None:
        self._found += [self._document.problem((*prefix, *path), message) for path, message in found]


def _validated(kind: type[_Part], value: Any) -> _Part:
    # Through JSON, where strictness means what a writer of YAML expects: a list may become a tuple, "1" no number.
    return TypeAdapter(kind).validate_json(
        json.dumps(value), strict=True, context=_BY_HAND, by_alias=True, by_name=False
    )


def _problems(document: Document, error: ValidationError, prefix: _Path) -> list[Problem]:
    # A list whose items are all broken is also "too short" to pydantic; its writer would not see it that way.
    told = (each for each in error.errors() if not (each["type"] == "too_short" and each["input"]))
    return [_problem(document, each, prefix) for each in told]


def _problem(document: Document, error: ErrorDetails, prefix: _Path) -> Problem:
    path = (*prefix, *error["loc"])
    return document.problem(path, _message(error, path))


def _message(error: ErrorDetails, path: _Path) -> str:
    key = _spelled(path)
    match error["type"]:
        case "extra_forbidden":
            return f"{key} is no key here; {hint(str(path[-1]), _keys_beside(path))}"
        case "missing":
            return f"{key} is missing"
        case "string_pattern_mismatch":
            return f"{key}: {error['input']!r} must match {error['ctx']['pattern']}"
        case "literal_error" | "enum":
            return f"{key}: {error['input']!r} is not allowed; {hint(str(error['input']), _choices(error))}"
        case "value_error":
            return f"{key}: {error['ctx']['error']}"
        case "string_type":
            return f"{key}: {error['input']!r} is no text: put it in quotes"
        case "too_short":
            return f"{key}: at least one is needed"
        case "bool_type":
            return f"{key}: {_shown(error['input'])} is neither true nor false"
        case kind if kind in _NOUNS:
            return f"{key}: {_shown(error['input'])} is no {_NOUNS[kind]}"
    return f"{key}: {error['msg'][0].lower()}{error['msg'][1:]}"


_NOUNS = {
    "int_type": "whole number",
    "int_from_float": "whole number",
    "float_type": "number",
    "tuple_type": "list",
    "dict_type": "mapping",
    "model_type": "mapping of keys and values",
    "model_attributes_type": "mapping of keys and values",
}


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _choices(error: ErrorDetails) -> list[str]:
    return [each.strip().strip("'") for each in error["ctx"]["expected"].replace(" or ", ", ").split(", ")]


def _spelled(path: _Path) -> str:
    text = ""
    for each in path:
        text += f"[{each}]" if isinstance(each, int) else f".{each}" if text else each
    return f"`{text}`" if text else "the file"


def _keys_beside(path: _Path) -> list[str]:
    """The keys that are known where the last one of *path* stands."""
    kind: Any = Bundle
    for each in path[:-1]:
        if isinstance(each, int) or not (isinstance(kind, type) and issubclass(kind, BaseModel)):
            continue
        field = next((field for name, field in kind.model_fields.items() if each in (name, field.alias)), None)
        kind = _model(field.annotation) if field else None
    if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
        return []
    return [field.alias or name for name, field in kind.model_fields.items()]


def _model(annotation: Any) -> Any:
    """The model inside `X | None`, `tuple[X, ...]` and the like."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for each in get_args(annotation) if (found := _model(each)) is not None), None)


def _link_problems(folder: Path) -> Iterator[Problem]:
    for path in bundle_files(folder):
        if problem := link_problem(path, folder):
            yield Problem(path.relative_to(folder).as_posix(), None, problem)
