"""What the wiring of a service opens, and the process around it: a server, and a follower of the live bundles."""

from __future__ import annotations

import gc
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from predmesh_rpc.errors import DependencyDown
from predmesh_rpc.health import Dependency
from predmesh_rpc.server import build, run
from predmesh_rpc.settings import ServiceSettings
from predmesh_rpc.table import Registration

_YOUNG_OBJECTS = 50_000
"""Objects made before the young generation is looked through; Python's own 700 is less than one request of 100 rows."""

_Loader = TypeVar("_Loader", covariant=True)


@dataclass(frozen=True, slots=True)
class Service(Generic[_Loader]):
    """A service, put together.

    Attributes:
        servicers: what a server is built of, with the generated function that adds each.
        loader: what a follower loads bundles into.
        health: what the service depends on.
    """

    servicers: list[Registration]
    loader: _Loader
    health: list[Dependency] = field(default_factory=list)


class Following(AbstractAsyncContextManager[Any], Protocol):
    """Keeps a service at the live bundles while its block is open; predmesh_bundle's Follower is one."""

    def ready(self) -> bool:
        """Whether the live bundles are loaded."""
        ...

    def problem(self) -> str | None:
        """Why they are not."""
        ...


async def serve(settings: ServiceSettings, service: Service[Any], follower: Following) -> None:
    """Serve until asked to end; the process is healthy once *follower* has loaded the live bundles."""

    async def bundles() -> None:
        if not follower.ready():
            problem = follower.problem() or "the live bundles are being loaded"
            raise DependencyDown("ERROR_REASON_STAGE_DOWN", problem, stage=settings.service)

    health = [*service.health, Dependency("bundles", bundles)]
    async with build(settings, service.servicers, health) as server, follower:
        settle()
        await run(server, settings.grace_seconds)


def settle() -> None:
    """Leave what was imported and built at start out of garbage collection: it stays, and walking it stalls calls."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, 20, 50)
