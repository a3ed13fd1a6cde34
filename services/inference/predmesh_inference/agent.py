"""Loads bundles onto a model server and keeps them answering: watches each with a real inference, and mends it.

Bundles whose models have one name share the model: the first one loads it, the last one to go unloads it.
"""

from __future__ import annotations

import asyncio
import logging
import zlib
from collections.abc import Callable, Coroutine, Iterator
from contextvars import Context
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import TracebackType
from typing import Self
from weakref import WeakValueDictionary

from predmesh_bundle.generation import Generation
from predmesh_bundle.store import StoredBundle

from predmesh_inference.domain import (
    Fault,
    InferenceFailed,
    LoadFailed,
    Model,
    ModelServer,
    ServerUnsound,
    State,
    Status,
    Step,
    next_step,
    pause_seconds,
    used,
    wrong_answer,
)
from predmesh_inference.trouble import model_failed, server_down, told, unknown_bundle

_log = logging.getLogger(__name__)

_RETRY_SECONDS = 0.2


@dataclass(frozen=True, kw_only=True)
class AgentLimits:
    """How the agent watches and waits."""

    watch_seconds: float = 1.0
    """Time between two inferences that watch a model."""
    probe_seconds: float = 5.0
    """Time for one of them."""
    server_seconds: float = 30.0
    """Time that a load waits for a model server that is starting."""


