"""Both adapters keep what preprocessing promises: the real graph and the real plug-in."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from predmesh_bundle.schema import Bundle
from predmesh_bundle.store import StoredBundle
from predmesh_frame import Column, DataType, Frame
from predmesh_frame.blocks import ColumnBlock
from predmesh_preprocessing.domain import Unusable
from predmesh_preprocessing.transformers import Loaded, open_transformer
from predmesh_rpc.errors import InvalidInput

BUNDLE: dict[str, Any] = {
    "name": "delay",
    "version": "1",
    "owner": "tests",
    "description": "Tests preprocessing.",
    "inputs": [
        {"name": "carrier", "type": "string", "example": "UA"},
        {"name": "tail", "type": "string", "required": False, "example": "N1"},
        {"name": "distance", "type": "double", "required": False, "example": 100.0},
        {"name": "seats", "type": "int64", "example": 150},
        {"name": "departure", "type": "timestamp", "example": "2013-12-31T18:30:00Z"},
    ],
    "inference": {
        "framework": "onnx",
        "file": "model.onnx",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [5]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [1]}],
    },
    "outputs": [{"name": "late", "type": "double", "tensor": "y", "index": 0}],
}
PLUGIN = """
import numpy as np
from .codes import CARRIERS

class Preprocess:
    def __init__(self, folder):
        self.folder = folder

    def transform(self, frame):
        def numbers(name):
            column = frame.columns[name]
            values = column.values.astype(np.float64)
            return values if column.valid is None else np.where(column.valid, values, np.nan)
        tail = frame.columns["tail"]
        present = np.ones(frame.rows) if tail.valid is None else tail.valid.astype(float)
        carrier = np.array([CARRIERS.get(code, -1.0) for code in frame.columns["carrier"].values])
        hours = numbers("departure") / 3.6e9
        return {"x": np.stack([carrier, numbers("distance"), numbers("seats"), hours, present], axis=1)}
