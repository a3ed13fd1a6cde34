"""What an operator may change about the explanation service."""

from __future__ import annotations

from predmesh_rpc.settings import ServiceSettings
from pydantic import Field


class Settings(ServiceSettings):
    """Settings of the explanation service; variables begin with ``EXPLANATION_``."""

    limit_rows: int = Field(default=20_000, ge=1)
    """Rows that may wait to be explained; more are refused with ERROR_REASON_OVERLOADED."""