@dataclass(eq=False)
class _Place:
    """A name on the server, for as long as a bundle has its model there."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    """One load, reload or unload of the name at a time."""
    reloads: int = 0
    """Times that its model was loaded anew, successfully or not."""


@dataclass(slots=True)
class _Held:
    """A bundle that is, or is to be, on the server."""

    model: Model
    status: Status
    place: _Place
    work: asyncio.Task[None] | None = None
    """The load at work, which callers share and whose end none of them hastens by leaving."""
    watch: asyncio.Task[None] | None = None
    late: int = 0
    failed_reloads: int = 0


class Agent:
    """The follower's loader, and what the ModelService asks; its tasks end with its block."""

    def __init__(
        self,
        server: ModelServer,
        plan: Callable[[StoredBundle], Model],
        limits: AgentLimits,
        now: Callable[[], datetime],
    ) -> None:
        """Keep models on *server*.

        Args:
            server: what runs them.
            plan: how a bundle is to run; raises LoadFailed where it cannot here.
            limits: how long to wait.
            now: wall-clock time, for what is told.
        """
        self.server = server
        self._plan = plan
        self._limits = limits
        self._now = now
        self._held: dict[str, _Held] = {}
        self._places: WeakValueDictionary[str, _Place] = WeakValueDictionary()
        self._tasks: set[asyncio.Task[None]] = set()
        self._cleared = False

    async def __aenter__(self) -> Self:
        """Take work."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End every task; the models stay on the server, for the next agent."""
        for task in tuple(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def load(self, bundle: StoredBundle) -> None:
        """Have the bundle loaded and warmed up; a ready one stays as it is.

        Raises:
            FailedPrecondition: it cannot be loaded here; says why.
            DependencyDown: the model server does not answer.
        """
        held = self._held.get(bundle.bundle_id)
        if held is None or held.status.state is State.FAILED:
            held = self._take(bundle)
        if held.work is not None:
            await asyncio.shield(held.work)

    async def unload(self, bundle_id: str) -> None:
        """Let the bundle's requests end and unload its model, unless others have it too; an unknown one is no error."""
        held = self._held.pop(bundle_id, None)
        if held is None:
            return
        _say(held, State.UNLOADING)
        if held.watch is not None:
            held.watch.cancel()
        async with held.place.lock:
            if used(held.model.name, self._models()):
                return
            try:
                await self.server.unload(held.model.name)
            except InferenceFailed as error:
                # A server that is down holds no model; a fresh one is not told of this one.
                _log.warning("unload failed", extra={"bundle_id": bundle_id, "detail": error.detail})

    async def flip(self, generation: Generation) -> None:
        """Requests name their bundle, so there is nothing to route; the first time, what was left behind goes."""
        if not self._cleared:
            try:
                await self.server.retain(sorted({model.name for model in self._models()}))
            except InferenceFailed as error:
                raise server_down(error.detail) from None
            self._cleared = True

    async def warm_up(self, bundle_id: str) -> Status:
        """Run the bundle's warm-up again.

        Raises:
            NotFound: it is not loaded here.
            FailedPrecondition: the model failed.
            DependencyDown: the model server does not answer.
        """
        held = self._held.get(bundle_id)
        if held is None:
            raise unknown_bundle(bundle_id)
        try:
            await self._warm_up(held.model)
        except (InferenceFailed, LoadFailed) as error:
            raise told(bundle_id, error) from None
        self._succeeded(held)
        return held.status

    def status(self, bundle_id: str) -> Status:
        """How a bundle fares. Raises NotFound."""
        held = self._held.get(bundle_id)
        if held is None:
            raise unknown_bundle(bundle_id)
        return held.status

    def statuses(self) -> list[Status]:
        """How every bundle fares, by bundle id."""
        return [self._held[bundle_id].status for bundle_id in sorted(self._held)]

    async def server_name(self) -> str:
        """Name and version of the model server; empty where it does not answer."""
        return await self.server.name()

    async def check_server(self) -> None:
        """Return where the model server answers. Raises DependencyDown."""
        if not await self.server.name():
            raise server_down("the model server does not answer")

    async def check_models(self) -> None:
        """Return where no model is in trouble. Raises DependencyDown, which says which is and why."""
        broken = [each for each in self.statuses() if each.state in (State.RECOVERING, State.FAILED)]
        if broken:
            raise server_down(
                "; ".join(f"{each.bundle_id} is {each.state.name.lower()}: {each.detail}" for each in broken)
            )

    def _take(self, bundle: StoredBundle) -> _Held:
        try:
            model = self._plan(bundle)
        except LoadFailed as error:
            raise model_failed(bundle.bundle_id, str(error)) from None
        instances = model.inference.instances
        status = Status(bundle.bundle_id, State.LOADING, device=model.device, instances=instances, model=model.name)
        place = self._places.setdefault(model.name, _Place())
        held = self._held[bundle.bundle_id] = _Held(model, status, place)
        held.work = self._start(self._load(held), f"load-{bundle.bundle_id}")
        return held

    def _start(self, work: Coroutine[None, None, None], name: str) -> asyncio.Task[None]:
        # A context of its own: the deadline of the call that began it must not end what outlives the call.
        task = asyncio.get_running_loop().create_task(work, name=name, context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # looked at, for a caller who left would leave it unseen

    async def _load(self, held: _Held) -> None:
        try:
            async with held.place.lock:
                await self._load_when_up(held.model)
                await self._warm_up(held.model)
        except (InferenceFailed, LoadFailed, ServerUnsound) as error:
            _say(held, State.FAILED, str(error))
            raise told(held.model.bundle_id, error) from None
        finally:
            held.work = None
        self._succeeded(held)
        if self._wanted(held):
            held.watch = self._start(self._watch(held), f"watch-{held.model.bundle_id}")

    def _models(self) -> Iterator[Model]:
        """The models of all bundles that were not unloaded."""
        return (held.model for held in self._held.values())

    def _wanted(self, held: _Held) -> bool:
        """Whether the bundle was not unloaded meanwhile."""
        return self._held.get(held.model.bundle_id) is held

    async def _load_when_up(self, model: Model) -> None:
        """Load, and wait for a server that is starting."""
        end = asyncio.get_running_loop().time() + self._limits.server_seconds
        while True:
            try:
                return await self.server.load(model)
            except InferenceFailed as error:
                if error.fault is not Fault.SERVER_DOWN or asyncio.get_running_loop().time() > end:
                    raise
            await asyncio.sleep(_RETRY_SECONDS)

    async def _warm_up(self, model: Model) -> None:
        """Ask with every probe. Raises LoadFailed where the answer is none that the bundle promises."""
        for probe in model.probes:
            try:
                answer = await self.server.infer(model.name, probe, self._limits.probe_seconds)
            except InferenceFailed as error:
                if next_step(error.fault, late=0, exact=model.exact) is Step.READY:
                    continue
                raise
            if problem := wrong_answer(model, probe, answer):
                raise LoadFailed(problem)

    async def _watch(self, held: _Held) -> None:
        """Ask the model again and again; a failure is acted on, and never ends the watch."""
        share = zlib.crc32(held.model.bundle_id.encode()) % 1000 / 1000
        await asyncio.sleep(self._limits.watch_seconds * share)
        while True:
            try:
                await self._look_after(held)
            except Exception:
                _log.exception("the watch failed", extra={"bundle_id": held.model.bundle_id})
            await asyncio.sleep(pause_seconds(self._limits.watch_seconds, held.failed_reloads))

    async def _look_after(self, held: _Held) -> None:
        reloads = held.place.reloads
        fault, detail = await self._probe(held.model)
        held.late = held.late + 1 if fault is Fault.LATE else 0
        step = next_step(fault, late=held.late, exact=held.model.exact)
        if step is Step.READY:
            self._succeeded(held)
        elif step is Step.WAIT:
            if fault is Fault.SERVER_DOWN:
                _say(held, State.RECOVERING, detail)
        else:
            await self._reload(held, detail, reloads)

    async def _probe(self, model: Model) -> tuple[Fault | None, str]:
        """One real inference: how it failed, and why."""
        try:
            answer = await self.server.infer(model.name, model.probes[0], self._limits.probe_seconds)
        except InferenceFailed as error:
            return error.fault, error.detail
        if problem := wrong_answer(model, model.probes[0], answer):
            return Fault.BROKEN, problem
        if not await self.server.whole(model):
            return Fault.BROKEN, "an instance has ended"
        return None, ""

    async def _reload(self, held: _Held, why: str, reloads: int) -> None:
        """Load the model anew; where another bundle has had that done since there were *reloads*, only look again."""
        _say(held, State.RECOVERING, why)
        held.status = replace(held.status, recoveries=held.status.recoveries + 1)
        _log.warning("reloading a model", extra={"bundle_id": held.model.bundle_id, "reason": why})
        held.failed_reloads += 1
        try:
            async with held.place.lock:
                if self._wanted(held):
                    if held.place.reloads == reloads:
                        await self._load_anew(held)
                    await self._warm_up(held.model)
        except (InferenceFailed, LoadFailed, ServerUnsound) as error:
            _say(held, State.RECOVERING, str(error))
            return
        self._succeeded(held)

    async def _load_anew(self, held: _Held) -> None:
        try:
            await self.server.reload(held.model)
        finally:
            held.place.reloads += 1

    def _succeeded(self, held: _Held) -> None:
        held.late = held.failed_reloads = 0
        held.status = replace(held.status, state=State.READY, detail="", last_success_time=self._now())


def _say(held: _Held, state: State, detail: str = "") -> None:
    held.status = replace(held.status, state=state, detail=detail)
