"""All services in one process, and once with a real Triton: what rows that travel together do to each other."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from predmesh.prediction.v1 import prediction_service_pb2 as pb
from predmesh_bundle.store import Store
from predmesh_rpc import metrics
from predmesh_rpc.errors import PredmeshError
from predmesh_rpc.translate import translate
from predmesh_testing.mesh import Mesh, running_mesh
from predmesh_testing.triton import RunningTriton, needs_triton
from predmesh_testing.triton import triton as triton  # a fixture

YAML = """
name: fragile
version: "1"
owner: tests
description: Doubles a number, and fails on one of them.
inputs:
  - {name: a, type: double, number: 1, description: The number., example: 1.0}
inference:
  framework: python
  file: fragile.py
  inputs:
    - {name: x, datatype: FP64, shape: [1], feature_names: [a]}
  outputs:
    - {name: y, datatype: FP64, shape: [1]}
outputs:
  - {name: twice, type: double, number: 1, tensor: y, index: 0, description: The double.}
budget: 20s
"""
CODE = """
class Model:
    def __init__(self, folder):
        pass

    def infer(self, tensors):
        if 13.0 in tensors["x"]:
            raise ValueError("thirteen")
        return {"y": tensors["x"] * 2}
"""


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "fragile"
    folder.mkdir()
    (folder / "predmesh.yaml").write_text(YAML)
    (folder / "fragile.py").write_text(CODE)
    return folder


@pytest.fixture(params=["in-process", pytest.param("triton", marks=needs_triton)])
async def mesh(request: pytest.FixtureRequest, tmp_path: Path, bundle: Path) -> AsyncIterator[Mesh]:
    places = {}
    if request.param == "triton":
        server: RunningTriton = request.getfixturevalue("triton")
        places = {"triton_address": server.address, "triton_repository": server.repository}
    async with running_mesh(Store(tmp_path / "store"), **places) as mesh:  # type: ignore[arg-type]
        await mesh.deploy(bundle)
        yield mesh


async def doubled(mesh: Mesh, *numbers: float) -> list[Any]:
    request = pb.PredictRequest(model="fragile")
    for number in numbers:
        request.instances.add().update({"a": number})
    answer = await mesh.prediction.Predict(request, timeout=30)
    return [row["twice"] for row in answer.predictions]


async def failure(mesh: Mesh, *numbers: float) -> PredmeshError:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await doubled(mesh, *numbers)
    return translate(raised.value, "prediction")


async def test_one_bad_row_fails_alone(mesh: Mesh) -> None:
    asked = [asyncio.ensure_future(doubled(mesh, number)) for number in range(40)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    failed = answers.pop(13)
    assert answers == [[2.0 * number] for number in range(40) if number != 13]
    assert isinstance(failed, grpc.aio.AioRpcError)
    assert failed.code() is grpc.StatusCode.FAILED_PRECONDITION
    labels = {"batches": mesh.store.current().models[0].bundle_id}
    travelled = metrics.registry().get_sample_value("predmesh_prediction_batch_rows_count", labels)
    assert travelled is not None
    assert travelled < 10


async def test_the_row_that_fails_is_named(mesh: Mesh) -> None:
    error = await failure(mesh, *range(40))
    assert (error.reason, error.metadata["row"]) == ("ERROR_REASON_MODEL_FAILED", "13")
    assert "row 13 fails on its own" in error.message


async def test_small_requests_pass_a_very_large_one(mesh: Mesh) -> None:
    large = asyncio.ensure_future(doubled(mesh, *range(100, 8100)))
    small = [asyncio.ensure_future(doubled(mesh, number)) for number in range(10)]
    await asyncio.gather(*small)
    assert not large.done()
    assert await large == [2.0 * number for number in range(100, 8100)]
