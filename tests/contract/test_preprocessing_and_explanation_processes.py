"""The two processes themselves: a bundle deployed while they run, real sockets, signals."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
import xgboost as xgb
from predmesh.explanation.v1 import explanation_service_pb2 as explanation
from predmesh.explanation.v1.explanation_service_pb2_grpc import ExplanationServiceStub
from predmesh.preprocessing.v1 import preprocessing_service_pb2 as preprocessing
from predmesh.preprocessing.v1.preprocessing_service_pb2_grpc import PreprocessingServiceStub
from predmesh_bundle.deploying import DeployError, deploy
from predmesh_bundle.store import Store
from predmesh_frame import Column, DataType, Frame
from predmesh_frame.wire import frame_to_proto
from predmesh_testing.waiting import until_then as until

SERVICES = ("preprocessing", "explanation")
BUNDLE = """\
name: sums
version: "1"
owner: tests
description: Adds two numbers up.
inputs:
  - {name: a, type: double, example: 1.0}
  - {name: b, type: double, required: false, example: 2.0}
preprocessing: {plugin: "prepare:Prepare"}
inference:
  framework: xgboost
  file: model.ubj
  inputs: [{name: x, datatype: FP32, shape: [2], feature_names: [a, b]}]
  outputs: [{name: y, datatype: FP32, shape: [1]}]
outputs:
  - {name: total, type: double, tensor: y, index: 0}
explanation: {method: tree_shap, output: total}
"""
PLUGIN = """\
import numpy as np

class Prepare:
    def __init__(self, folder):
        pass

    def transform(self, frame):
        def column(name):
            found = frame.columns[name]
            return found.values if found.valid is None else np.where(found.valid, found.values, np.nan)
        return {"x": np.stack([column("a"), column("b")], axis=1).astype(np.float32)}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "bundle"
    found.mkdir()
    (found / "predmesh.yaml").write_text(BUNDLE)
    (found / "prepare.py").write_text(PLUGIN)
    x = np.random.default_rng(1).normal(size=(200, 2)).astype(np.float32)
    booster = xgb.train({"nthread": 1}, xgb.DMatrix(x, label=x.sum(axis=1), nthread=1), 10)
    booster.save_model(found / "model.ubj")
    return found


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "h"


@pytest.fixture
def processes(home: Path) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    started: dict[str, subprocess.Popen[bytes]] = {}
    with contextlib.ExitStack() as stack:
        for name in SERVICES:
            command = [sys.executable, "-m", f"predmesh_{name}"]
            variables = os.environ | {"PREDMESH_HOME": str(home), "PREDMESH_LOG_LEVEL": "WARNING"}
            started[name] = stack.enter_context(subprocess.Popen(command, env=variables))
            stack.callback(started[name].kill)
        until(lambda: {member.service for member in Store(home / "store").members()} == set(SERVICES), 60)
        yield started


def test_a_deployed_bundle_is_transformed_and_explained(
    home: Path, folder: Path, processes: dict[str, subprocess.Popen[bytes]]
):
    (model,) = deploy(Store(home / "store"), folder, timeout_seconds=60).models
    columns = {"a": Column.of(DataType.DOUBLE, [1.0, 2.0]), "b": Column.of(DataType.DOUBLE, [None, 0.5])}
    with grpc.insecure_channel(f"unix:{home / 'run' / 'preprocessing.sock'}") as channel:
        asked = preprocessing.TransformRequest(bundle_id=model.bundle_id, frame=frame_to_proto(Frame.of(columns)))
        tensors = PreprocessingServiceStub(channel).Transform(asked, timeout=10).tensors
    with grpc.insecure_channel(f"unix:{home / 'run' / 'explanation.sock'}") as channel:
        question = explanation.ExplainRequest(bundle_id=model.bundle_id, tensors=tensors)
        answer = ExplanationServiceStub(channel).Explain(question, timeout=10)
    assert list(answer.feature_names) == ["a", "b"]
    assert answer.max_additivity_error < 1e-5
    maps = Path(f"/proc/{processes['explanation'].pid}/maps").read_text()
    assert "libxgboost" in maps
    assert "sklearn" not in maps
    for name, process in processes.items():
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert not (home / "run" / f"{name}.sock").exists()
    assert Store(home / "store").members() == []


def test_a_plugin_that_cannot_work_never_goes_live(
    home: Path, folder: Path, processes: dict[str, subprocess.Popen[bytes]]
):
    (folder / "prepare.py").write_text(PLUGIN.replace('{"x":', '{"z":'))
    with pytest.raises(DeployError, match="'x'"):
        deploy(Store(home / "store"), folder, timeout_seconds=60)
    assert Store(home / "store").current().models == ()
