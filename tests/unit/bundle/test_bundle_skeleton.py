"""New bundles: each template trains and checks as it comes."""

import importlib.util
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from predmesh_bundle.loading import load_bundle
from predmesh_bundle.problems import BundleError
from predmesh_bundle.schema import Bundle
from predmesh_bundle.skeleton import SkeletonError, Template, write_skeleton
from predmesh_runtime import load

LIBRARIES = {
    Template.SKLEARN: ("sklearn", "skops"),
    Template.ONNX: ("sklearn", "skl2onnx"),
    Template.TORCH: ("sklearn", "torch"),
    Template.XGBOOST: ("sklearn", "xgboost"),
}


@pytest.mark.parametrize("template", Template)
def test_it_lacks_nothing_but_the_model(template: Template, tmp_path: Path) -> None:
    with pytest.raises(BundleError) as caught:
        load_bundle(write_skeleton("my-model", template, tmp_path))
    (problem,) = caught.value.problems
    assert "the bundle has no 'model." in problem.message


@pytest.mark.parametrize("template", Template)
def test_it_checks_and_answers_once_it_has_trained(template: Template, tmp_path: Path) -> None:
    for library in LIBRARIES[template]:
        if importlib.util.find_spec(library) is None:
            pytest.skip(f"{library} is not installed")
    folder = write_skeleton("my-model", template, tmp_path)
    done = subprocess.run([sys.executable, folder / "train.py"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "held-out rows" in done.stdout
    bundle = load_bundle(folder)
    (answer,) = _answers(folder, bundle).values()
    assert answer.shape == (2, *bundle.inference.outputs[0].shape)


def _answers(folder: Path, bundle: Bundle) -> dict[str, Any]:
    """What the model makes of the inputs' examples, two rows of them, in the runtime that serves it."""
    rows = np.array([[each.example for each in bundle.inputs]] * 2, dtype=np.float32)
    model = load(folder, bundle.inference.model_dump())
    return model.infer({bundle.inference.inputs[0].name: rows})


@pytest.mark.parametrize("template", Template)
def test_uv_finds_what_the_training_needs(template: Template, tmp_path: Path) -> None:
    lines = (write_skeleton("my-model", template, tmp_path) / "train.py").read_text().splitlines()
    block = lines[lines.index("# /// script") + 1 : lines.index("# ///")]
    declared = tomllib.loads("\n".join(line.removeprefix("# ") for line in block))
    assert declared["dependencies"]


def test_no_placeholder_is_left(tmp_path: Path) -> None:
    folder = write_skeleton("my-model", Template.SKLEARN, tmp_path)
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "predmesh.yaml", "train.py"]
    assert not any("MODEL_NAME" in path.read_text() for path in folder.iterdir())


@pytest.mark.parametrize("name", ["My-Model", "1st", "a_b", "", "../x", "a" * 64])
def test_a_name_that_is_none_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(SkeletonError, match="no name for a model"):
        write_skeleton(name, Template.SKLEARN, tmp_path)


def test_a_folder_that_is_there_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "my-model").mkdir()
    with pytest.raises(SkeletonError, match="is there already"):
        write_skeleton("my-model", Template.SKLEARN, tmp_path)
