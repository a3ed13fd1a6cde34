"""The strict loader: what it takes, and what it says about what it does not take."""

import copy
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from predmesh_bundle.loading import load_bundle
from predmesh_bundle.problems import BundleError
from predmesh_bundle.schema import Bundle, Placement, Policy, Stage
from predmesh_frame import DataType

Document = dict[str, Any]
WriteBundle = Callable[..., Path]


def problems_of(folder: Path) -> list[str]:
    with pytest.raises(BundleError) as caught:
        load_bundle(folder)
    return [str(each) for each in caught.value.problems]


def changed(document: Document, path: str, value: object) -> str:
    """The document with one value set, by its dotted path, as YAML; `DELETE` removes it."""
    document = copy.deepcopy(document)
    *way, last = path.split(".")
    place: Any = document
    for each in way:
        place = place[int(each)] if isinstance(place, list) else place.setdefault(each, {})
    key: Any = int(last) if isinstance(place, list) else last
    if value == "DELETE":
        del place[key]
    else:
        place[key] = value
    return yaml.safe_dump(document, sort_keys=False)


def test_a_bundle_says_what_its_file_says(write_bundle: WriteBundle) -> None:
    bundle = load_bundle(write_bundle())
    assert (bundle.name, bundle.version, bundle.budget_seconds) == ("wine", "1", 0.2)
    assert bundle.input("alcohol").type is DataType.DOUBLE
    assert bundle.output("cultivar").labels == ("barolo", "grignolino", "barbera")
    assert bundle.policies.of("inference") is Policy.FAIL


def test_a_bundle_survives_its_normal_form(write_bundle: WriteBundle) -> None:
    bundle = load_bundle(write_bundle())
    assert Bundle.model_validate_json(bundle.model_dump_json()) == bundle


@pytest.mark.parametrize("version", ["1", '"1"', "'1'", "007"])
def test_a_version_may_be_quoted_or_not(write_bundle: WriteBundle, version: str, document: Document) -> None:
    text = yaml.safe_dump(document, sort_keys=False).replace("version: '1'", f"version: {version}")
    assert load_bundle(write_bundle(text)).version == version.strip("'\"")


