"""The Open Inference Protocol over gRPC, as Triton, KServe and Seldon clients know it."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from predmesh_frame import oip
from predmesh_rpc import context as ambient
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceServicer

from predmesh_prediction.inferring import Inferring
from predmesh_prediction.oip_extensions import OFFERED, not_offered
from predmesh_prediction.oip_parameters import INPUT, OUTPUT, REQUEST, check_parameters, timeout_seconds
from predmesh_prediction.oip_repository import Repository
from predmesh_prediction.pipeline import in_order
from predmesh_prediction.predicting import Predictor
from predmesh_prediction.stream_errors import stream_error
from predmesh_prediction.v2 import NO_NAME, Described, Named, blame, check_count, check_once
from predmesh_prediction.validation import check_bytes
from predmesh_prediction.violations import Violations


class OpenInferenceServicer(GRPCInferenceServiceServicer):  # type: ignore[misc]
    """Serves the live models to clients of the protocol; the model repository is not theirs to change."""

    def __init__(self, predictor: Predictor, *, stream_window: int) -> None:
        self._stream_window = stream_window
        self._inferring = Inferring(predictor)
        self._repository = Repository(self._inferring)

    async def ServerLive(self, request: Any, context: Any) -> Any:
        """Say that the server runs."""
        return pb.ServerLiveResponse(live=True)

    async def ServerReady(self, request: Any, context: Any) -> Any:
        """Say whether every live model can answer."""
        return pb.ServerReadyResponse(ready=await self._inferring.all_ready())

    async def ServerMetadata(self, request: Any, context: Any) -> Any:
        """Describe the server."""
        return pb.ServerMetadataResponse(name="predmesh", version=version("predmesh-prediction"), extensions=OFFERED)

    async def ModelReady(self, request: Any, context: Any) -> Any:
        """Say whether a model can answer."""
        return pb.ModelReadyResponse(ready=await self._inferring.ready(request.name, request.version))

    async def ModelMetadata(self, request: Any, context: Any) -> Any:
        """Describe what a model takes and gives."""
        found = self._inferring.describe(request.name, request.version)
        return pb.ModelMetadataResponse(
            name=found.model,
            versions=found.versions,
            platform=found.platform,
            inputs=[_metadata(each) for each in found.inputs],
            outputs=[_metadata(each) for each in found.outputs],
        )

    async def ModelInfer(self, request: Any, context: Any) -> Any:
        """Predict the rows of the request's tensors."""
        return await self._inferred(request)

    async def _streamed(self, index: int, request: Any) -> Any:
        try:
            return pb.ModelStreamInferResponse(infer_response=await self._inferred(request))
        except Exception as error:
            told = stream_error(error, f"{ambient.request_id()}-{index}")
            response = pb.ModelInferResponse(id=request.id, model_name=request.model_name)
            return pb.ModelStreamInferResponse(error_message=told.message, infer_response=response)

    async def _inferred(self, request: Any) -> Any:
        check_bytes(request.ByteSize())
        self._inferring.check(request.model_name, request.model_version)
        tensors, wanted = _tensors(request), [each.name for each in request.outputs]
        seconds = timeout_seconds(_values(request.parameters))
        answer = await self._inferring.infer(request.model_name, request.model_version, tensors, wanted, seconds)
        response = pb.ModelInferResponse(model_name=answer.model, model_version=answer.version, id=request.id)
        response.parameters["bundle_id"].string_param = answer.bundle_id
        response.parameters["request_id"].string_param = ambient.request_id()
        typed = not request.raw_input_contents and all(each.datatype in oip.FIELDS for each in answer.outputs)
        for each in answer.outputs:
            _give(response, each, typed=typed)
        return response

    def ModelStreamInfer(self, request_iterator: Any, context: Any) -> Any:
        """Predict requests as they come, and answer in their order; one that fails is answered with its error."""
        return in_order(request_iterator, self._streamed, window=self._stream_window)

    async def ModelConfig(self, request: Any, context: Any) -> Any:
        """Refuse: the model server is not the caller's."""
        raise not_offered("ModelConfig")

    async def ModelStatistics(self, request: Any, context: Any) -> Any:
        """Refuse: the metrics have them."""
        raise not_offered("ModelStatistics")

    async def RepositoryIndex(self, request: Any, context: Any) -> Any:
        """List the live model versions and their states."""
        found = await self._repository.index(ready=request.ready, repository=request.repository_name)
        models = [
            pb.RepositoryIndexResponse.ModelIndex(
                name=each.name, version=each.version, state=each.state, reason=each.reason
            )
            for each in found
        ]
        return pb.RepositoryIndexResponse(models=models)

    async def RepositoryModelLoad(self, request: Any, context: Any) -> Any:
        """Answer once a live model is loaded; for administrators."""
        await self._repository.load(request.model_name, request.parameters)
        return pb.RepositoryModelLoadResponse()

    async def RepositoryModelUnload(self, request: Any, context: Any) -> Any:
        """Refuse: models are undeployed."""
        await self._repository.unload()

    async def SystemSharedMemoryStatus(self, request: Any, context: Any) -> Any:
        """Refuse: memory is not shared with callers."""
        raise not_offered("SystemSharedMemoryStatus")

    async def SystemSharedMemoryRegister(self, request: Any, context: Any) -> Any:
        """Refuse: memory is not shared with callers."""
        raise not_offered("SystemSharedMemoryRegister")

    async def SystemSharedMemoryUnregister(self, request: Any, context: Any) -> Any:
        """Refuse: memory is not shared with callers."""
        raise not_offered("SystemSharedMemoryUnregister")

    async def CudaSharedMemoryStatus(self, request: Any, context: Any) -> Any:
        """Refuse: memory is not shared with callers."""
        raise not_offered("CudaSharedMemoryStatus")

    async def CudaSharedMemoryRegister(self, request: Any, context: Any) -> Any:
        """Refuse: memory is not shared with callers."""
        raise not_offered("CudaSharedMemoryRegister")

    async def CudaSharedMemoryUnregister(self, request: Any, context: Any) -> Any:
        """Refuse: memory is not shared with callers."""
        raise not_offered("CudaSharedMemoryUnregister")

    async def TraceSetting(self, request: Any, context: Any) -> Any:
        """Refuse: tracing is the operator's."""
        raise not_offered("TraceSetting")

    async def LogSettings(self, request: Any, context: Any) -> Any:
        """Refuse: logging is the operator's."""
        raise not_offered("LogSettings")


