"""Where the stages of each bundle run, and what it takes to have them ready there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self, get_args

from predmesh_bundle.schema import Bundle, Placement, Stage
from predmesh_bundle.stages import Opened
from predmesh_bundle.store import StoredBundle

from predmesh_prediction.domain import Stages
from predmesh_prediction.in_process import (
    InProcessExplanation,
    InProcessFeatures,
    InProcessInference,
    InProcessPreprocessing,
)

STAGES: tuple[Stage, ...] = get_args(Stage)

Opener = Callable[[], AbstractAsyncContextManager[Opened[Any]]]
"""Opens a stage in this process."""

_ADAPTERS: dict[Stage, Callable[[Any], Any]] = {
    "features": InProcessFeatures,
    "preprocessing": InProcessPreprocessing,
    "inference": InProcessInference,
    "explanation": InProcessExplanation,
}


@dataclass(frozen=True, slots=True)
class Reached:
    """A stage in another process."""

    stage: Any
    """What asks it, as the stage's Protocol says."""
    check: Callable[[], Awaitable[None]]
    """Returns where it answers; raises PredmeshError where not."""


@dataclass(slots=True)
class Places:
    """The places that a stage may run in; its block holds the stages that were opened in this process.

    A stage is opened here when the first bundle asks for it, so that nobody pays for what no bundle uses.
    """

    local: Mapping[Stage, Reached]
    """The services of this machine."""
    remote: Mapping[Stage, Reached] = field(default_factory=dict)
    """Services elsewhere, where the operator names them."""
    openers: Mapping[Stage, Opener] = field(default_factory=dict)
    """What can be opened in this process."""
    _opened: dict[Stage, Opened[Any]] = field(default_factory=dict)
    _placed: dict[str, Bundle] = field(default_factory=dict)
    _opening: asyncio.Lock = field(default_factory=asyncio.Lock)
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def __aenter__(self) -> Self:
        """Take bundles."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close what was opened."""
        await self._stack.aclose()

    async def load(self, stored: StoredBundle) -> Stages:
        """The stages of *stored*, those in this process loaded; after a failure too, `unload` lets go of it.

        Raises:
            ValueError: a stage cannot be had where the bundle wants it.
            Exception: what a stage in this process says of a bundle that it cannot load.
        """
        stages = {stage: await self._stage(stage, stored) for stage in STAGES}
        self._placed[stored.bundle_id] = stored.bundle
        return Stages(**stages)

    async def unload(self, bundle_id: str) -> None:
        """Let the stages in this process forget a bundle; one that is not loaded is no error."""
        self._placed.pop(bundle_id, None)
        for opened in self._opened.values():
            await opened.loader.unload(bundle_id)

    async def check(self, stage: Stage) -> None:
        """Return where *stage* answers in every place that a loaded bundle has it in. Raises PredmeshError."""
        places = {place(stage, bundle) for bundle in self._placed.values()} or {Placement.LOCAL}
        for each in sorted(places):
            if each is Placement.IN_PROCESS:
                await self._opened[stage].check()
            else:
                await (self.local if each is Placement.LOCAL else self.remote)[stage].check()

    async def _stage(self, stage: Stage, stored: StoredBundle) -> Any:
        match place(stage, stored.bundle):
            case Placement.LOCAL:
                return self.local[stage].stage
            case Placement.REMOTE:
                if stage not in self.remote:
                    variable = f"PREDICTION_{stage.upper()}_REMOTE"
                    raise ValueError(
                        f"`stages.{stage}: remote` needs an address: set {variable}=host:port, {_OR_LOCAL}"
                    )
                return self.remote[stage].stage
            case Placement.IN_PROCESS:
                opened = await self._open(stage)
                await opened.loader.load(stored)
                return _ADAPTERS[stage](opened.stage)

    async def _open(self, stage: Stage) -> Opened[Any]:
        if stage not in self.openers:
            package = f"install predmesh-{stage} in the environment of the prediction service"
            raise ValueError(f"`stages.{stage}: in-process` needs the stage's package: {package}, {_OR_LOCAL}")
        async with self._opening:
            if stage not in self._opened:
                self._opened[stage] = await self._stack.enter_async_context(self.openers[stage]())
            return self._opened[stage]


_OR_LOCAL = "or say `local`"


def place(stage: Stage, bundle: Bundle) -> Placement:
    """Where *bundle* has *stage*; a stage that it does not have is never asked, and needs nothing but a name."""
    declared = stage == "inference" or getattr(bundle, stage) is not None
    return bundle.stages.of(stage) if declared else Placement.LOCAL
