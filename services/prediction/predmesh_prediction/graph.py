"""The path of one batch through the stages of a bundle, with what is done about trouble on the way."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from time import perf_counter
from typing import Any, TypeVar

from predmesh_bundle.schema import Policy
from predmesh_bundle.store import StoredBundle
from predmesh_frame import Frame
from predmesh_rpc import deadline
from predmesh_rpc.errors import DependencyDown, PredmeshError

from predmesh_prediction.domain import Explained, Looked, Stages, Tensors
from predmesh_prediction.json_values import records
from predmesh_prediction.last_known import LastKnown, defaults, features_of
from predmesh_prediction.outputs import outputs_of
from predmesh_prediction.tensors import check_direct, tensors_of

_Answer = TypeVar("_Answer")

PATIENCE = 0.5
"""Share of the time left that a stage may take when something can stand in for its answer."""


@dataclass(frozen=True, slots=True)
class Degraded:
    """What of an answer is worth less than usual."""

    stage: str
    policy: str
    reason: str
    detail: str


@dataclass
class Travelled:
    """What a batch brings back; complete once its graph has ended."""

    rows: int
    """Rows of the batch."""
    outputs: Frame = field(default_factory=lambda: Frame(0))
    """One column an output."""
    tensors: Tensors = field(default_factory=dict)
    """What the model was given."""
    explained: Explained | None = None
    """Why it answered so, where that was asked."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Time that each stage took."""
    degraded: list[Degraded] = field(default_factory=list)
    """What was degraded."""
    read_age_seconds: float = 0.0
    """How long ago the features of a row were read from the online store, at most; 0 when all were read for it."""
    encoded: dict[str, Any] = field(default_factory=dict)
    """What an encoder of answers has made of it, under the encoder's name, for the other requests of the batch."""

    @cached_property
    def records(self) -> list[dict[str, Any]]:
        """One JSON object a row, from output name to value; made once for all requests of the batch."""
        return records(self.outputs)

    @cached_property
    def microseconds(self) -> dict[str, int]:
        """Time that each stage took, in whole microseconds."""
        return {stage: round(seconds * 1e6) for stage, seconds in self.seconds.items()}


class Graph:
    """The stages of one bundle, in order."""

    def __init__(self, stored: StoredBundle, stages: Stages) -> None:
        """Prepare the path.

        Raises:
            ValueError: the bundle cannot be served as it is.
        """
        bundle = stored.bundle
        plan = stored.read_plan() if bundle.features else None
        self._stored = stored
        self._bundle_id = stored.bundle_id
        self._bundle = bundle
        self._stages = stages
        self._features = features_of(plan) if plan else ()
        self._last_known = LastKnown(plan) if plan and bundle.policies.features is Policy.LAST_KNOWN else None
        self._keys = dict(bundle.join_keys)
        if plan:
            inputs = {spec.name for spec in bundle.inputs}
            self._keys |= {each.name: each.name for each in plan.request_inputs if each.name in inputs}
        self._outputs = tuple(dict.fromkeys(output.tensor for output in bundle.outputs))
        if bundle.preprocessing is None:
            check_direct(bundle, [feature.name for feature in self._features])

    async def predict(self, frame: Frame) -> Travelled:
        """The outputs of *frame*'s rows. Raises PredmeshError."""
        batch = Travelled(frame.rows)
        await self._infer(batch, frame)
        return batch

    async def explain(self, frame: Frame, output_index: int) -> Travelled:
        """The outputs of *frame*'s rows, and why they are so. Raises PredmeshError."""
        batch = Travelled(frame.rows)
        await self._infer(batch, frame)
        call = self._stages.explanation.explain(self._bundle_id, batch.tensors, output_index)
        try:
            batch.explained = await _timed(batch, "explanation", call)
        except PredmeshError as error:
            if self._bundle.policies.explanation is not Policy.SKIP:
                raise
            batch.degraded.append(
                Degraded("explanation", "skipped", error.reason, f"the answer is not explained: {error}")
            )
        return batch

    async def _infer(self, batch: Travelled, frame: Frame) -> None:
        frames = [frame]
        if self._bundle.features is not None:
            frames.append(await self._look_up(batch, frame))
        batch.tensors = await self._tensors(batch, frames)
        call = self._stages.inference.infer(self._stored, batch.tensors, self._outputs)
        tensors = await _timed(batch, "inference", call)
        batch.outputs = outputs_of(self._bundle.outputs, tensors, batch.rows, self._bundle_id)

    async def _tensors(self, batch: Travelled, frames: Sequence[Frame]) -> Tensors:
        if self._bundle.preprocessing is None:
            columns = {name: column for each in frames for name, column in each.columns.items()}
            return tensors_of(self._bundle.inference.inputs, columns)
        return await _timed(batch, "preprocessing", self._stages.preprocessing.transform(self._bundle_id, frames))

    async def _look_up(self, batch: Travelled, frame: Frame) -> Frame:
        assert self._bundle.features is not None
        policy = self._bundle.policies.features
        keys = Frame(frame.rows, {key: frame.columns[name] for key, name in self._keys.items()})
        call = self._stages.features.lookup(self._bundle_id, keys, self._bundle.features.max_age_seconds)
        if policy is Policy.FAIL:
            looked = self._complete(batch, await _timed(batch, "features", call))
            if looked.store_down:
                raise DependencyDown("ERROR_REASON_STORE_DOWN", "the online store does not answer: try again")
            return looked.features
        try:
            with deadline.within(PATIENCE * deadline.remaining()):
                async with asyncio.timeout(deadline.remaining()):
                    looked = self._complete(batch, await _timed(batch, "features", call))
            if self._last_known is not None and not looked.store_down:
                self._last_known.remember(keys, looked.features)
        except (PredmeshError, TimeoutError) as error:
            return self._stand_in(batch, keys, getattr(error, "reason", "ERROR_REASON_DEADLINE"))
        if looked.store_down:
            return self._stand_in(batch, keys, "ERROR_REASON_STORE_DOWN")
        return looked.features

    def _complete(self, batch: Travelled, looked: Looked) -> Looked:
        missing = [each.name for each in self._features if each.name not in looked.features.columns]
        if missing:
            text = f"features did not answer with {missing[0]!r}; was the bundle deployed whole?"
            raise DependencyDown("ERROR_REASON_STAGE_DOWN", text, stage="features")
        batch.read_age_seconds = looked.read_age_seconds
        return looked

    def _stand_in(self, batch: Travelled, keys: Frame, reason: str) -> Frame:
        if self._last_known is not None:
            detail = "features are those last seen of each entity; declared defaults where none were seen"
            batch.degraded.append(Degraded("features", "last_known", reason, detail))
            return self._last_known.recall(keys)
        detail = "features are the declared defaults, for all rows"
        batch.degraded.append(Degraded("features", "defaults", reason, detail))
        return defaults(self._features, keys.rows)


async def _timed(batch: Travelled, stage: str, call: Awaitable[_Answer]) -> _Answer:
    # Not the loop's time: uvloop keeps that in whole milliseconds.
    began = perf_counter()
    try:
        return await call
    finally:
        batch.seconds[stage] = perf_counter() - began
