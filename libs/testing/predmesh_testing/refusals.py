"""What a caller hears whose call is refused, read as every client of the mesh may read it."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

import grpc
from grpc_status import rpc_status
from predmesh_rpc.status import from_status


async def refusal(call: Awaitable[Any]) -> tuple[grpc.StatusCode, Any]:
    """Code and PredmeshError of *call*, which must fail with a status of the mesh's own."""
    try:
        answer = await call
    except grpc.aio.AioRpcError as raised:
        status = rpc_status.from_call(raised)
        error = from_status(status) if status is not None else None
        assert error is not None, raised
        return raised.code(), error
    raise AssertionError(f"it was answered: {answer}")
