"""Asks stages that were opened in this process: plain calls, whose trouble is told as that of a stub is."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Sequence
from typing import TypeVar

from predmesh_bundle.schema import Stage
from predmesh_bundle.store import StoredBundle
from predmesh_frame import Frame
from predmesh_rpc import deadline
from predmesh_rpc.errors import DeadlineExceeded, FailedPrecondition, InvalidInput, NotFound

from predmesh_prediction.asking import asked, model_absent, model_failed
from predmesh_prediction.domain import Explained, Explanation, Features, Inference, Looked, Preprocessing, Tensors
from predmesh_prediction.wire_columns import read_frame

log = logging.getLogger(__name__)

_Answer = TypeVar("_Answer")


class InProcessFeatures:
    """The features stage in this process."""

    def __init__(self, stage: Features) -> None:
        self._stage = stage

    async def lookup(self, bundle_id: str, keys: Frame, max_age_seconds: float | None) -> Looked:
        """The features of each row of *keys*. Raises PredmeshError."""
        _check_time("features")
        return await asked("features", self._stage.lookup(bundle_id, keys, max_age_seconds))


class InProcessPreprocessing:
    """The preprocessing stage in this process."""

    def __init__(self, stage: Preprocessing) -> None:
        self._stage = stage

    async def transform(self, bundle_id: str, frames: Sequence[Frame]) -> Tensors:
        """The tensors of the rows that *frames* hold side by side. Raises PredmeshError."""
        _check_time("preprocessing")
        read = [read_frame(frame) for frame in frames]
        return await asked("preprocessing", self._stage.transform(bundle_id, read))


class InProcessInference:
    """The inference stage in this process."""

    def __init__(self, stage: Inference) -> None:
        self._stage = stage

    async def infer(self, bundle: StoredBundle, tensors: Tensors, outputs: tuple[str, ...]) -> Tensors:
        """The named outputs of the bundle's model. Raises PredmeshError."""
        _check_time("inference")
        return await _run(bundle.bundle_id, self._stage.infer(bundle, tensors, outputs))

    async def ready(self, bundle: StoredBundle) -> bool:
        """Whether the bundle's model can be asked. Raises PredmeshError."""
        return await self._stage.ready(bundle)


class InProcessExplanation:
    """The explanation stage in this process."""

    def __init__(self, stage: Explanation) -> None:
        self._stage = stage

    async def explain(self, bundle_id: str, tensors: Tensors, output_index: int) -> Explained:
        """The attributions of each row. Raises PredmeshError."""
        _check_time("explanation")
        return await asked("explanation", self._stage.explain(bundle_id, tensors, output_index))


async def _run(bundle_id: str, call: Awaitable[_Answer]) -> _Answer:
    try:
        return await call
    except NotFound:
        raise model_absent(bundle_id) from None
    except (InvalidInput, FailedPrecondition) as error:
        log.error("the model failed", extra={"bundle_id": bundle_id, "detail": error.message})
        raise model_failed(bundle_id) from None


def _check_time(stage: Stage) -> None:
    if deadline.remaining() <= 0:
        raise DeadlineExceeded("ERROR_REASON_DEADLINE", f"{stage} did not answer in time", stage=stage)
