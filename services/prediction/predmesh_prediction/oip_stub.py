"""Runs models on a server that speaks the Open Inference Protocol: Triton, or the runtime in this process."""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from typing import Any

import grpc
from predmesh_bundle.store import StoredBundle
from predmesh_frame import FrameError, oip
from predmesh_frame.columns import Array
from predmesh_rpc.errors import (
    DeadlineExceeded,
    InvalidInput,
    NotFound,
    PredmeshError,
)
from predmesh_rpc.translate import status_of, translate
from tritonclient.grpc import service_pb2 as oip_pb
from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceStub

from predmesh_prediction.asking import model_absent, model_failed
from predmesh_prediction.domain import Tensors

log = logging.getLogger(__name__)

_FAILED = "the model failed on this input"
"""What a backend of the mesh says when it is the model, and not the server, that cannot go on."""


class StubInference:
    """The model server behind a stub."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub: Any = GRPCInferenceServiceStub(channel)

    async def infer(self, bundle: StoredBundle, tensors: Tensors, outputs: tuple[str, ...]) -> Tensors:
        """The named outputs of the bundle's model. Raises PredmeshError."""
        request = oip_pb.ModelInferRequest(
            model_name=bundle.model_id,
            inputs=[_described(name, tensor) for name, tensor in tensors.items()],
            outputs=[oip_pb.ModelInferRequest.InferRequestedOutputTensor(name=name) for name in outputs],
            raw_input_contents=[oip.to_raw(tensor) for tensor in tensors.values()],
        )
        response = await _asked(bundle.bundle_id, self._stub.ModelInfer(request))
        try:
            return _tensors(response)
        except FrameError as error:
            raise model_failed(bundle.bundle_id, f"the model's answer cannot be read: {error}") from None

    async def ready(self, bundle: StoredBundle) -> bool:
        """Whether the bundle's model can be asked. Raises PredmeshError."""
        request = oip_pb.ModelReadyRequest(name=bundle.model_id)
        response = await _asked(bundle.bundle_id, self._stub.ModelReady(request))
        return bool(response.ready)

    async def live(self) -> bool:
        """Whether the server runs."""
        try:
            return bool((await self._stub.ServerLive(oip_pb.ServerLiveRequest())).live)
        except (grpc.RpcError, PredmeshError):
            return False


def _described(name: str, tensor: Array) -> Any:
    datatype = oip.datatype_of(tensor.dtype)
    return oip_pb.ModelInferRequest.InferInputTensor(name=name, datatype=datatype, shape=tensor.shape)


def _tensors(response: Any) -> Tensors:
    if response.raw_output_contents:
        return {
            spec.name: oip.from_raw(spec.datatype, spec.shape, data)
            for spec, data in zip(response.outputs, response.raw_output_contents, strict=True)
        }
    return {spec.name: oip.from_contents(spec.datatype, spec.shape, spec.contents) for spec in response.outputs}


async def _asked(bundle_id: str, call: Awaitable[Any]) -> Any:
    try:
        return await call
    except grpc.RpcError as error:
        told = _told(bundle_id, error)
    raise told from None


def _told(bundle_id: str, error: grpc.RpcError) -> PredmeshError:
    code, text = _code_and_text(error)
    if status_of(error) is not None:
        told = translate(error, "inference")
        if not isinstance(told, NotFound | InvalidInput):
            return told
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return DeadlineExceeded("ERROR_REASON_DEADLINE", "the model did not answer in time", stage="inference")
    # The tensors came from preprocessing, so that a refusal is no mistake of the caller's.
    if _FAILED in text or code is grpc.StatusCode.INVALID_ARGUMENT:
        log.error("the model failed", extra={"bundle_id": bundle_id, "code": code.name, "detail": text})
        return model_failed(bundle_id)
    return model_absent(bundle_id)


def _code_and_text(error: grpc.RpcError) -> tuple[grpc.StatusCode, str]:
    if isinstance(error, grpc.aio.AioRpcError):
        return error.code(), (error.details() or "").replace(chr(10), " ")[:400]
    return grpc.StatusCode.UNKNOWN, ""
