"""What an operator may change about the inference service."""

from __future__ import annotations

from pathlib import Path

from predmesh_rpc.settings import ServiceSettings
from pydantic import Field

IN_PROCESS = "in-process"


class Settings(ServiceSettings):
    """Settings of the inference service; variables begin with ``INFERENCE_``."""

    triton_address: str = Field(default_factory=lambda data: f"unix:{data['home'] / 'run' / 'triton.sock'}:1")
    """Where Triton answers gRPC; ``in-process`` runs the models in this process and needs no Triton."""

    triton_repository: Path = Field(default_factory=lambda data: data["home"] / "triton")
    """Triton's model repository, which this service alone writes."""

    native_backends: bool = True
    """Whether models may run on a full Triton's own backends, where the server is one."""

    gpus: int = Field(default=-1, ge=-1)
    """GPUs that models may use; -1 asks nvidia-smi."""

    load_seconds: float = Field(default=100.0, gt=0)
    """Time for one load; one that takes longer is ended, because a stalled one never ends by itself."""

    watch_seconds: float = Field(default=1.0, gt=0)
    """Time between two inferences that watch a model."""

    probe_seconds: float = Field(default=5.0, gt=0)
    """Time for one such inference."""

    unload_seconds: float = Field(default=30.0, gt=0)
    """Time for the requests of a model that is unloaded to end."""

    server_seconds: float = Field(default=30.0, ge=0)
    """Time that a load waits for a Triton that is starting."""

    limit_rows: int = Field(default=20_000, ge=1)
    """Rows that may wait for one model in this process; more are refused with ERROR_REASON_OVERLOADED."""