def test_an_entity_key_of_true_means_the_own_name(write_bundle: WriteBundle, tmp_path: Path) -> None:
    folder = write_bundle(
        features={"repo": "repo", "service": "s"},
        inputs=[
            {"name": "origin", "type": "string", "entity_key": True, "example": "EWR"},
            {"name": "plane", "type": "string", "entity_key": "tailnum", "example": "N1"},
            {"name": "alcohol", "type": "double", "entity_key": False, "example": 1.5},
        ],
    )
    (folder / "repo").mkdir()
    (folder / "repo" / "feature_store.yaml").write_text("project: p\n")
    assert load_bundle(folder).join_keys == {"origin": "origin", "tailnum": "plane"}


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("ownr", "me", "`ownr` is no key here; did you mean 'owner'?"),
        ("owner", "DELETE", "`owner` is missing"),
        ("name", "Wine", "`name`: 'Wine' must match"),
        ("version", 1.5, "`version`: 1.5 is no whole number"),
        ("version", "v1", "`version`: 'v1' must match"),
        ("budget", 200, "`budget`: 200 has no unit"),
        ("budget", "200 years", "is no duration"),
        ("budget", "0s", "must be longer than 0"),
        ("budget_seconds", 1, "`budget_seconds` is no key here; did you mean 'budget'?"),
        ("description", 5, "`description`: 5 is no text"),
        ("inputs", [], "inputs are a list of at least one"),
        ("inputs", {"a": 1}, "inputs are a list of at least one"),
        ("inputs.0", 5, "`inputs[0]`: 5 is no mapping"),
        ("inputs.0.typ", "double", "`inputs[0].typ` is no key here; did you mean 'type'?"),
        ("inputs.0.type", "doble", "`inputs[0].type`: 'doble' is no type; did you mean 'double'?"),
        ("inputs.0.name", "Alcohol", "`inputs[0].name`: 'Alcohol' must match"),
        ("inputs.0.minimum", 101, "the minimum, 101, is above the maximum, 100"),
        ("inputs.0.minimum", "0", "`inputs[0].minimum`: '0' is no number"),
        ("inputs.0.example", "DELETE", "`inputs[0].example` is missing"),
        ("inputs.0.example", 101, "the example does not fit the input: 101 is above the maximum, 100"),
        ("inputs.0.example", "x", "the example does not fit the input: 'x' is no number"),
        ("inputs.0.example", float("nan"), "nan is not finite"),
        ("inputs.0.default", 5, "a required input has no default"),
        ("inputs.0.categories", ["a"], "categories are for strings; 'alcohol' is of type double"),
        ("inputs.0.entity_key", True, "an entity key is a single string or integer"),
        ("inputs.0.subject", True, "add `personal: true`"),
        ("inputs.0.required", "no", "`inputs[0].required`: 'no' is neither true nor false"),
        ("inputs.0.number", 19_500, "protobuf's own"),
        ("inputs.0.number", 0, "`inputs[0].number`: input should be greater than or equal to 1"),
        ("inputs.0.shape", [2], "a list of 2 values is needed"),
        ("inputs.1.name", "alcohol", "the input 'alcohol' is here 2 times"),
        ("inputs.1.name", "hew", "without `preprocessing`, 'hue' must be an input; did you mean 'hew'?"),
        ("inference.file", "modl.onnx", "the bundle has no 'modl.onnx'; did you mean 'model.onnx'?"),
        ("inference.file", "../model.onnx", "leaves the bundle"),
        ("inference.file", "/etc/passwd", "leaves the bundle"),
        ("inference.framework", "sklearn", "save it with skops.io.dump to .skops"),
        ("inference.framework", "onx", "did you mean 'onnx'?"),
        ("inference.instances", 0, "greater than or equal to 1"),
        ("inference.device", "tpu", "'tpu' is not allowed; did you mean"),
        ("inference.inputs.0.datatype", "FP33", "did you mean 'FP32'?"),
        ("inference.inputs.0.shape", [3], "2 names for a last axis of 3"),
        ("inference.inputs.0.datatype", "BYTES", "'alcohol' is of type double and does not fit into BYTES"),
        ("inference.outputs.0.shape", [0], "a dimension of 0 holds nothing"),
        ("inference.outputs.0.shape", [4], "3 labels for the 4 positions of 'probabilities'"),
        ("inference.outputs.0.name", "probs", "the model gives no tensor 'probabilities'; there are probs"),
        ("inference.warmup", [{"alcohol": 1, "hue": "a"}], "the value does not fit the input: 'a' is no number"),
        ("inference.warmup", [{"alcohol": 1, "hue": 1, "hu": 1}], "there is no input 'hu'; did you mean 'hue'?"),
        ("outputs.1.index", 3, "'probabilities' has positions 0 to 2"),
        ("outputs.1.type", "string", "add `labels`, or choose a number as type"),
        ("outputs.1.type", "bytes", "holds FP32, which is no bytes"),
        ("outputs.1.labels", ["a"], "labels name strings"),
        ("outputs.0.index", 1, "labels look at the whole row"),
        ("outputs.1.name", "cultivar", "the output 'cultivar' is here 2 times"),
        ("explanation", {"method": "tree_shap", "output": "barolo"}, "there is no output 'barolo'; did you mean"),
        ("explanation", {"method": "tree_shap", "output": "cultivar"}, "only a number can be explained"),
        ("explanation", {"method": "tree_shap", "output": "barolo_probability"}, "not onnx"),
        ("explanation", {"method": "shap", "output": "cultivar"}, "`explanation.method`: 'shap' is not allowed"),
        ("stages", "in-proces", "`stages`: 'in-proces' is not allowed; did you mean 'in-process'?"),
        ("stages", {"features": "remot"}, "`stages.features`: 'remot' is not allowed; did you mean 'remote'?"),
        ("stages", {"feature": "local"}, "`stages.feature` is no key here; did you mean 'features'?"),
        ("stages", 3, "`stages`: 3 is no mapping of keys and values"),
        ("policies", {"inference": "defaults"}, "inference cannot 'defaults'; it can 'fail'"),
        ("policies", {"features": "defaults"}, "there are no `features` to stand in for"),
        ("policies", {"explanation": "skip"}, "there is no `explanation` to skip"),
        ("policies", {"features": "default"}, "did you mean 'defaults'?"),
        ("preprocessing", {}, "exactly one of `onnx` and `plugin`"),
        ("preprocessing", {"onnx": "a.onnx", "plugin": "a:B"}, "exactly one of `onnx` and `plugin`"),
        ("preprocessing", {"plugin": "a.B"}, "`preprocessing.plugin`: 'a.B' must match"),
        ("preprocessing", {"plugin": "prepare:Prepare"}, "the bundle has no 'prepare.py'"),
        ("features", {"repo": "repo", "service": "s"}, "the bundle has no 'repo'"),
        ("features", {"repo": "repo", "service": "s", "max_age": 5}, "5 has no unit"),
    ],
)
def test_what_is_wrong_is_said(
    write_bundle: WriteBundle, path: str, value: object, message: str, document: Document
) -> None:
    folder = write_bundle(changed(document, path, value))
    assert any(message in each for each in problems_of(folder)), problems_of(folder)


