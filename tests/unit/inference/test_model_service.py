"""ModelService and the Open Inference Protocol out of one process, over real bundles and a real store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from predmesh.inference.v1 import model_service_pb2 as pb
from predmesh.inference.v1.model_service_pb2_grpc import ModelServiceStub
from predmesh_bundle.compiling import compile_bundle
from predmesh_bundle.store import Store
from predmesh_inference.oip import from_response, to_request
from predmesh_inference.settings import Settings
from predmesh_inference.wiring import open_service
from predmesh_rpc.inprocess import InProcessChannel, InProcessServer
from predmesh_testing.models import onnx_graph, table
from tritonclient.grpc import service_pb2 as oip_pb
from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceStub

YAML = """
name: arithmetic
version: 1
owner: tests
description: Squares and sums.
inputs:
  - {name: features, type: float, shape: [4], example: [1, 2, 3, 4]}
inference:
  framework: onnx
  file: model.onnx
  inputs: [{name: features, datatype: FP32, shape: [4]}]
  outputs: [{name: sum, datatype: FP32, shape: [1]}]
outputs:
  - {name: total, type: float, tensor: sum, index: 0}
"""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    source = tmp_path / "source"
    source.mkdir()
    onnx_graph(source)
    (source / "predmesh.yaml").write_text(YAML)
    compile_bundle(source, tmp_path / "compiled")
    store = Store(tmp_path / "store")
    store.put(tmp_path / "compiled")
    return store


@pytest.fixture
async def channel(store: Store) -> AsyncIterator[Any]:
    settings = Settings(triton_address="in-process", watch_seconds=0.01)
    async with open_service(settings, store) as service:
        server = InProcessServer(service.servicers)
        yield InProcessChannel(server)
        await server.stop()


async def test_a_stored_bundle_is_loaded_asked_listed_and_unloaded(store: Store, channel: Any) -> None:
    models, inference = ModelServiceStub(channel), GRPCInferenceServiceStub(channel)
    (bundle_id,) = store.bundle_ids()
    loaded = await models.LoadModel(pb.LoadModelRequest(bundle_id=bundle_id))
    assert loaded.status.state == pb.MODEL_STATE_READY
    name = loaded.status.model
    answer = from_response(await inference.ModelInfer(to_request(name, {"features": table()})))
    np.testing.assert_allclose(answer["sum"], table().sum(axis=1, keepdims=True), atol=1e-6)
    warmed = await models.WarmUpModel(pb.WarmUpModelRequest(bundle_id=bundle_id))
    assert warmed.status.HasField("last_success_time")
    listed = await models.ListModelStatuses(pb.ListModelStatusesRequest())
    assert ([each.bundle_id for each in listed.statuses], listed.model_server) == ([bundle_id], "in-process")
    await models.UnloadModel(pb.UnloadModelRequest(bundle_id=bundle_id))
    assert not (await inference.ModelReady(oip_pb.ModelReadyRequest(name=name))).ready


@pytest.mark.parametrize("method", ["LoadModel", "WarmUpModel"])
async def test_an_unknown_bundle_is_not_found(method: str, channel: Any) -> None:
    request = getattr(pb, f"{method}Request")(bundle_id="wine-1-000000000000")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await getattr(ModelServiceStub(channel), method)(request)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_unloading_an_unknown_bundle_is_no_error(channel: Any) -> None:
    await ModelServiceStub(channel).UnloadModel(pb.UnloadModelRequest(bundle_id="wine-1-000000000000"))


async def test_the_server_says_what_it_is(channel: Any) -> None:
    stub = GRPCInferenceServiceStub(channel)
    assert (await stub.ServerLive(oip_pb.ServerLiveRequest())).live
    assert (await stub.ServerReady(oip_pb.ServerReadyRequest())).ready
    assert (await stub.ServerMetadata(oip_pb.ServerMetadataRequest())).name == "in-process"


async def test_another_model_version_is_not_found(store: Store, channel: Any) -> None:
    (bundle_id,) = store.bundle_ids()
    loaded = await ModelServiceStub(channel).LoadModel(pb.LoadModelRequest(bundle_id=bundle_id))
    request = to_request(loaded.status.model, {"features": table()})
    request.model_version = "2"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await GRPCInferenceServiceStub(channel).ModelInfer(request)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
