"""The one server of the mesh: gRPC and REST with the edge around every method, health, reflection, metrics, drain."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from types import TracebackType
from typing import Any, TypeVar

import uvloop
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

from predmesh_rpc.addresses import AddressError
from predmesh_rpc.health import Dependency, Health
from predmesh_rpc.http_front import HttpFront
from predmesh_rpc.http_server import HttpServer
from predmesh_rpc.logs import log_to
from predmesh_rpc.metrics_http import metrics_served
from predmesh_rpc.reflected import Reflection
from predmesh_rpc.settings import ServiceSettings, SettingsError, read
from predmesh_rpc.table import GenericHandler, Limits, Registration, Table
from predmesh_rpc.tracing import traced

__all__ = ["Dependency", "Server", "build", "launch", "run"]

_log = logging.getLogger(__name__)
_Settings = TypeVar("_Settings", bound=ServiceSettings)


class Server:
    """A server of the mesh; entering it starts it, leaving it drains it.

    Attributes:
        health: what the process says of itself.
        port: port of the first TCP address; 0 where there is none.
        metrics_port: TCP port of ``/metrics``; 0 where there is none.
        websocket_port: TCP port of the WebSockets; 0 where there is none.
    """

    def __init__(self, settings: ServiceSettings, table: Table, health: Health, names: Sequence[str]) -> None:
        self.health = health
        self.port = 0
        self.metrics_port = 0
        self.websocket_port = 0
        self._settings = settings
        self._table = table
        self._names = tuple(names)
        self._http: HttpServer | None = None
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Server:
        async with AsyncExitStack() as stack:
            settings = self._settings
            await stack.enter_async_context(
                traced(settings.otlp_endpoint, service=settings.service, instance=settings.instance)
            )
            self.metrics_port = await stack.enter_async_context(metrics_served(settings.metrics_address))
            await stack.enter_async_context(self.health.watched())
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
        if self._http is None:
            return
        server, self._http = self._http, None
        await server.drain(grace_seconds)
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

    async def _listen(self) -> None:
        fixed = (*self._names, "grpc.health.v1.Health", reflection.SERVICE_NAME)
        own = Limits(math.inf, math.inf, self._table.limits.message_bytes)  # a watch of health has no end
        self._table.add(health_pb2_grpc.add_HealthServicer_to_server, self.health, own)
        reflected = Reflection(fixed, self._table.contracts)
        self._table.add(reflection_pb2_grpc.add_ServerReflectionServicer_to_server, reflected, own)
        front = HttpFront(self._table, traced=bool(self._settings.otlp_endpoint))
        self._http = HttpServer(front, front.limits)
        for address in self._settings.addresses:
            port = await self._http.listen(address)
            self.port = self.port or port


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
