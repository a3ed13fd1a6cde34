"""Small real models of every framework, each with rows and what the framework itself answers for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from predmesh_bundle.schema import Inference, TensorSpec

Array = NDArray[Any]


@dataclass(frozen=True)
class Example:
    """A model in a folder."""

    folder: Path
    inference: Inference
    rows: dict[str, Array]
    """Tensors to ask it with."""
    answers: dict[str, Array]
    """What the framework answers, without Predmesh."""


def table(rows: int = 64, features: int = 4) -> Array:
    """The same random numbers every time: (rows, features)."""
    return np.random.default_rng(7).normal(size=(rows, features)).astype(np.float32)


def labels() -> Array:
    """Three classes that `table` decides."""
    numbers = table()
    return (numbers[:, 0] > 0).astype(np.int64) + (numbers[:, 1] > 0.5)


def described(framework: str, file: str, output: str = "probabilities", width: int = 3, **more: Any) -> Inference:
    """The inference section of a model of `table`'s columns."""
    return Inference(
        framework=framework,  # type: ignore[arg-type]
        file=file,
        inputs=(TensorSpec(name="features", datatype="FP32", shape=(4,)),),
        outputs=(TensorSpec(name=output, datatype="FP32", shape=(width,)),),
        **more,
    )


def xgboost_json(folder: Path) -> Example:
    """Boosted trees for two classes: one probability a row."""
    return _xgboost(folder, "model.json")


def xgboost_ubj(folder: Path) -> Example:
    """The same in XGBoost's binary format."""
    return _xgboost(folder, "model.ubj")


def _xgboost(folder: Path, file: str) -> Example:
    import xgboost as xgb

    wanted = (labels() > 0).astype(int)
    booster = xgb.train({"objective": "binary:logistic", "nthread": 1}, xgb.DMatrix(table(), wanted), 10)
    booster.save_model(folder / file)
    answer = booster.predict(xgb.DMatrix(table()))[:, np.newaxis]
    return Example(folder, described("xgboost", file, width=1), {"features": table()}, {"probabilities": answer})


def lightgbm_text(folder: Path) -> Example:
    """Boosted trees for three classes."""
    import lightgbm as lgb

    settings = {"objective": "multiclass", "num_class": 3, "num_threads": 1, "verbose": -1, "min_data_in_leaf": 2}
    booster = lgb.train(settings, lgb.Dataset(table(), labels()), 10)
    booster.save_model(folder / "model.txt")
    answer = np.asarray(booster.predict(table(), num_threads=1))
    return Example(folder, described("lightgbm", "model.txt"), {"features": table()}, {"probabilities": answer})


def sklearn_skops(folder: Path) -> Example:
    """A pipeline that gives probabilities and a class."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from skops import io

    pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(table(), labels())
    io.dump(pipeline, folder / "model.skops")
    outputs = (
        TensorSpec(name="probabilities", datatype="FP32", shape=(3,)),
        TensorSpec(name="class", datatype="INT64", shape=(1,)),
    )
    inference = described("sklearn", "model.skops").model_copy(update={"outputs": outputs})
    answers = {"probabilities": pipeline.predict_proba(table()), "class": pipeline.predict(table())[:, np.newaxis]}
    return Example(folder, inference, {"features": table()}, answers)


def onnx_graph(folder: Path) -> Example:
    """A graph that squares, and one that adds up: two outputs."""
    from onnx import TensorProto, helper, save

    nodes = [
        helper.make_node("Mul", ["features", "features"], ["squares"]),
        helper.make_node("ReduceSum", ["features", "axis"], ["sum"], keepdims=1),
    ]
    graph = helper.make_graph(
        nodes,
        "arithmetic",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, 4])],
        [
            helper.make_tensor_value_info("squares", TensorProto.FLOAT, [None, 4]),
            helper.make_tensor_value_info("sum", TensorProto.FLOAT, [None, 1]),
        ],
        [helper.make_tensor("axis", TensorProto.INT64, [1], [1])],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "model.onnx")
    outputs = (
        TensorSpec(name="squares", datatype="FP32", shape=(4,)),
        TensorSpec(name="sum", datatype="FP32", shape=(1,)),
    )
    inference = described("onnx", "model.onnx").model_copy(update={"outputs": outputs})
    answers = {"squares": table() ** 2, "sum": table().sum(axis=1, keepdims=True)}
    return Example(folder, inference, {"features": table()}, answers)


PYTHON_TEXT = """
class Model:
    def __init__(self, folder):
        self.files = sorted(path.name for path in folder.iterdir())

    def infer(self, tensors):
        text, number = tensors["text"], tensors["number"]
        if b"stumble" in text.tolist():
            raise ValueError("it stumbled")
        answer = text.copy()
        answer[:] = [item.upper() for item in text.tolist()]
        return {"loud": answer, "double": number * 2}
"""


def python_text(folder: Path) -> Example:
    """Code of the bundle itself, on text and on plain numbers: rows without a shape of their own."""
    (folder / "shout.py").write_text(PYTHON_TEXT)
    inference = Inference(
        framework="python",
        file="shout.py",
        inputs=(TensorSpec(name="text", datatype="BYTES"), TensorSpec(name="number", datatype="INT64")),
        outputs=(TensorSpec(name="loud", datatype="BYTES"), TensorSpec(name="double", datatype="INT64")),
    )
    text = np.array([b"late", "spät".encode(), b""], dtype=object)
    loud = np.array([b"LATE", "spät".encode().upper(), b""], dtype=object)
    numbers = np.array([1, -2, 2**40])
    return Example(folder, inference, {"text": text, "number": numbers}, {"loud": loud, "double": numbers * 2})


MAKERS: Mapping[str, Callable[[Path], Example]] = {
    "xgboost-json": xgboost_json,
    "xgboost-ubj": xgboost_ubj,
    "lightgbm": lightgbm_text,
    "sklearn-skops": sklearn_skops,
    "onnx": onnx_graph,
    "python": python_text,
}
"""The makers by name."""
