"""What Triton offers besides the Open Inference Protocol and the mesh does not, with what to use instead."""

from __future__ import annotations

from predmesh_rpc.errors import NotOffered

OFFERED = ("binary_tensor_data", "model_repository")
"""Extensions of the protocol that server metadata names."""

SEND_BYTES = "send the tensors' bytes; shared memory is not offered"
"""What is said of memory of this machine."""

SHARED_MEMORY = "shared_memory"
"""How the parameters begin that would let a caller name memory of this machine."""

_SERVICE = "inference.GRPCInferenceService"
_INSTEAD = {
    "ModelConfig": "ask ModelMetadata, or PredictionService/GetModel",
    "ModelStatistics": "read the metrics instead",
    "RepositoryModelUnload": "undeploy with `predmesh undeploy`",
    "TraceSetting": "set tracing where the mesh is started",
    "LogSettings": "set logging where the mesh is started",
    "Generate": "send the inputs to :predict or to /infer",
}
_METHODS = {
    "config": "ModelConfig",
    "stats": "ModelStatistics",
    "trace": "TraceSetting",
    "logging": "LogSettings",
    "generate": "Generate",
    "generate_stream": "Generate",
    "systemsharedmemory": "SystemSharedMemory",
    "cudasharedmemory": "CudaSharedMemory",
}


def not_offered(method: str) -> NotOffered:
    """The error of a *method* of the protocol's gRPC service that is not offered."""
    path = f"{_SERVICE}/{method}"
    text = f"{path} is not offered: {_INSTEAD.get(method, SEND_BYTES)}"
    return NotOffered("ERROR_REASON_NOT_OFFERED", text, method=path)


def method_of(extension: str) -> str:
    """The method of the gRPC service that a REST path's last part stands for: `systemsharedmemory/status`, say."""
    first, *rest = extension.rstrip("/").split("/")
    method = _METHODS[first]
    return method + rest[-1].capitalize() if method.endswith("SharedMemory") and rest else method
