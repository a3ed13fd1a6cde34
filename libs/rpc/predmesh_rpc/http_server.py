"""Listens, and answers requests over HTTP/2 with prior knowledge; no gRPC."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from pathlib import Path

from predmesh_rpc.addresses import AddressError, clear_stale, host_and_port, identity, private_files, socket_path
from predmesh_rpc.h2_serving import H2Serving
from predmesh_rpc.http_messages import HttpLimits
from predmesh_rpc.http_serving import Answering, Arrived, Connection

_BACKLOG = 4096
_MOST_CONNECTIONS = 2048
_AT_ONCE = 4


class HttpServer:
    """Answers requests; a client that leaves stops its work."""

    def __init__(self, answering: Answering, limits: HttpLimits) -> None:
        self.answering = answering
        self.limits = limits
        self._servers: list[asyncio.Server] = []
        self._sockets: dict[Path, tuple[int, int] | None] = {}
        self._ending = False
        self._connections: set[Connection] = set()
        self._left = asyncio.Event()
        self._arrived: deque[Arrived] = deque()
        self._begun = 0
        self._watch: asyncio.Task[None] | None = None

    async def listen(self, address: str) -> int:
        """Listen on *address* (``unix:/path`` or ``host:port``) until `drain`; gives the TCP port or 0.

        Raises:
            AddressError: the address cannot be listened on.
        """
        loop, path = asyncio.get_running_loop(), socket_path(address)
        if self._watch is None:
            self._watch = loop.create_task(self._watched(), name="idle-connections")
        if path is None:
            host, port = host_and_port(address)
            try:
                server = await loop.create_server(self._connection, host, port, backlog=_BACKLOG)
            except OSError:
                raise AddressError(
                    f"cannot listen on {address}: another process has it, or it is not of this machine; "
                    "set another address"
                ) from None
        else:
            clear_stale(path)
            with private_files():
                server = await loop.create_unix_server(self._connection, str(path.absolute()), backlog=_BACKLOG)
            self._sockets[path] = identity(path)
        self._servers.append(server)
        return 0 if path is not None else int(server.sockets[0].getsockname()[1])

    async def drain(self, grace_seconds: float) -> None:
        """Listen no more, let requests at hand end for *grace_seconds*, and remove the sockets."""
        self._ending = True
        for server in self._servers:
            server.close()
        try:
            for connection in list(self._connections):
                connection.finish()
            if self._connections:
                self._left.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(grace_seconds):
                        await self._left.wait()
        finally:
            self._end()

    def opened(self, connection: Connection) -> bool:
        """Know *connection* until it is lost; False if there are too many, or the server ends."""
        if self._ending or len(self._connections) >= _MOST_CONNECTIONS:
            return False
        self._connections.add(connection)
        return True

    def lost(self, connection: Connection) -> None:
        """Forget *connection*."""
        self._connections.discard(connection)
        if not self._connections:
            self._left.set()

    def came(self, arrived: Arrived) -> None:
        """Begin to answer what *arrived*, in this turn of the loop or a later one.

        A few begin in a turn, so that what the loop waits for besides, such as other services' answers, is never behind
        a whole crowd of newcomers.
        """
        if self._begun >= _AT_ONCE:
            self._arrived.append(arrived)
            return
        if not self._begun:
            asyncio.get_running_loop().call_soon(self._turn)
        self._begun += 1
        arrived.begin()

    def _turn(self) -> None:
        self._begun = min(_AT_ONCE, len(self._arrived))
        if self._begun:
            asyncio.get_running_loop().call_soon(self._turn)
        for _ in range(self._begun):
            self._arrived.popleft().begin()

    def _connection(self) -> H2Serving:
        return H2Serving(self)

    async def _watched(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self.limits.idle_seconds / 8)
            for connection in list(self._connections):
                connection.watch(loop.time())

    def _end(self) -> None:
        for connection in list(self._connections):
            connection.abort()
        if self._watch is not None:
            self._watch.cancel()
        for path, mine in self._sockets.items():
            if mine is not None and identity(path) == mine:
                path.unlink(missing_ok=True)
