"""The models that are live: what each was compiled into, and which of them a request means."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import prod

from predmesh_bundle.generation import EMPTY, Generation, LiveModel
from predmesh_bundle.nearest import nearest
from predmesh_bundle.schema import Bundle
from predmesh_bundle.store import StoredBundle
from predmesh_frame import Frame
from predmesh_rpc.errors import DependencyDown, NotFound

from predmesh_prediction.batching import Limits
from predmesh_prediction.committing import GroupCommit
from predmesh_prediction.domain import Stages, Tensors
from predmesh_prediction.graph import Graph, Travelled
from predmesh_prediction.notices import Notices, notices
from predmesh_prediction.places import Places
from predmesh_prediction.raw_tensors import RawModel
from predmesh_prediction.typed_contract import TypedContract, typed_contract
from predmesh_prediction.validation import Validator

_LISTED_MODELS = 20
_TEXT_BYTES = 64


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Served:
    """One loaded bundle; a request that has found it keeps it until it is answered."""

    stored: StoredBundle
    stages: Stages
    validator: Validator
    graph: Graph
    predictions: GroupCommit[Travelled]
    explanations: Mapping[str, GroupCommit[Travelled]]
    """One an explainable output, by its name."""
    model: RawModel
    """The model without the rest of the graph."""
    raw: GroupCommit[Tensors]
    """Requests for the model alone."""
    contract: TypedContract | None
    """Its own messages; None where it was stored without a contract."""
    notices: Notices
    """What its answers' headers say."""

    async def drained(self) -> None:
        """Wait until no row of it is under way."""
        await self.predictions.drained()
        await self.raw.drained()
        for each in self.explanations.values():
            await each.drained()

    def forget(self) -> None:
        """Take it out of the metrics."""
        self.raw.forget()
        for each in (self.predictions, *self.explanations.values()):
            each.forget()


@dataclass(slots=True)
class Catalogue:
    """Loads bundles, follows generations, and finds the model that a request names; the service's `Loader`."""

    places: Places
    limits: Limits
    tasks: asyncio.TaskGroup
    generation: Generation = EMPTY
    """The live one."""
    _loaded: dict[str, Served] = field(default_factory=dict)
    _routes: Mapping[tuple[str, str], str] = field(default_factory=dict)

    async def load(self, bundle: StoredBundle) -> None:
        """Compile *bundle*, once its stages are ready. Raises ValueError when it cannot be served."""
        if bundle.bundle_id not in self._loaded:
            self._loaded[bundle.bundle_id] = self._compiled(bundle, await self.places.load(bundle))

    async def unload(self, bundle_id: str) -> None:
        """Forget a bundle once its requests have ended."""
        served = self._loaded.pop(bundle_id, None)
        if served is not None:
            await served.drained()
            served.forget()
        await self.places.unload(bundle_id)

    async def flip(self, generation: Generation) -> None:
        """Send the requests that come from now on to *generation*."""
        self.generation = generation
        self._routes = routes(generation)

    def find(self, model: str, version: str = "") -> Served:
        """The live model of that name and version; without one, the default.

        Raises:
            NotFound: there is none; says which comes nearest.
            DependencyDown: it is live, and not loaded here yet.
        """
        bundle_id = self._routes.get((model, version))
        if bundle_id is None:
            raise _unknown(self.generation, model, version)
        served = self._loaded.get(bundle_id)
        if served is None:
            raise DependencyDown(
                "ERROR_REASON_STAGE_DOWN", f"model {model!r} is still being loaded: try again", stage="prediction"
            )
        return served

    def models(self) -> list[tuple[LiveModel, Served]]:
        """The live models that are loaded here, by name, then version."""
        live = ((each, self._loaded.get(each.bundle_id)) for each in self.generation.models)
        return [(each, served) for each, served in live if served is not None]

    def _compiled(self, stored: StoredBundle, stages: Stages) -> Served:
        bundle, graph = stored.bundle, Graph(stored, stages)
        limits = limits_of(bundle, self.limits)
        explanations: dict[str, GroupCommit[Travelled]] = {}
        if bundle.explanation is not None:
            output = bundle.output(bundle.explanation.output)

            async def explain(frame: Frame) -> Travelled:
                return await graph.explain(frame, output.index or 0)

            explanations[output.name] = GroupCommit(explain, limits, self.tasks, name=f"explain {stored.bundle_id}")
        predictions = GroupCommit(graph.predict, limits, self.tasks, name=stored.bundle_id)
        model = RawModel(stored, stages.inference)
        raw = GroupCommit(model.run, limits, self.tasks, name=f"raw {stored.bundle_id}")
        contract = typed_contract(stored)
        return Served(
            stored, stages, Validator(bundle), graph, predictions, explanations, model, raw, contract, notices(bundle)
        )


def limits_of(bundle: Bundle, limits: Limits) -> Limits:
    """*limits* with no larger batches than *bundle* allows, and as many rows in the queue as there is memory for."""
    row_bytes = sum(
        prod(each.shape) * (each.type.numpy.itemsize if each.type.packs else _TEXT_BYTES) for each in bundle.inputs
    )
    return replace(
        limits,
        max_batch_rows=min(limits.max_batch_rows, bundle.inference.max_batch_rows),
        max_queue_rows=min(limits.max_queue_rows, limits.max_queue_bytes // row_bytes),
    )


def routes(generation: Generation) -> dict[tuple[str, str], str]:
    """Bundle ids by model name and version; under an empty version, the model's default."""
    named = {(each.name, each.version): each.bundle_id for each in generation.models}
    return named | {(each.name, ""): each.bundle_id for each in generation.models if each.default}


def _unknown(generation: Generation, model: str, version: str) -> NotFound:
    versions = generation.versions(model)
    if not versions:
        return _unknown_model(model, sorted({each.name for each in generation.models}))
    live = ", ".join(each.version for each in versions)
    return NotFound(
        "ERROR_REASON_VERSION_UNKNOWN",
        f"model {model!r} has no live version {version[:40]!r}; live: {live}",
        model=model,
        version=version[:40],
        live=live,
    )


def _unknown_model(model: str, names: list[str]) -> NotFound:
    near = nearest(model, names)
    live = ", ".join(names[:_LISTED_MODELS]) + (", …" if len(names) > _LISTED_MODELS else "")
    hint = f"did you mean {near!r}?" if near else f"live: {live}" if live else "none is live: deploy one"
    metadata = {"model": model[:80], "live": live} | ({"nearest": near} if near else {})
    return NotFound("ERROR_REASON_MODEL_UNKNOWN", f"no live model is called {model[:80]!r}; {hint}", **metadata)