def test_one_word_places_all_stages(write_bundle: WriteBundle) -> None:
    stages = load_bundle(write_bundle(stages="in-process")).stages
    assert {stages.of(each) for each in get_args(Stage)} == {Placement.IN_PROCESS}


def test_a_stage_that_is_not_placed_is_local(write_bundle: WriteBundle) -> None:
    stages = load_bundle(write_bundle(stages={"inference": "remote"})).stages
    assert (stages.inference, stages.features) == (Placement.REMOTE, Placement.LOCAL)


@pytest.mark.parametrize(
    ("written", "shown"),
    [("local", "local"), ("in-process", "in-process"), ({"inference": "remote"}, "inference: remote")],
    ids=str,
)
def test_where_stages_run_is_shown_shortly(write_bundle: WriteBundle, written: object, shown: str) -> None:
    assert str(load_bundle(write_bundle(stages=written)).stages) == shown


def test_a_model_for_the_gpu_is_not_for_the_prediction_process(write_bundle: WriteBundle, document: Document) -> None:
    inference = document["inference"] | {"device": "gpu"}
    (problem,) = problems_of(write_bundle(stages="in-process", inference=inference))
    assert "the prediction process has no GPU" in problem


def test_each_problem_has_its_line(write_bundle: WriteBundle, document: Document) -> None:
    text = changed(document, "inputs.1.exampel", 5)
    line = next(number for number, each in enumerate(text.splitlines(), 1) if "exampel" in each)
    assert problems_of(write_bundle(text))[0].startswith(f"predmesh.yaml:{line}: ")


def test_all_problems_come_at_once_in_the_order_of_the_file(write_bundle: WriteBundle, document: Document) -> None:
    document["inputs"][0]["minimum"] = 200
    document["ownr"] = "me"
    document["outputs"][1]["index"] = 7
    document["explanation"] = {"method": "tree_shap", "output": "q"}
    folder = write_bundle(yaml.safe_dump(document, sort_keys=False))
    found = problems_of(folder)
    lines = [int(each.split(":")[1]) for each in found]
    assert len(found) == 6
    assert lines == sorted(lines)


def test_an_entity_key_needs_features(write_bundle: WriteBundle, document: Document) -> None:
    inputs = [*document["inputs"], {"name": "k", "type": "string", "entity_key": True, "example": "x"}]
    (problem,) = problems_of(write_bundle(inputs=inputs))
    assert "'k' is an entity key, but there are no `features`" in problem


def test_an_optional_number_needs_a_default_where_the_tensor_cannot_hold_a_gap(
    write_bundle: WriteBundle, document: Document
) -> None:
    document["inputs"][0]["required"] = False
    document["inference"]["inputs"][0]["datatype"] = "INT64"
    (problem,) = problems_of(write_bundle(yaml.safe_dump(document)))
    assert "INT64 cannot hold a missing 'alcohol'; give that input a default" in problem


@pytest.mark.parametrize(
    ("type", "example"),
    [
        ("bool", 1),
        ("int32", 2**31),
        ("int64", 2**63),
        ("int64", 1.5),
        ("float", "1"),
        ("bytes", "no base64!"),
        ("timestamp", "2013-12-31"),
        ("timestamp", "yesterday"),
    ],
)
def test_an_example_must_be_of_its_type(
    write_bundle: WriteBundle, type: str, example: object, document: Document
) -> None:
    inputs = [*document["inputs"], {"name": "other", "type": type, "example": example}]
    assert any("the example does not fit" in each for each in problems_of(write_bundle(inputs=inputs)))


