"""What the runtime refuses, and what it says then; tests/contract/test_model_server.py is about right answers."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from predmesh_runtime import InputError, LoadError, RunError, TensorSpec, load
from predmesh_runtime.specs import shaped
from predmesh_testing.models import MAKERS, Example, table


def section(example: Example, **changes: Any) -> dict[str, Any]:
    return example.inference.model_dump(mode="json") | changes


def spec(name: str, shape: tuple[int, ...] = (4,), datatype: str = "FP32") -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape}


CASES: dict[str, tuple[str, dict[str, Any], str]] = {
    "a framework that is none": ("onnx", {"framework": "caffe"}, "'caffe' is unknown; use one of onnx"),
    "a file that is missing": ("onnx", {"file": "other.onnx"}, "no other.onnx"),
    "a datatype that is none": ("onnx", {"inputs": [spec("features", datatype="BF16")]}, "'BF16'; use one of"),
    "an input that the graph lacks": ("onnx", {"inputs": [spec("x")]}, "the graph takes features"),
    "an output that the graph lacks": ("onnx", {"outputs": [spec("total")]}, "gives squares, sum, and no total"),
    "too few features": ("xgboost-json", {"inputs": [spec("features", (3,))]}, "has 4 features, the bundle's inputs 3"),
    "text for trees": ("xgboost-json", {"inputs": [spec("features", (4,), "BYTES")]}, "give text and images to"),
    "two outputs of a booster": ("xgboost-json", {"outputs": [spec("a"), spec("b")]}, "a booster gives one output"),
    "too few features, lightgbm": ("lightgbm", {"inputs": [spec("features", (3,))]}, "has 4 features"),
    "a library that is not installed": ("onnx", {"framework": "pytorch"}, r"install --extra torch"),
}


@pytest.mark.parametrize("name", CASES)
def test_a_bundle_that_cannot_be_loaded_is_told_what_to_change(name: str, tmp_path: Path) -> None:
    maker, changes, message = CASES[name]
    with pytest.raises(LoadError, match=message):
        load(tmp_path, section(MAKERS[maker](tmp_path), **changes))


def test_a_pickle_is_not_opened(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (Path(tmp_path / "sprung").touch, ())

    (tmp_path / "model.pkl").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(LoadError, match=r"can run any code.*skops\.io\.dump"):
        load(tmp_path, section(MAKERS["sklearn-skops"](tmp_path), file="model.pkl"))
    assert not (tmp_path / "sprung").exists()


def test_a_skops_file_with_foreign_types_is_not_opened(tmp_path: Path) -> None:
    from skops import io

    example = MAKERS["sklearn-skops"](tmp_path)
    io.dump({"model": Foreign()}, tmp_path / "foreign.skops")
    with pytest.raises(LoadError, match=r"not trusted: .*Foreign"):
        load(tmp_path, section(example, file="foreign.skops"))


class Foreign:
    """No type that skops knows."""


def test_a_booster_saved_as_something_else_is_refused(tmp_path: Path) -> None:
    example = MAKERS["xgboost-json"](tmp_path)
    (tmp_path / "model.bin").write_bytes(b"binf")
    with pytest.raises(LoadError, match="save_model"):
        load(tmp_path, section(example, file="model.bin"))


def test_one_probability_becomes_two_columns_where_the_bundle_says_two(tmp_path: Path) -> None:
    example = MAKERS["xgboost-json"](tmp_path)
    answer = load(tmp_path, section(example, outputs=[spec("both", (2,))])).infer({"features": table()})["both"]
    np.testing.assert_allclose(answer[:, 1:], example.answers["probabilities"], atol=1e-6)
    np.testing.assert_allclose(answer.sum(axis=1), 1, atol=1e-6)


def test_single_columns_become_the_table_in_the_bundles_order(tmp_path: Path) -> None:
    example = MAKERS["xgboost-json"](tmp_path)
    columns = {name: table()[:, at] for at, name in enumerate("abcd")}
    model = load(tmp_path, section(example, inputs=[spec(name, ()) for name in "abcd"]))
    np.testing.assert_allclose(model.infer(columns)["probabilities"], example.answers["probabilities"], atol=1e-6)


def test_an_output_of_another_shape_says_which_line_to_correct(tmp_path: Path) -> None:
    example = MAKERS["lightgbm"](tmp_path)
    with pytest.raises(RunError, match=r"gave probabilities of shape \[64, 3\].*says \[64, 5\].*predmesh.yaml"):
        load(tmp_path, section(example, outputs=[spec("probabilities", (5,))])).infer({"features": table()})


def test_values_are_not_cast_to_another_kind() -> None:
    with pytest.raises(RunError, match="float64; the bundle says INT64"):
        shaped(TensorSpec("y", "INT64", (1,)), np.ones((2, 1)), 2)


def test_the_models_own_failure_is_told_as_such(tmp_path: Path) -> None:
    model = load(tmp_path, section(MAKERS["python"](tmp_path)))
    with pytest.raises(RunError, match="the model failed on this input: ValueError: it stumbled"):
        model.infer({"text": np.array([b"stumble"], dtype=object), "number": np.array([1])})


def test_code_of_the_bundle_leaves_no_trace_in_its_folder(tmp_path: Path) -> None:
    load(tmp_path, section(MAKERS["python"](tmp_path)))
    assert [path.name for path in tmp_path.iterdir()] == ["shout.py"]


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"text": np.array([b"a"], dtype=object)}, "takes text, number; it was given text"),
        ({"text": np.array([b"a"], dtype=object), "number": np.array([1, 2])}, "different numbers of rows"),
        ({"text": np.array(["a"]), "number": np.array([1])}, "text holds <U1, it must hold BYTES"),
        ({"text": np.array([], dtype=object), "number": np.array([], dtype=np.int64)}, "there are no rows"),
    ],
    ids=["missing", "rows", "type", "none"],
)
def test_tensors_that_the_model_does_not_take_are_refused(
    tensors: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        load(tmp_path, section(MAKERS["python"](tmp_path))).infer(tensors)
