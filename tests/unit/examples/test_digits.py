"""The CNN, run by the environment that `make digits` makes; torch is installed nowhere else."""

import json
import subprocess

import pytest
import yaml
from predmesh_bundle.loading import load_bundle
from predmesh_testing.running import ROOT
from sklearn.datasets import load_digits

FOLDER = ROOT / "examples/digits"
PYTHON, BUNDLE = FOLDER / ".venv/bin/python", FOLDER / "build/bundle"

READ = """
import json, sys
import numpy as np
from pathlib import Path
from predmesh_runtime.model import load
from sklearn.datasets import load_digits

bundle, inference = Path(sys.argv[1]), json.loads(sys.argv[2])
digits = load_digits()
model = load(bundle, inference)
one = model.infer({"image": digits.images[:1].astype(np.float32)})["probabilities"]
many = model.infer({"image": digits.images.astype(np.float32)})["probabilities"]
right = float((many.argmax(1) == digits.target).mean())
print(json.dumps({"one": one[0].tolist(), "first": many[0].tolist(), "right": right}))
"""


def test_its_example_is_the_first_image_of_the_data() -> None:
    document = yaml.safe_load((FOLDER / "bundle/predmesh.yaml").read_text())
    assert document["inputs"][0]["example"] == load_digits().images[0].tolist()


@pytest.mark.skipif(not PYTHON.exists() or not BUNDLE.exists(), reason="missing here: torch (run `make digits`)")
def test_the_runtime_reads_any_number_of_digits() -> None:
    inference = load_bundle(BUNDLE).inference.model_dump_json()
    done = subprocess.run(
        [PYTHON, "-W", "ignore", "-c", READ, BUNDLE, inference],
        env={"PYTHONPATH": str(ROOT / "services/inference/runtime")},
        text=True,
        capture_output=True,
        check=True,
    )
    answer = json.loads(done.stdout)
    assert answer["right"] > 0.97
    assert answer["one"] == pytest.approx(answer["first"], abs=1e-5)
    assert sum(answer["one"]) == pytest.approx(1, abs=1e-5)