"""


def graph(path: Path) -> None:
    def scalar(name: str, kind: int) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, kind, ["rows", 1])

    def label(source: str, target: str, codes: dict[str, float], default: float) -> onnx.NodeProto:
        return helper.make_node(
            "LabelEncoder",
            [source],
            [target],
            domain="ai.onnx.ml",
            keys_strings=list(codes),
            values_floats=list(codes.values()),
            default_float=default,
        )

    nodes = [
        label("carrier", "a", {"UA": 1.0, "AA": 2.0}, -1.0),
        label("tail", "e", {"": 0.0}, 1.0),
        helper.make_node("Cast", ["distance"], ["b"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["seats"], ["c"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["departure"], ["d0"], to=TensorProto.DOUBLE),
        helper.make_node("Div", ["d0", "hour"], ["d1"]),
        helper.make_node("Cast", ["d1"], ["d"], to=TensorProto.FLOAT),
        helper.make_node("Concat", ["a", "b", "c", "d", "e"], ["x"], axis=1),
    ]
    inputs = [
        scalar("carrier", TensorProto.STRING),
        scalar("tail", TensorProto.STRING),
        scalar("distance", TensorProto.DOUBLE),
        scalar("seats", TensorProto.INT64),
        scalar("departure", TensorProto.INT64),
    ]
    outputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 5])]
    hour = helper.make_tensor("hour", TensorProto.DOUBLE, [], [3.6e9])
    made = helper.make_graph(nodes, "preprocess", inputs, outputs, [hour])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    onnx.save(helper.make_model(made, opset_imports=opsets, ir_version=9), path)


def stored(folder: Path, document: dict[str, Any], *, bundle_id: str = "delay-1-000000000000") -> StoredBundle:
    bundle = Bundle.model_validate(document)
    return StoredBundle(bundle_id, folder, bundle, datetime(2026, 1, 1, tzinfo=UTC), bundle_id)


def frame(rows: int = 3) -> Frame:
    every: dict[str, tuple[DataType, list[Any]]] = {
        "carrier": (DataType.STRING, ["UA", "AA", "ZZ"]),
        "tail": (DataType.STRING, ["N1", None, "N3"]),
        "distance": (DataType.DOUBLE, [100.5, None, 300.0]),
        "seats": (DataType.INT64, [150, 0, 3]),
        "departure": (DataType.TIMESTAMP, [datetime(1970, 1, 1, 5, tzinfo=UTC)] * 3),
    }
    columns = {name: Column.of(type, values) for name, (type, values) in every.items()}
    return Frame(3, columns).take(np.arange(rows) % 3)


def blocked(frame: Frame) -> Frame:
    """*frame* with its numbers in blocks."""
    single = {name: frame.columns[name] for name in ("carrier", "tail", "departure")}
    seats, distance = frame.columns["seats"], frame.columns["distance"]
    blocks = [
        ColumnBlock(("distance",), DataType.DOUBLE, distance.values[np.newaxis], distance.mask[np.newaxis]),
        ColumnBlock(("seats",), DataType.INT64, seats.values[np.newaxis]),
    ]
    return Frame.of_blocks(frame.rows, single, blocks)


EXPECTED = np.array([[1, 100.5, 150, 5, 1], [2, np.nan, 0, 5, 0], [-1, 300, 3, 5, 1]], np.float32)


@pytest.fixture(params=["onnx", "plugin"])
def bundle(request: pytest.FixtureRequest, tmp_path: Path) -> StoredBundle:
    if request.param == "onnx":
        graph(tmp_path / "prepare.onnx")
        return stored(tmp_path, BUNDLE | {"preprocessing": {"onnx": "prepare.onnx"}})
    (tmp_path / "prepare.py").write_text(PLUGIN)
    (tmp_path / "codes.py").write_text("CARRIERS = {'UA': 1.0, 'AA': 2.0}\n")
    return stored(tmp_path, BUNDLE | {"preprocessing": {"plugin": "prepare:Preprocess"}})


def opened(bundle: StoredBundle) -> Loaded:
    found = open_transformer(bundle)
    assert found is not None
    return found


@pytest.fixture
def loaded(bundle: StoredBundle) -> Iterator[Loaded]:
    found = opened(bundle)
    yield found
    found.transformer.close()


def test_rows_become_the_models_tensor(loaded: Loaded):
    (x,) = loaded.transformer.transform(frame()).values()
    np.testing.assert_allclose(x.astype(np.float32), EXPECTED)


@pytest.mark.parametrize("rows", [1, 3])
def test_columns_that_came_as_blocks_become_the_same_tensor(loaded: Loaded, rows: int):
    (x,) = loaded.transformer.transform(blocked(frame(rows))).values()
    np.testing.assert_allclose(x.astype(np.float32), EXPECTED[:rows])


def test_what_fits_passes_as_it_is_and_what_does_not_is_still_refused(loaded: Loaded):
    whole = blocked(frame())
    assert loaded.fitting.complete(whole) is whole
    assert loaded.fitting.complete(whole) is whole
    tail = {"tail": whole.columns["tail"]}
    assert set(loaded.fitting.complete(Frame(3, {**frame().columns})).columns) == set(whole.columns)
    with pytest.raises(InvalidInput, match="carrier is missing"):
        loaded.fitting.complete(Frame(3, tail))


def test_an_integer_that_is_missing_in_a_block_is_refused_by_name(tmp_path: Path):
    graph(tmp_path / "prepare.onnx")
    found = open_transformer(stored(tmp_path, BUNDLE | {"preprocessing": {"onnx": "prepare.onnx"}}))
    assert found is not None
    whole = blocked(frame())
    valid = np.array([[True] * 3, [True, False, True]])
    values = np.stack([whole.columns["departure"].values, whole.columns["seats"].values])
    hole = ColumnBlock(("departure", "seats"), DataType.INT64, values, valid)
    single = {name: whole.columns[name] for name in ("carrier", "tail", "distance")}
    with pytest.raises(InvalidInput, match="'seats' is missing"):
        found.transformer.transform(Frame.of_blocks(3, single, [hole]))


def test_rows_keep_their_order_however_many_there_are(loaded: Loaded):
    (x,) = loaded.transformer.transform(frame(1000)).values()
    np.testing.assert_allclose(x.astype(np.float32), np.tile(EXPECTED, (334, 1))[:1000])


def test_two_calls_do_not_depend_on_each_other(loaded: Loaded):
    first = loaded.transformer.transform(frame())["x"].copy()
    loaded.transformer.transform(frame(7))
    np.testing.assert_array_equal(loaded.transformer.transform(frame())["x"], first)


def test_nothing_is_written_into_the_bundle(bundle: StoredBundle, loaded: Loaded):
    loaded.transformer.transform(frame())
    assert not list(bundle.folder.rglob("__pycache__"))


@pytest.mark.parametrize(
    ("tensor", "complaint"),
    [
        pytest.param({"name": "z", "datatype": "FP32", "shape": [5]}, "'z'", id="name"),
        pytest.param({"name": "x", "datatype": "FP32", "shape": [6]}, r"\[2, 6\]", id="shape"),
        pytest.param({"name": "x", "datatype": "INT64", "shape": [5]}, "INT64", id="type"),
        pytest.param({"name": "x", "datatype": "BYTES", "shape": [5]}, "BYTES", id="text"),
    ],
)
def test_a_model_that_takes_another_tensor_is_refused_at_load(
    bundle: StoredBundle, tensor: dict[str, Any], complaint: str
):
    assert bundle.bundle.preprocessing is not None
    parts = {
        "inference": BUNDLE["inference"] | {"inputs": [tensor]},
        "preprocessing": bundle.bundle.preprocessing.model_dump(exclude_none=True),
    }
    other = Bundle.model_validate(BUNDLE | parts)
    with pytest.raises(Unusable, match=complaint):
        open_transformer(replace(bundle, bundle=other))


def test_a_double_may_be_narrowed_to_the_models_float(tmp_path: Path):
    (tmp_path / "prepare.py").write_text(PLUGIN.replace("from .codes import CARRIERS", "CARRIERS = {}"))
    plugin = stored(tmp_path, BUNDLE | {"preprocessing": {"plugin": "prepare:Preprocess"}})
    opened(plugin).transformer.close()


def versions(tmp_path: Path) -> list[Loaded]:
    made = []
    for number in (1, 2):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "prepare.py").write_text(PLUGIN)
        (folder / "codes.py").write_text(f"CARRIERS = {{'UA': {number}.0}}\n")
        document = BUNDLE | {"preprocessing": {"plugin": "prepare:Preprocess"}}
        made.append(opened(stored(folder, document, bundle_id=f"delay-{number}-000000000000")))
    return made


def test_two_versions_of_a_plugin_never_mix(tmp_path: Path):
    one, two = versions(tmp_path)
    assert [each.transformer.transform(frame())["x"][0, 0] for each in (one, two, one)] == [1.0, 2.0, 1.0]
    one.transformer.close()
    assert two.transformer.transform(frame())["x"][0, 0] == 2.0
    two.transformer.close()


def test_a_closed_plugin_leaves_no_module_behind(tmp_path: Path):
    before = set(sys.modules), list(sys.meta_path)
    for each in versions(tmp_path):
        each.transformer.close()
    assert (set(sys.modules) - before[0], list(sys.meta_path)) == (set(), before[1])


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        pytest.param("import nowhere", "nowhere", id="import"),
        pytest.param("x = 1", "Preprocess", id="class"),
        pytest.param("class Preprocess:\n    pass", "Preprocess", id="constructor"),
        pytest.param("class Preprocess:\n    def __init__(self, folder):\n        pass", "transform", id="method"),
        pytest.param(
            "class Preprocess:\n    def __init__(self, f): pass\n    def transform(self, frame): return 1",
            "dict",
            id="answer",
        ),
    ],
)
def test_a_plugin_that_cannot_work_is_refused_at_load(tmp_path: Path, source: str, complaint: str):
    before = set(sys.modules)
    (tmp_path / "prepare.py").write_text(source)
    with pytest.raises(Unusable, match=complaint):
        open_transformer(stored(tmp_path, BUNDLE | {"preprocessing": {"plugin": "prepare:Preprocess"}}))
    assert not [name for name in set(sys.modules) - before if name.startswith("predmesh_plugin")]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        pytest.param({"name": "carriers"}, "did you mean 'carrier'", id="name"),
        pytest.param({"type": "double"}, "carrier", id="type"),
    ],
)
def test_a_graph_that_takes_another_column_is_refused_at_load(tmp_path: Path, change: dict[str, Any], complaint: str):
    graph(tmp_path / "prepare.onnx")
    first, *rest = BUNDLE["inputs"]
    example = {"example": 1.0} if "type" in change else {}
    if "name" in change:
        model = onnx.load(tmp_path / "prepare.onnx")
        model.graph.input[0].name = model.graph.node[0].input[0] = change["name"]
        onnx.save(model, tmp_path / "prepare.onnx")
        change = {}
    document = BUNDLE | {"inputs": [first | change | example, *rest], "preprocessing": {"onnx": "prepare.onnx"}}
    with pytest.raises(Unusable, match=complaint):
        open_transformer(stored(tmp_path, document))


def test_an_integer_that_may_be_missing_needs_a_float_in_the_graph(tmp_path: Path):
    graph(tmp_path / "prepare.onnx")
    inputs = [given | {"required": False} if given["name"] == "seats" else given for given in BUNDLE["inputs"]]
    document = BUNDLE | {"inputs": inputs, "preprocessing": {"onnx": "prepare.onnx"}}
    with pytest.raises(Unusable, match="'seats' may be missing"):
        open_transformer(stored(tmp_path, document))


def test_a_graph_of_fixed_batch_size_is_refused_at_load(tmp_path: Path):
    graph(tmp_path / "prepare.onnx")
    model = onnx.load(tmp_path / "prepare.onnx")
    for node in model.graph.input:
        node.type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(model, tmp_path / "prepare.onnx")
    with pytest.raises(Unusable, match="example"):
        open_transformer(stored(tmp_path, BUNDLE | {"preprocessing": {"onnx": "prepare.onnx"}}))


def test_a_file_that_is_no_graph_is_refused_at_load(tmp_path: Path):
    (tmp_path / "prepare.onnx").write_bytes(b"nothing")
    with pytest.raises(Unusable, match=r"prepare\.onnx"):
        open_transformer(stored(tmp_path, BUNDLE | {"preprocessing": {"onnx": "prepare.onnx"}}))


def test_a_bundle_without_preprocessing_needs_nothing(tmp_path: Path):
    assert open_transformer(stored(tmp_path, BUNDLE)) is None