def _metadata(each: Described) -> Any:
    return pb.ModelMetadataResponse.TensorMetadata(name=each.name, datatype=each.datatype, shape=each.shape)


def _tensors(request: Any) -> list[Named]:
    """The tensors of *request*, whose other parts are right as well.

    Raises:
        InvalidInput: with every violation of the protocol.
    """
    violations = Violations()
    check_count(len(request.inputs), "inputs", request.model_name)
    check_count(len(request.outputs), "outputs", request.model_name)
    raw = request.raw_input_contents
    whole = not raw or len(raw) == len(request.inputs)
    check_parameters(_values(request.parameters), REQUEST, "parameters", violations)
    for output in request.outputs:
        check_parameters(_values(output.parameters), OUTPUT, f"outputs.{output.name}.parameters", violations)
    tensors: list[Named] = []
    for index, spec in enumerate(request.inputs):
        name, datatype = spec.name, spec.datatype
        if not name or spec.parameters or (raw and spec.HasField("contents")):
            _check_input(spec, index, bool(raw), violations)
        if not whole:
            continue
        try:
            values = (
                oip.from_raw(datatype, spec.shape, raw[index])
                if raw
                else oip.from_contents(datatype, spec.shape, spec.contents)
            )
        except oip.TensorError as error:
            blame(error, datatype, _place(spec, index), violations)
        else:
            tensors.append(Named(name, datatype, values))
    if not whole:
        violations.add("raw_input_contents", f"holds {len(raw)} tensors where {len(request.inputs)} are described")
    violations.check(request.model_name)
    check_once([each.name for each in request.outputs], request.model_name)
    return tensors


def _check_input(spec: Any, index: int, raw: bool, violations: Violations) -> None:
    at = _place(spec, index)
    if not spec.name:
        violations.add(f"{at}.name", NO_NAME)
    check_parameters(_values(spec.parameters), INPUT, f"{at}.parameters", violations)
    if raw and spec.HasField("contents"):
        violations.add(f"{at}.contents", "stands beside raw_input_contents: send one of them")


def _place(spec: Any, index: int) -> str:
    return f"inputs.{spec.name}"[:120] if spec.name else f"inputs[{index}]"


def _values(parameters: Any) -> dict[str, Any]:
    """The parameters of a message; one without a value is None."""
    return {
        name: getattr(value, value.WhichOneof("parameter_choice") or "", None) for name, value in parameters.items()
    }


def _give(response: Any, tensor: Named, *, typed: bool) -> None:
    output = response.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.values.shape)
    if typed:
        getattr(output.contents, oip.FIELDS[tensor.datatype]).extend(tensor.values.ravel().tolist())
    else:
        response.raw_output_contents.append(oip.to_raw(tensor.values))
