import json
from pathlib import Path

import numpy as np
import pytest
from predmesh_bundle.loading import load_bundle
from predmesh_runtime.model import load
from sklearn.datasets import load_wine

from examples.wine import train


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wine")
    assert train.main(folder) > 0.95
    return folder


def test_its_inputs_are_the_columns_of_the_data_in_order(folder: Path) -> None:
    bundle = load_bundle(folder)
    names = [name.replace("/", "_").removesuffix("_of_diluted_wines") for name in load_wine().feature_names]
    assert [item.name for item in bundle.inputs] == names
    assert list(bundle.inference.inputs[0].feature_names) == names


def test_the_runtime_tells_the_example_s_grape(folder: Path) -> None:
    bundle = load_bundle(folder)
    row = np.array([[item.example for item in bundle.inputs]], np.float64)
    model = load(folder, json.loads(bundle.inference.model_dump_json()))
    probabilities = model.infer({"x": row})["probabilities"][0]
    assert bundle.output("grape").labels[int(probabilities.argmax())] == "nebbiolo"
    assert probabilities.sum() == pytest.approx(1)
