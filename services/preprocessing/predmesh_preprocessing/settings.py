"""What an operator may change about the preprocessing service."""

from __future__ import annotations

from predmesh_rpc.settings import ServiceSettings
from pydantic import Field


class Settings(ServiceSettings):
    """Settings of the preprocessing service; variables begin with ``PREPROCESSING_``."""

    inline_max_rows: int = Field(default=1024, ge=0)
    """Larger batches of an ONNX graph go to a thread, so that others need not wait (1,024 rows of flights: 1 ms)."""

    limit_rows: int = Field(default=20_000, ge=1)
    """Rows that may wait for a thread; more are refused with ERROR_REASON_OVERLOADED."""