@pytest.mark.parametrize(
    ("type", "example"),
    [
        ("bool", True),
        ("int32", -(2**31)),
        ("int64", 2**63 - 1),
        ("float", 1),
        ("string", "x"),
        ("bytes", "aGk="),
        ("timestamp", "2013-12-31T23:59:00-05:00"),
    ],
)
def test_a_right_example_is_taken(write_bundle: WriteBundle, type: str, example: object, document: Document) -> None:
    inputs = [*document["inputs"], {"name": "other", "type": type, "example": example}]
    assert load_bundle(write_bundle(inputs=inputs)).input("other").example == example


def test_a_folder_without_the_file_is_told_what_to_do(tmp_path: Path) -> None:
    assert "`predmesh new NAME`" in problems_of(tmp_path)[0]
    assert "there is no folder" in problems_of(tmp_path / "nowhere")[0]


@pytest.mark.parametrize("text", ["", "# only this\n", "- a list\n", "text\n"])
def test_a_file_that_says_nothing_is_refused(write_bundle: WriteBundle, text: str) -> None:
    assert "the file is empty" in problems_of(write_bundle(text))[0]


def test_links_out_of_the_bundle_are_refused(write_bundle: WriteBundle, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s")
    folder = write_bundle()
    (folder / "notes").symlink_to(tmp_path / "secret")
    assert problems_of(folder) == ["notes: this link leads out of the bundle: copy what it points to into the folder"]


def test_a_model_behind_a_link_out_of_the_bundle_is_refused(write_bundle: WriteBundle, tmp_path: Path) -> None:
    folder = write_bundle()
    (folder / "model.onnx").rename(tmp_path / "outside.onnx")
    (folder / "model.onnx").symlink_to(tmp_path / "outside.onnx")
    assert any(each.startswith("predmesh.yaml:") and "leads out of the bundle" in each for each in problems_of(folder))


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda folder: (folder / "x").symlink_to("nowhere"), "leads nowhere"),
        (lambda folder: (folder / "x").symlink_to("."), "this is no file"),
        (lambda folder: os.mkfifo(folder / "x"), "this is no file"),
    ],
    ids=["broken", "folder", "pipe"],
)
def test_what_cannot_be_stored_is_refused(write_bundle: WriteBundle, make: Callable[[Path], None], reason: str) -> None:
    folder = write_bundle()
    make(folder)
    assert reason in problems_of(folder)[0]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("class Prepair:\n    def transform(self, frame): ...\n", "did you mean 'Prepair'?"),
        ("class Prepare:\n    pass\n", "has no method `transform(self, frame)`"),
        ("class Prepare(:\n", "prepare.py is no Python"),
    ],
)
def test_a_plugin_is_looked_at_without_running_it(write_bundle: WriteBundle, source: str, reason: str) -> None:
    folder = write_bundle(preprocessing={"plugin": "prepare:Prepare"})
    (folder / "prepare.py").write_text(f"raise SystemExit('ran')\n{source}")
    assert reason in problems_of(folder)[0]


@pytest.mark.parametrize(
    "source",
    [
        "class Prepare:\n    def transform(self, frame): ...\n",
        "class Prepare:\n    transform = print\n",
        "class Prepare(dict): ...\n",
        "from .other import Prepare\n",
        "Prepare = make()\n",
    ],
    ids=["method", "attribute", "inherited", "imported", "assigned"],
)
def test_a_right_plugin_is_taken(write_bundle: WriteBundle, source: str) -> None:
    folder = write_bundle(preprocessing={"plugin": "code.prepare:Prepare"})
    (folder / "code").mkdir()
    (folder / "code" / "prepare.py").write_text(source)
    assert load_bundle(folder).preprocessing is not None


def _paths(value: object, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, each in items for found in _paths(each, (*path, key)))]


_JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_change_of_a_right_bundle_raises_anything_but_problems(
    write_bundle: WriteBundle, data: st.DataObject, document: Document
) -> None:
    document = copy.deepcopy(document)
    *way, last = data.draw(st.sampled_from([path for path in _paths(document) if path]))
    place: Any = document
    for each in way:
        place = place[each]
    place[last] = data.draw(_JUNK)
    try:
        load_bundle(write_bundle(yaml.safe_dump(document, sort_keys=False, allow_unicode=False)))
    except BundleError as error:
        assert all(each.message for each in error.problems)
