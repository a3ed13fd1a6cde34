"""The Open Inference Protocol over REST."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import orjson
from google.api import httpbody_pb2
from predmesh.prediction.v1 import open_inference_http_service_pb2 as pb
from predmesh.prediction.v1.open_inference_http_service_pb2_grpc import OpenInferenceHttpServiceServicer
from predmesh_rpc import context as ambient
from predmesh_rpc.errors import DependencyDown

from predmesh_prediction.inferring import Inferring
from predmesh_prediction.oip_extensions import OFFERED, method_of, not_offered
from predmesh_prediction.oip_json import read_index, read_load, read_request, write_answer
from predmesh_prediction.oip_repository import Repository, check_scope
from predmesh_prediction.predicting import Predictor
from predmesh_prediction.v2 import Described

HEADER_LENGTH = "inference-header-content-length"
"""Length of the JSON in front of binary tensors, in both directions."""


class OpenInferenceHttpServicer(OpenInferenceHttpServiceServicer):
    """Serves the live models to REST clients of the protocol."""

    def __init__(self, predictor: Predictor) -> None:
        self._inferring = Inferring(predictor)
        self._repository = Repository(self._inferring)

    async def ServerLiveHttp(self, request: pb.ServerLiveHttpRequest, context: Any) -> httpbody_pb2.HttpBody:
        """Say that the server runs."""
        return _json({"live": True})

    async def ServerReadyHttp(self, request: pb.ServerReadyHttpRequest, context: Any) -> httpbody_pb2.HttpBody:
        """Say that every live model can answer; UNAVAILABLE where one cannot, for clients look at the status alone."""
        if not await self._inferring.all_ready():
            raise DependencyDown("ERROR_REASON_STAGE_DOWN", "a live model cannot answer yet: try again", stage="models")
        return _json({"ready": True})

    async def ServerMetadataHttp(self, request: pb.ServerMetadataHttpRequest, context: Any) -> httpbody_pb2.HttpBody:
        """Describe the server."""
        return _json({"name": "predmesh", "version": version("predmesh-prediction"), "extensions": OFFERED})

    async def ModelMetadataHttp(self, request: pb.ModelMetadataHttpRequest, context: Any) -> httpbody_pb2.HttpBody:
        """Describe what a model takes and gives."""
        found = self._inferring.describe(request.model, request.version)
        return _json(
            {
                "name": found.model,
                "versions": found.versions,
                "platform": found.platform,
                "inputs": [_described(each) for each in found.inputs],
                "outputs": [_described(each) for each in found.outputs],
            }
        )

    async def ModelReadyHttp(self, request: pb.ModelReadyHttpRequest, context: Any) -> httpbody_pb2.HttpBody:
        """Say that a model can answer; UNAVAILABLE where it cannot."""
        if not await self._inferring.ready(request.model, request.version):
            raise DependencyDown("ERROR_REASON_MODEL_SERVER_DOWN", f"{request.model} is not ready: try again")
        return _json({"name": request.model, "ready": True})

    async def ModelInferHttp(self, request: pb.ModelInferHttpRequest, context: Any) -> httpbody_pb2.HttpBody:
        """Predict the rows of a V2 body."""
        self._inferring.check(request.model, request.version)
        encoding = ambient.header("content-encoding")
        asked = read_request(request.body.data, ambient.header(HEADER_LENGTH), encoding, request.model)
        answer = await self._inferring.infer(
            request.model, request.version, asked.tensors, list(asked.wanted), asked.seconds
        )
        body, length = write_answer(answer, asked, ambient.request_id())
        if not length:
            return httpbody_pb2.HttpBody(content_type="application/json", data=body)
        ambient.send_initial_metadata(HEADER_LENGTH, str(length))
        return httpbody_pb2.HttpBody(content_type="application/octet-stream", data=body)

    async def RepositoryIndexHttp(self, request: pb.RepositoryIndexHttpRequest, context: Any) -> httpbody_pb2.HttpBody:
        """List the live model versions and their states."""
        found = await self._repository.index(ready=read_index(request.body.data))
        return _json(found)

    async def RepositoryModelLoadHttp(
        self, request: pb.RepositoryModelLoadHttpRequest, context: Any
    ) -> httpbody_pb2.HttpBody:
        """Answer once a live model is loaded; for administrators."""
        check_scope("RepositoryModelLoad")
        await self._repository.load(request.model, read_load(request.body.data, request.model))
        return _json({})

    async def RepositoryModelUnloadHttp(
        self, request: pb.RepositoryModelUnloadHttpRequest, context: Any
    ) -> httpbody_pb2.HttpBody:
        """Refuse: models are undeployed."""
        await self._repository.unload()

    async def RefuseExtensionHttp(self, request: pb.RefuseExtensionHttpRequest, context: Any) -> httpbody_pb2.HttpBody:
        """Refuse what Triton has and the mesh has not."""
        raise not_offered(method_of(request.extension))


def _described(each: Described) -> dict[str, Any]:
    return {"name": each.name, "datatype": each.datatype, "shape": list(each.shape)}


def _json(document: Any) -> httpbody_pb2.HttpBody:
    return httpbody_pb2.HttpBody(content_type="application/json", data=orjson.dumps(document))
