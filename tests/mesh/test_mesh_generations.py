"""All services in one process, on bundles whose model is a few lines of Python: deploying, asking, taking out."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from google.protobuf.struct_pb2 import Struct
from predmesh.inference.v1 import model_service_pb2
from predmesh.prediction.v1 import prediction_service_pb2 as pb
from predmesh_bundle.deploying import Refused
from predmesh_bundle.store import Store
from predmesh_rpc.translate import translate
from predmesh_testing.mesh import Mesh, running_mesh
from tritonclient.grpc import service_pb2

YAML = """
name: sums
version: "{version}"
owner: tests
description: Adds two numbers up, some times over.
inputs:
  - {{name: a, type: double, number: 1, description: The first., minimum: 0, maximum: 100, example: 1.0}}
  - {{name: b, type: double, number: 2, description: The second., example: 2.0}}
inference:
  framework: python
  file: sums.py
  inputs:
    - {{name: x, datatype: FP64, shape: [2], feature_names: [a, b]}}
  outputs:
    - {{name: y, datatype: FP64, shape: [1]}}
outputs:
  - {{name: total, type: double, number: 1, tensor: y, index: 0, description: The sum.}}
"""
CODE = """
class Model:
    def __init__(self, folder):
        {prepare}

    def infer(self, tensors):
        return {{"y": tensors["x"].sum(axis=1, keepdims=True) * {factor}}}
"""


def bundle(folder: Path, version: int, prepare: str = "pass") -> Path:
    target = folder / f"sums-{version}"
    target.mkdir()
    (target / "predmesh.yaml").write_text(YAML.format(version=version))
    (target / "sums.py").write_text(CODE.format(factor=version, prepare=prepare))
    return target


def request(a: float, b: float, version: str = "") -> pb.PredictRequest:
    row = Struct()
    row.update({"a": a, "b": b})
    return pb.PredictRequest(model="sums", version=version, instances=[row])


async def total(mesh: Mesh, a: float, b: float, version: str = "") -> float:
    answer = await mesh.prediction.Predict(request(a, b, version), timeout=30)
    found = answer.predictions[0]["total"]
    assert isinstance(found, float)
    return found


@pytest.fixture(params=["in-process", "unix"])
async def mesh(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Mesh]:
    async with running_mesh(Store(tmp_path / "store"), transport=request.param) as mesh:
        yield mesh


async def test_what_is_deployed_answers(mesh: Mesh, tmp_path: Path) -> None:
    await mesh.deploy(bundle(tmp_path, 1))
    answer = await mesh.prediction.Predict(request(1, 2), timeout=30, metadata=(("x-request-id", "r-1"),))
    assert answer.predictions[0]["total"] == 3
    assert (answer.model, answer.model_version, answer.request_id) == ("sums", "1", "r-1")
    assert list(answer.degraded) == []
    statuses = await mesh.models.ListModelStatuses(model_service_pb2.ListModelStatusesRequest(), timeout=30)
    assert [each.state for each in statuses.statuses] == [model_service_pb2.MODEL_STATE_READY]


async def test_rows_of_many_callers_come_back_to_each(mesh: Mesh, tmp_path: Path) -> None:
    await mesh.deploy(bundle(tmp_path, 1))
    totals = await asyncio.gather(*(total(mesh, number, 0.5) for number in range(100)))
    assert totals == [number + 0.5 for number in range(100)]


async def test_a_stream_is_answered_in_order(mesh: Mesh, tmp_path: Path) -> None:
    await mesh.deploy(bundle(tmp_path, 1))
    asked = (pb.StreamPredictRequest(request=request(number, number)) for number in (1, 1000, 3))
    answers = [answer async for answer in mesh.prediction.StreamPredict(asked, timeout=30)]
    assert [answer.index for answer in answers] == [0, 1, 2]
    assert [answer.WhichOneof("outcome") for answer in answers] == ["response", "error", "response"]


async def test_a_version_takes_over_under_load_without_a_failure(mesh: Mesh, tmp_path: Path) -> None:
    await mesh.deploy(bundle(tmp_path, 1))
    over, answers = asyncio.Event(), []

    async def load() -> None:
        while not over.is_set():
            answers.append(await total(mesh, 1, 2))

    callers = [asyncio.create_task(load()) for _ in range(8)]
    await mesh.deploy(bundle(tmp_path, 2))
    assert await total(mesh, 1, 2, "1") == 3
    assert await total(mesh, 1, 2) == 6
    over.set()
    await asyncio.gather(*callers)
    assert set(answers) <= {3.0, 6.0}
    assert answers[0] == 3


async def test_a_bundle_that_cannot_be_loaded_leaves_the_old_generation(mesh: Mesh, tmp_path: Path) -> None:
    first = await mesh.deploy(bundle(tmp_path, 1))
    with pytest.raises(Refused, match="inference"):
        await mesh.deploy(bundle(tmp_path, 2, prepare="raise RuntimeError('no weights')"))
    assert mesh.store.current() == first
    assert await total(mesh, 1, 2) == 3


async def test_what_is_taken_out_is_unknown(mesh: Mesh, tmp_path: Path) -> None:
    await mesh.deploy(bundle(tmp_path, 1))
    await mesh.undeploy("sums")
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await mesh.prediction.Predict(request(1, 2), timeout=30)
    assert translate(raised.value, "prediction").reason == "ERROR_REASON_MODEL_UNKNOWN"


async def test_every_violation_is_told(mesh: Mesh, tmp_path: Path) -> None:
    await mesh.deploy(bundle(tmp_path, 1))
    bad = request(1000, 2)
    bad.instances[0].update({"c": 1})
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await mesh.prediction.Predict(bad, timeout=30)
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    fields = {each.field for each in translate(raised.value, "prediction").violations}  # type: ignore[attr-defined]
    assert fields == {"instances[0].a", "instances[0].c"}


async def test_the_open_inference_protocol_answers_over_the_whole_graph(mesh: Mesh, tmp_path: Path) -> None:
    await mesh.deploy(bundle(tmp_path, 1))
    contents = service_pb2.InferTensorContents(fp64_contents=[4.0])
    tensor = service_pb2.ModelInferRequest.InferInputTensor
    inputs = [tensor(name=name, datatype="FP64", shape=[1], contents=contents) for name in "ab"]
    infer = service_pb2.ModelInferRequest(model_name="sums", inputs=inputs)
    answer = await mesh.open_inference.ModelInfer(infer, timeout=30)
    assert [output.name for output in answer.outputs] == ["total"]


async def test_a_mesh_that_starts_late_catches_up(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    async with running_mesh(store) as mesh:
        await mesh.deploy(bundle(tmp_path, 1))
    async with running_mesh(store) as mesh:
        await mesh.ready()
        assert await total(mesh, 1, 2) == 3
    assert not store.members()
