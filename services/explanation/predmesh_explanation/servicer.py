"""ExplanationService: tensors in, attributions out; decides nothing."""

from __future__ import annotations

from typing import Any

from predmesh.explanation.v1 import explanation_service_pb2 as pb
from predmesh.explanation.v1.explanation_service_pb2_grpc import ExplanationServiceServicer
from predmesh_frame import FrameError
from predmesh_frame.wire import tensor_from_proto

from predmesh_explanation.domain import Attributions, invalid
from predmesh_explanation.explaining import Explanations, Question


class ExplanationServicer(ExplanationServiceServicer):
    """Answers from `Explanations`."""

    def __init__(self, explanations: Explanations) -> None:
        self._explanations = explanations

    async def Explain(self, request: pb.ExplainRequest, context: Any) -> pb.ExplainResponse:
        """The attributions of the tensors' rows."""
        return to_proto(await self._explanations.explain(to_question(request)))


def to_question(request: pb.ExplainRequest) -> Question:
    """The question in *request*.

    Raises:
        InvalidInput: a tensor is not what it claims to be.
    """
    try:
        tensors = dict(tensor_from_proto(tensor) for tensor in request.tensors)
    except FrameError as error:
        raise invalid(f"tensors.{error.column}", error.reason) from error
    return Question(
        bundle_id=request.bundle_id,
        tensors=tensors,
        output_index=request.output_index,
        method=request.method,
        budget_seconds=request.budget.ToNanoseconds() / 1e9 if request.HasField("budget") else None,
    )


def to_proto(found: Attributions) -> pb.ExplainResponse:
    """The message of *found*."""
    return pb.ExplainResponse(
        method=found.method.value,  # type: ignore[arg-type]
        space=found.space.value,  # type: ignore[arg-type]
        feature_names=found.feature_names,
        base_values=found.base_values,
        contributions=found.contributions.astype("<f8").tobytes(),
        max_additivity_error=found.max_additivity_error,
    )
