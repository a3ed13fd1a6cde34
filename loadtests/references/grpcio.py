"""grpcio's asyncio server in the mesh's own clothes: the same edge around each method, the same limits."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
from predmesh_rpc import context
from predmesh_rpc.edge import Failed
from predmesh_rpc.status import DETAILS_KEY, NUMBERS
from predmesh_rpc.table import Entry, Limits, Registration, Table, too_large


@asynccontextmanager
async def serving(limits: Limits, servicers: Sequence[Registration], addresses: Sequence[str]) -> AsyncIterator[int]:
    """Serves methods with one request and one answer for the block; gives the port of the first TCP address, or 0."""
    table = Table(limits, servicers)
    options = [("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", 4 * limits.message_bytes)]
    server = grpc.aio.server(handlers=[_Handlers(table)], options=options)
    ports = [server.add_insecure_port(address) for address in addresses]
    await server.start()
    try:
        yield next((port for port in ports if port > 1), 0)
    finally:
        await server.stop(None)


class _Handlers(grpc.GenericRpcHandler):
    def __init__(self, table: Table) -> None:
        self._table = table
        self._ready: dict[str, Any] = {}

    def service(self, handler_call_details: Any) -> Any:
        path = handler_call_details.method
        if path not in self._ready and (entry := self._table.known(path)) is not None:
            answer = _answer(entry, self._table.limits.message_bytes)
            self._ready[path] = grpc.unary_unary_rpc_method_handler(answer)
        return self._ready.get(path)


def _answer(entry: Entry, limit_bytes: int) -> Callable[[bytes, Any], Any]:
    async def answer(payload: bytes, wire: Any) -> Any:
        try:
            async with entry.method.call(wire.invocation_metadata() or (), wire.time_remaining()) as request:
                if len(payload) > limit_bytes:
                    raise too_large(len(payload), limit_bytes)
                response = entry.write(await entry.behaviour(entry.read(payload), wire))
        except Failed as failed:
            status = failed.status
            trailing = ((context.REQUEST_ID, failed.request_id), (DETAILS_KEY, status.SerializeToString()))
            return await wire.abort(NUMBERS[status.code], status.message, trailing)
        wire.set_trailing_metadata(((context.REQUEST_ID, request.id),))
        return response

    return answer
