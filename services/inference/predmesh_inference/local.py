"""The Open Inference Protocol over models in this process: what Triton serves, for one process or no Triton at all."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from predmesh_frame import FrameError
from predmesh_runtime import TensorSpec
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

from predmesh_inference.local_server import LocalServer
from predmesh_inference.oip import from_request, to_response
from predmesh_inference.trouble import refused, unknown_bundle

VERSION = "1"
"""Version that every model has, as on Triton: the bundle's own is part of its id."""


class LocalInferenceServicer(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
    """The methods that the mesh asks of a model server, with Triton's answers."""

    def __init__(self, server: LocalServer) -> None:
        self._server = server

    async def ServerLive(self, request: pb.ServerLiveRequest, context: Any) -> pb.ServerLiveResponse:
        """It lives, because it answers."""
        return pb.ServerLiveResponse(live=True)

    async def ServerReady(self, request: pb.ServerReadyRequest, context: Any) -> pb.ServerReadyResponse:
        """It takes requests."""
        return pb.ServerReadyResponse(ready=True)

    async def ServerMetadata(self, request: pb.ServerMetadataRequest, context: Any) -> pb.ServerMetadataResponse:
        """Its name."""
        return pb.ServerMetadataResponse(name=await self._server.name(), version=VERSION)

    async def ModelReady(self, request: pb.ModelReadyRequest, context: Any) -> pb.ModelReadyResponse:
        """Whether the model is loaded."""
        return pb.ModelReadyResponse(ready=request.name in self._server.names())

    async def ModelMetadata(self, request: pb.ModelMetadataRequest, context: Any) -> pb.ModelMetadataResponse:
        """The model's tensors."""
        model = self._server.loaded(request.name)
        return pb.ModelMetadataResponse(
            name=request.name,
            versions=[VERSION],
            platform="predmesh",
            inputs=_described(model.inputs),
            outputs=_described(model.outputs),
        )

    async def ModelInfer(self, request: pb.ModelInferRequest, context: Any) -> pb.ModelInferResponse:
        """The model's outputs for the request's tensors."""
        if request.model_version not in ("", VERSION):
            raise unknown_bundle(f"{request.model_name} version {request.model_version}")
        try:
            tensors = from_request(request)
        except FrameError as error:
            raise refused(request.model_name, str(error)) from None
        return to_response(request.model_name, await self._server.answer(request.model_name, tensors), request)


def _described(specs: Iterable[TensorSpec]) -> list[Any]:
    kind = pb.ModelMetadataResponse.TensorMetadata
    return [kind(name=spec.name, datatype=spec.datatype, shape=(-1, *spec.shape)) for spec in specs]
