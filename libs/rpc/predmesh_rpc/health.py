"""Health of a process, told by grpc.health.v1: of the whole (""), of each service, and of each dependency."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from predmesh_rpc.errors import PredmeshError

_log = logging.getLogger(__name__)

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SERVICE_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


@dataclass(frozen=True, slots=True)
class Dependency:
    """Something that the process needs.

    Attributes:
        name: its name as a health service, e.g. ``redis``.
        check: returns when all is well, raises when not.
        required: whether the whole is down without it; not so where requests are answered with less.
    """

    name: str
    check: Callable[[], Awaitable[None]]
    required: bool = True


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]
    """Answers what is well; a watch ends when the process drains."""

    def __init__(self, services: Iterable[str], dependencies: Sequence[Dependency]) -> None:
        self._whole = ("", *sorted(services))
        self._dependencies = tuple(dependencies)
        names = (*self._whole, *(each.name for each in dependencies))
        self._statuses: dict[str, int] = dict.fromkeys(names, NOT_SERVING)
        self._changed = asyncio.Event()
        self._problems: dict[str, str] = {}
        self.draining = False

    async def Check(self, request: Any, context: Any) -> health_pb2.HealthCheckResponse:
        """How the named thing fares; NOT_FOUND for an unknown name."""
        status = self._statuses.get(request.service)
        if status is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"known: {', '.join(filter(None, self._statuses))}")
        return health_pb2.HealthCheckResponse(status=status)

    async def Watch(self, request: Any, context: Any) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        """How the named thing fares, now and on every change."""
        told: int | None = None
        while True:
            changed = self._changed
            status = self._statuses.get(request.service, SERVICE_UNKNOWN)
            if status != told:
                told = status
                yield health_pb2.HealthCheckResponse(status=status)
            if self.draining:
                return
            await changed.wait()

    def serving(self, name: str = "") -> bool:
        """Whether the named thing is well; the whole by default."""
        return bool(self._statuses.get(name) == SERVING)

    def problems(self) -> dict[str, str]:
        """What is wrong, by dependency."""
        return dict(self._problems)

    async def refresh(self, deadline_seconds: float = 1.0) -> None:
        """Check every dependency at once, each within *deadline_seconds*."""
        found = await asyncio.gather(*(_problem(each, deadline_seconds) for each in self._dependencies))
        self._tell(dict(zip((each.name for each in self._dependencies), found, strict=True)))

    def drain(self) -> None:
        """Say NOT_SERVING of everything from now on, and end the watches."""
        self.draining = True
        self._set(dict.fromkeys(self._statuses, NOT_SERVING))
        self._wake()

    @asynccontextmanager
    async def watched(self, period_seconds: float = 1.0) -> AsyncIterator[None]:
        """Refresh every *period_seconds* while the block runs."""

        async def watch() -> None:
            while True:
                await self.refresh()
                await asyncio.sleep(period_seconds)

        task = asyncio.create_task(watch(), name="health")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])

    def _tell(self, problems: dict[str, str]) -> None:
        if self.draining:
            return
        for name, problem in problems.items():
            if problem and not self._problems.get(name):
                _log.warning("a dependency is down", extra={"dependency": name, "problem": problem})
            elif not problem and self._problems.get(name):
                _log.info("a dependency is back", extra={"dependency": name})
        self._problems = {name: problem for name, problem in problems.items() if problem}
        whole = not any(self._problems.get(each.name) for each in self._dependencies if each.required)
        statuses = dict.fromkeys(self._whole, SERVING if whole else NOT_SERVING)
        statuses.update({name: NOT_SERVING if problem else SERVING for name, problem in problems.items()})
        self._set(statuses)

    def _set(self, statuses: dict[str, int]) -> None:
        if statuses != self._statuses:
            self._statuses = statuses
            self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


async def _problem(dependency: Dependency, seconds: float) -> str:
    try:
        async with asyncio.timeout(seconds):
            await dependency.check()
    except TimeoutError:
        return f"no answer within {seconds:g} s"
    except PredmeshError as error:
        return error.message
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        return type(error).__name__  # what it waited for was cancelled, not the check
    except Exception as error:
        return type(error).__name__  # not the text: a library's may hold an address with a password
    return ""
