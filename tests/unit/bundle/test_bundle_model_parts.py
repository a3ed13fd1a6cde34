"""What a bundle's model is made of: what changes its name, what does not, and which files it may read."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from predmesh_bundle.compiling import compile_bundle
from predmesh_bundle.model_parts import model_files
from predmesh_bundle.schema import Inference, bundle_name
from predmesh_bundle.store import STAMP, Store, StoredBundle

Document = dict[str, Any]
WriteBundle = Callable[..., Path]
Put = Callable[..., StoredBundle]


@pytest.fixture
def put(write_bundle: WriteBundle, store: Store, tmp_path: Path) -> Put:
    """Stores the wine bundle, with some top-level keys and some files changed."""
    numbers = iter(range(100))

    def stored(files: dict[str, bytes] | None = None, **changes: object) -> StoredBundle:
        number = next(numbers)
        folder = write_bundle(folder=f"wine-{number}", **changes)
        for name, content in (files or {}).items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(content)
        compile_bundle(folder, tmp_path / f"compiled-{number}")
        return store.put(tmp_path / f"compiled-{number}")

    return stored


def framework(document: Document, name: str, file: str) -> Document:
    """The wine bundle's inference section, of another framework."""
    section: Document = document["inference"] | {"framework": name, "file": file}
    return section


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"description": "Tells more."}, id="description"),
        pytest.param({"version": "2"}, id="version"),
        pytest.param({"budget": "1s"}, id="budget"),
        pytest.param({"files": {"README.md": b"more"}}, id="file that the model does not read"),
    ],
)
def test_a_bundle_with_the_same_model_calls_it_the_same(put: Put, changes: Document) -> None:
    first, second = put(), put(**changes)
    assert first.bundle_id != second.bundle_id
    assert first.model_id == second.model_id


def test_a_further_input_leaves_the_model_as_it_is(put: Put, document: Document) -> None:
    more = {"name": "color", "type": "double", "required": False, "example": 1}
    assert put().model_id == put(inputs=[*document["inputs"], more]).model_id


@pytest.mark.parametrize("section", [{"instances": 2}, {"max_batch_rows": 8}, {"device": "cpu"}], ids=str)
def test_a_model_that_runs_otherwise_is_another(put: Put, document: Document, section: Document) -> None:
    assert put().model_id != put(inference=document["inference"] | section).model_id


def test_a_model_of_other_weights_is_another(put: Put) -> None:
    assert put().model_id != put(model=b"others").model_id


def test_a_name_says_whose_model_it_is_and_is_no_bundle_id(put: Put) -> None:
    name = put().model_id
    assert re.fullmatch(r"wine-[0-9a-f]{16}", name)
    with pytest.raises(ValueError, match="no bundle id"):
        bundle_name(name)


def test_code_may_read_all_of_its_bundle_and_is_shared_with_none(put: Put, document: Document) -> None:
    section = framework(document, "python", "model.py")
    stored = put(files={"model.py": b"class Model: ..."}, inference=section)
    assert stored.model_id == stored.bundle_id
    read = {path.relative_to(stored.folder).as_posix() for path in model_files(stored.bundle.inference, stored.folder)}
    assert read == {"compiled/bundle.json", "model.onnx", "model.py", "predmesh.yaml"}


def test_a_graph_with_weights_beside_it_reads_other_files_and_is_shared_with_none(
    put: Put, document: Document, tmp_path: Path
) -> None:
    weights = numpy_helper.from_array(np.ones((2, 3), np.float32), "w")
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("features", "probabilities"))
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["features", "w"], ["probabilities"])], "g", [x], [y], [weights]
    )
    made = helper.make_model(graph)
    alone = put(model=made.SerializeToString())
    onnx.save(made, tmp_path / "m.onnx", save_as_external_data=True, location="m.weights", size_threshold=0)
    beside = put(model=(tmp_path / "m.onnx").read_bytes(), files={"m.weights": (tmp_path / "m.weights").read_bytes()})
    assert alone.model_id != alone.bundle_id
    assert beside.model_id == beside.bundle_id
    assert beside.folder / "m.weights" in model_files(beside.bundle.inference, beside.folder)


def test_a_model_that_is_a_folder_is_all_of_it(document: Document, tmp_path: Path) -> None:
    for name in ("saved/saved_model.pb", "saved/variables/index", "other"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    section = Inference.model_validate(framework(document, "tensorflow", "saved"))
    read = [path.relative_to(tmp_path).as_posix() for path in model_files(section, tmp_path)]
    assert read == ["saved/saved_model.pb", "saved/variables/index"]


def test_what_was_stored_before_models_had_names_keeps_to_its_own(put: Put, store: Store) -> None:
    stored = put()
    (stored.folder / STAMP).chmod(0o600)
    (stored.folder / STAMP).write_text(json.dumps({"stored": stored.stored_time.isoformat()}))
    assert Store(store.root).bundle(stored.bundle_id).model_id == stored.bundle_id
