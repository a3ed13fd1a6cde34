"""Bundles as Hypothesis makes them: every type, shape, bound, category and name that the schema allows."""

from typing import Any

from hypothesis import strategies as st
from predmesh_bundle import rules
from predmesh_bundle.schema import Bundle, Input, Output

NAMES = st.one_of(
    st.from_regex(r"[a-z][a-z0-9]{0,5}(_[a-z0-9]{1,4}){0,2}", fullmatch=True),
    # Words of the language, of Python and of the packages that contracts import.
    st.sampled_from(
        ["message", "reserved", "optional", "option", "google", "predmesh", "buf", "inputs", "class", "outcome"]
    ),
)
MODELS = st.one_of(
    st.from_regex(r"[a-z][a-z0-9]{0,8}(-[a-z0-9]{1,4}){0,2}", fullmatch=True),
    st.sampled_from(["google", "predmesh", "buf", "models"]),
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
CATEGORIES = st.lists(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8), max_size=6, unique=True
)
SHAPES = st.lists(st.integers(1, 3), max_size=3)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "int32": st.integers(-(2**31), 2**31 - 1),
    "int64": st.integers(-(2**63), 2**63 - 1),
    "bool": st.booleans(),
    "float": st.floats(-(2.0**100), 2.0**100, width=32),
    "double": st.floats(allow_nan=False, allow_infinity=False),
    "string": TEXTS,
    "bytes": st.sampled_from(["", "AAEC"]),
    "timestamp": st.just("2013-12-31T23:59:00Z"),
}


@st.composite
def inputs(draw: st.DrawFn, name: str) -> dict[str, Any]:
    type = draw(st.sampled_from(list(VALUES)))
    shape = draw(SHAPES)
    low, value, high = sorted(draw(st.tuples(VALUES[type], VALUES[type], VALUES[type])))
    given: dict[str, Any] = {
        "name": name,
        "type": type,
        "shape": shape,
        "description": draw(TEXTS),
        "unit": draw(TEXTS),
    }
    if type in ("int32", "int64", "float", "double"):
        given |= {"minimum": draw(st.sampled_from([None, low])), "maximum": draw(st.sampled_from([None, high]))}
    if type == "string" and (categories := draw(CATEGORIES)):
        given |= {"categories": categories, "enum": draw(st.booleans())}
        value = categories[0]
    if draw(st.booleans()):
        given |= {"required": False, "default": draw(st.sampled_from([None, filled(value, shape)]))}
    personal = draw(st.booleans())
    return given | {"personal": personal, "example": filled(value, shape)}


@st.composite
def outputs(draw: st.DrawFn, name: str) -> dict[str, Any]:
    given = {"name": name, "tensor": draw(st.sampled_from(["scores", "grid"])), "description": draw(TEXTS)}
    if draw(st.booleans()) and (labels := draw(CATEGORIES)):
        return given | {"type": "string", "labels": labels, "enum": draw(st.booleans())}
    return given | {
        "type": draw(st.sampled_from(["float", "double", "int64"])),
        "index": draw(st.sampled_from([None, 0])),
    }


@st.composite
def bundles(draw: st.DrawFn, model: st.SearchStrategy[str] = MODELS) -> Bundle:
    taken = draw(st.lists(NAMES, min_size=1, max_size=6, unique_by=lambda name: name.replace("_", "")))
    given = draw(st.lists(NAMES, min_size=1, max_size=3, unique_by=lambda name: name.replace("_", "")))
    explained = draw(st.booleans())
    values = {
        "name": draw(model),
        "version": str(draw(st.integers(1, 99))),
        "owner": draw(TEXTS) or "somebody",
        "description": draw(TEXTS) or "something",
        "inputs": [without_clashes(Input, draw(inputs(name))) for name in taken],
        "outputs": [without_clashes(Output, draw(outputs(name))) for name in given],
        "inference": {
            "framework": "xgboost",
            "file": "model.ubj",
            "inputs": [{"name": "x", "datatype": "FP32"}],
            "outputs": [
                {"name": "scores", "datatype": "FP32", "shape": [3]},
                {"name": "grid", "datatype": "FP32", "shape": [2, -1]},
            ],
        },
    }
    if draw(st.booleans()):
        values["deprecated"] = {"since": "2026-11-21"}
    if explained:
        values["explanation"] = {"method": "tree_shap", "output": given[0]}
    bundle = Bundle.model_validate(values)
    clashes = {path[:2] for path, _ in rules.enum_rules(bundle.inputs, bundle.outputs, bundle.name)}
    return bundle.model_copy(
        update={
            side: tuple(
                each.model_copy(update={"enum": False}) if (side, index) in clashes else each
                for index, each in enumerate(getattr(bundle, side))
            )
            for side in ("inputs", "outputs")
        }
    )


def without_clashes(kind: type[Input] | type[Output], values: dict[str, Any]) -> dict[str, Any]:
    """*values*, without an enum where its categories make none."""
    each_rules: Any = rules.input_rules if kind is Input else rules.output_rules
    refused = {path[0] for path, _ in each_rules(kind.model_validate(values))}
    assert refused <= {"categories", "labels"}, (refused, values)
    return values | {"enum": False} if refused else values


def filled(value: Any, shape: list[int]) -> Any:
    for size in reversed(shape):
        value = [value] * size
    return value
