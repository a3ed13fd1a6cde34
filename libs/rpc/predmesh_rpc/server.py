"""The one server of the mesh: grpc.aio with the edge around every method, health, reflection, metrics and drain."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import grpc
import uvloop
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

from predmesh_rpc import addresses
from predmesh_rpc.addresses import AddressError
from predmesh_rpc.health import Dependency, Health
from predmesh_rpc.http_front import HttpFront
from predmesh_rpc.logs import log_to
from predmesh_rpc.metrics_http import metrics_served
from predmesh_rpc.reflected import Reflection
from predmesh_rpc.settings import ServiceSettings, SettingsError, read
from predmesh_rpc.table import GenericHandler, Limits, Registration, Table
from predmesh_rpc.tracing import server_interceptors, traced
from predmesh_rpc.wire import RawHandlers, WireHandlers

__all__ = ["Dependency", "Server", "build", "launch", "run"]

_log = logging.getLogger(__name__)
_Settings = TypeVar("_Settings", bound=ServiceSettings)

# The edge refuses what is too long with a reason; gRPC's own limit only guards the memory.
_ROOM = 4


class Server:
    """A server of the mesh; entering it starts it, leaving it drains it.

    Attributes:
        health: what the process says of itself.
        port: port of the first TCP address; 0 where there is none.
        metrics_port: TCP port of ``/metrics``; 0 where there is none.
        http_port: TCP port of the HTTP/1.1 front; 0 where there is none.
        websocket_port: TCP port of the WebSockets; 0 where there is none.
    """

    def __init__(self, settings: ServiceSettings, table: Table, health: Health, names: Sequence[str]) -> None:
        self.health = health
        self.port = 0
        self.metrics_port = 0
        self.http_port = 0
        self.websocket_port = 0
        self._settings = settings
        self._table = table
        self._names = tuple(names)
        self._grpc: grpc.aio.Server | None = None
        self._sockets: dict[Path, tuple[int, int] | None] = {}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Server:
        async with AsyncExitStack() as stack:
            settings = self._settings
            await stack.enter_async_context(
                traced(settings.otlp_endpoint, service=settings.service, instance=settings.instance)
            )
            self.metrics_port = await stack.enter_async_context(metrics_served(settings.metrics_address))
            await stack.enter_async_context(self.health.watched())
            if settings.http_address:
                traces = bool(settings.otlp_endpoint)
                front = HttpFront(
                    self._table,
                    serving=self.health.serving,
                    grace_seconds=settings.grace_seconds,
                    traced=traces,
                )
                self.http_port = await stack.enter_async_context(front.listening(settings.http_address))
            if settings.websocket_address:
                self.websocket_port = await stack.enter_async_context(self._sockets_opened(settings))
            stack.push_async_callback(self.drain, settings.grace_seconds)
            await self._listen()
            self._stack = stack.pop_all()
        _log.info("listening", extra={"addresses": list(settings.addresses), "port": self.port})
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def drain(self, grace_seconds: float) -> None:
        """Say NOT_SERVING, stop accepting, let calls in flight end for *grace_seconds*, remove the sockets."""
        self.health.drain()
        if self._grpc is None:
            return
        server, self._grpc = self._grpc, None
        try:
            await server.stop(grace_seconds)
        except asyncio.CancelledError:
            await server.stop(None)
            raise
        finally:
            self._remove_sockets()
        _log.info("drained")

    def _sockets_opened(self, settings: ServiceSettings) -> AbstractAsyncContextManager[int]:
        # Most services open none, and need not load the library.
        from predmesh_rpc.socket_front import SocketFront

        front = SocketFront(
            self._table,
            serving=self.health.serving,
            grace_seconds=settings.grace_seconds,
            traced=bool(settings.otlp_endpoint),
        )
        return front.listening(settings.websocket_address)

    def _remove_sockets(self) -> None:
        for path, mine in self._sockets.items():
            if mine is not None and addresses.identity(path) == mine:
                path.unlink(missing_ok=True)

    async def _listen(self) -> None:
        raw = RawHandlers()
        health_pb2_grpc.add_HealthServicer_to_server(self.health, raw)
        fixed = (*self._names, "grpc.health.v1.Health", reflection.SERVICE_NAME)
        reflected = Reflection(fixed, self._table.contracts)
        reflection_pb2_grpc.add_ServerReflectionServicer_to_server(reflected, raw)
        self._grpc = grpc.aio.server(
            handlers=[WireHandlers(self._table, raw)],
            interceptors=server_interceptors(bool(self._settings.otlp_endpoint)),
            options=_options(self._table.limits),
        )
        for address in self._settings.addresses:
            self._bind(self._grpc, address)
        await self._grpc.start()

    def _bind(self, server: grpc.aio.Server, address: str) -> None:
        path = addresses.socket_path(address)
        if path is None:
            addresses.host_and_port(address)
            port = _bound(server, address)
            self.port = self.port or port
            return
        addresses.clear_stale(path)
        with addresses.private_files():
            _bound(server, f"unix:{path.absolute()}")
        self._sockets[path] = addresses.identity(path)


def build(
    settings: ServiceSettings,
    servicers: Iterable[Registration],
    health: Sequence[Dependency] = (),
    *,
    generic: Sequence[GenericHandler] = (),
) -> Server:
    """The server of a service; ``async with`` starts it.

    Args:
        settings: addresses, limits and the rest.
        servicers: pairs of a generated ``add_XServicer_to_server`` and its servicer.
        health: what the service needs; each is checked every second.
        generic: handlers that look methods up as calls come, for services that come and go.
    """
    limits = Limits(settings.default_deadline_seconds, settings.stream_deadline_seconds, settings.max_message_bytes)
    table = Table(limits, servicers)
    table.add_generic_rpc_handlers(generic)
    names = sorted(table.services)
    return Server(settings, table, Health(names, health), names)


async def run(server: Server, grace_seconds: float = 5.0) -> None:
    """Wait for SIGTERM or SIGINT, then drain *server*; a second signal ends the grace."""
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()
    hurried = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, lambda: hurried.set() if asked.is_set() else asked.set())
    try:
        await asked.wait()
        _log.info("draining", extra={"grace_seconds": grace_seconds})
        draining = asyncio.create_task(server.drain(grace_seconds))
        hurry = asyncio.create_task(hurried.wait())
        await asyncio.wait([draining, hurry], return_when=asyncio.FIRST_COMPLETED)
        hurry.cancel()
        if not draining.done():
            draining.cancel()
        await asyncio.wait([draining, hurry])
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def launch(main: Callable[[_Settings], Coroutine[Any, Any, None]], settings: type[_Settings], prefix: str) -> None:
    """Read *settings*, log JSON, and run *main* to its end on uvloop.

    What an operator can mend (a bad variable, an address in use) ends the process with its message and status 2.
    """
    # The C core writes plain text to stderr, between the lines of JSON; it reads this when gRPC is first used.
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    try:
        given = read(settings, prefix)
        log_to(service=given.service, instance=given.instance, level=given.log_level)
        uvloop.run(main(given))
    except (SettingsError, AddressError) as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


def _options(limits: Limits) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", max(_ROOM * limits.message_bytes, 64 * 1024 * 1024)),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_metadata_size", 64 * 1024),
        ("grpc.so_reuseport", 0),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
    ]


def _bound(server: grpc.aio.Server, address: str) -> int:
    try:
        return server.add_insecure_port(address)
    except RuntimeError:
        raise AddressError(
            f"cannot listen on {address}: another process has it, or it is not of this machine; set another address"
        ) from None
