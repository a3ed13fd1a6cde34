"""``GET /metrics`` for Prometheus, answered by the process's own loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from predmesh_rpc.addresses import clear_stale, host_and_port, private_files, socket_path
from predmesh_rpc.metrics import registry

_SECONDS = 5.0


@asynccontextmanager
async def metrics_served(address: str) -> AsyncIterator[int]:
    """Serve metrics on *address* while the block runs; gives the TCP port, 0 where there is none.

    Raises:
        AddressError: the address cannot be listened on.
    """
    if not address:
        yield 0
        return
    path = socket_path(address)
    if path is None:
        server = await asyncio.start_server(_answer, *host_and_port(address))
        port = int(server.sockets[0].getsockname()[1])
    else:
        clear_stale(path)
        with private_files():
            server = await asyncio.start_unix_server(_answer, path)
        port = 0
    try:
        yield port
    finally:
        server.close()
        if path is not None:
            path.unlink(missing_ok=True)


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        async with asyncio.timeout(_SECONDS):
            head = await reader.readuntil(b"\r\n\r\n")
            writer.write(await _response(head.split(b"\r\n", 1)[0].decode("latin-1")))
            await writer.drain()
    except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
        pass  # whoever asked has gone, or never spoke HTTP
    finally:
        writer.close()


async def _response(request_line: str) -> bytes:
    method, _, rest = request_line.partition(" ")
    if method != "GET" or rest.split(" ")[0].split("?")[0] != "/metrics":
        return _http("404 Not Found", "text/plain", b"GET /metrics\n")
    return _http("200 OK", CONTENT_TYPE_LATEST, await asyncio.to_thread(generate_latest, registry()))


def _http(status: str, kind: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body
