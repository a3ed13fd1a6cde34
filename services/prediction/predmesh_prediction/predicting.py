"""Answers one request: find its model, check its rows, let them travel with others, and give back what is theirs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from predmesh_bundle.nearest import nearest
from predmesh_frame import Frame
from predmesh_rpc import context
from predmesh_rpc.errors import FailedPrecondition

from predmesh_prediction.answers import Answer
from predmesh_prediction.batching import Part
from predmesh_prediction.catalogue import Catalogue, Served
from predmesh_prediction.explaining import ExplainedAnswer, explained_answer
from predmesh_prediction.graph import Travelled
from predmesh_prediction.violations import Violations


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of a request as they came: JSON objects or columns."""

    instances: Sequence[Any] | None = None
    columns: Frame | None = None
    place: str = "columns"
    """What the columns are called in the request."""

    def checked(self, served: Served) -> Frame:
        """The frame of the model's inputs.

        Raises:
            InvalidInput: with every violation.
        """
        if self.columns is None:
            return served.validator.of_instances(self.instances or ())
        if self.instances is None:
            return served.validator.of_columns(self.columns, self.place)
        violations = Violations()
        violations.add("instances", "stand beside columns: send the rows as one of them")
        violations.check(served.stored.bundle.name)
        raise AssertionError("a violation raises")


@dataclass(frozen=True, slots=True)
class Predictor:
    """Answers requests with the live models."""

    catalogue: Catalogue

    async def predict(self, model: str, version: str, rows: Rows, request_id: str = "") -> Answer:
        """The predictions of *rows*.

        Args:
            model: its name.
            version: its version; empty for the default.
            rows: as they came.
            request_id: where the prediction ids come from; by default the id of the request at hand.

        Raises:
            PredmeshError: the request is wrong, or a stage has trouble.
        """
        served = self._announced(model, version)
        frame = rows.checked(served)
        parts = await served.predictions.submit(frame, served.stored.bundle.budget_seconds)
        return _answer(served, frame, parts, request_id or context.request_id())

    async def explain(
        self, model: str, version: str, rows: Rows, output: str, top: int, found: Violations | None = None
    ) -> ExplainedAnswer:
        """The predictions of *rows* and why they are so; *found* is what is known to be wrong. Raises PredmeshError."""
        served = self._announced(model, version)
        violations = found or Violations()
        explained = _explainable(served, output, violations)
        with violations.told_with(model):
            frame = rows.checked(served)
        violations.check(model)
        parts = await served.explanations[explained].submit(frame, served.stored.bundle.budget_seconds)
        return explained_answer(_answer(served, frame, parts, context.request_id()), explained, top)

    def _announced(self, model: str, version: str) -> Served:
        """The model, whose answer's headers say what its callers must know."""
        served = self.catalogue.find(model, version)
        for name, value in served.notices:
            context.send_initial_metadata(name, value)
        return served


def _answer(served: Served, frame: Frame, parts: Sequence[Part[Travelled]], request_id: str) -> Answer:
    stored = served.stored
    return Answer(stored.bundle, stored.bundle_id, request_id, parts, frame.rows)


def _explainable(served: Served, output: str, violations: Violations) -> str:
    bundle = served.stored.bundle
    if not served.explanations:
        raise FailedPrecondition(
            "ERROR_REASON_NOT_EXPLAINABLE",
            f"model {bundle.name!r} declares no explanation: add `explanation` to its bundle",
            model=bundle.name,
        )
    first = next(iter(served.explanations))
    if output and output not in served.explanations:
        near = nearest(output, served.explanations) or first
        violations.add("output", f"must be an output that is explained, not {output[:80]!r}", near)
        return first
    return output or first
