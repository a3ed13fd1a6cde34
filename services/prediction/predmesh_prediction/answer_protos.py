"""Answers as the messages of gRPC."""

from __future__ import annotations

from predmesh.prediction.v1 import prediction_service_pb2 as pb
from predmesh.prediction.v1 import provenance_pb2 as provenance_pb
from predmesh_frame.wire import frame_to_proto

from predmesh_prediction.answers import Answer
from predmesh_prediction.explaining import ExplainedAnswer, RowExplained
from predmesh_prediction.structs import from_plain


def answer_proto(answer: Answer, *, columns: bool, packed: bool = False) -> pb.PredictResponse:
    """The PredictResponse of *answer*, its rows as columns or as JSON objects."""
    response = pb.PredictResponse(
        model=answer.bundle.name,
        model_version=answer.bundle.version,
        bundle_id=answer.bundle_id,
        request_id=answer.request_id,
        prediction_ids=answer.prediction_ids,
        timings=[_timing("queue", answer.queued_microseconds)],
    )
    response.MergeFromString(answer.once(__name__, _timings))
    if columns:
        response.columns.CopyFrom(frame_to_proto(answer.columns, readable=not packed))
    else:
        response.predictions.extend([from_plain(row) for row in answer.predictions])
    if read_age := answer.read_age_microseconds:
        response.features_read_age.FromMicroseconds(read_age)
    response.degraded.extend(_degraded(answer))
    return response


def explained_proto(answer: ExplainedAnswer, *, columns: bool, packed: bool = False) -> pb.ExplainResponse:
    """The ExplainResponse of *answer*."""
    response = pb.ExplainResponse(
        prediction=answer_proto(answer.prediction, columns=columns, packed=packed), output=answer.output
    )
    if answer.rows:
        response.method = answer.method  # type: ignore[assignment]
        response.space = answer.space  # type: ignore[assignment]
    response.explanations.extend(map(explained_row, answer.rows))
    return response


def explained_row(row: RowExplained) -> pb.RowExplanation:
    """The explanation of one row."""
    attributions = [
        pb.Attribution(feature=name, value=value, contribution=moved) for name, value, moved in row.attributions
    ]
    return pb.RowExplanation(base_value=row.base_value, attributions=attributions)


def provenance_bytes(answer: Answer) -> bytes:
    """The Provenance of *answer*, serialized: what the contracts of models have in pools of their own can merge it."""
    provenance = provenance_pb.Provenance(
        model=answer.bundle.name,
        model_version=answer.bundle.version,
        bundle_id=answer.bundle_id,
        request_id=answer.request_id,
        timings=[_timing("queue", answer.queued_microseconds)],
        degraded=_degraded(answer),
    )
    if read_age := answer.read_age_microseconds:
        provenance.features_read_age.FromMicroseconds(read_age)
    return provenance.SerializeToString() + answer.once("provenance", _provenance_timings)


def _degraded(answer: Answer) -> list[pb.Degradation]:
    return [
        pb.Degradation(stage=each.stage, policy=each.policy, reason=each.reason, detail=each.detail)
        for each in answer.degraded
    ]


def _provenance_timings(microseconds: dict[str, int]) -> bytes:
    timings = [_timing(stage, took) for stage, took in microseconds.items()]
    return provenance_pb.Provenance(timings=timings).SerializeToString()


def _timings(microseconds: dict[str, int]) -> bytes:
    """A PredictResponse of the timings alone: merging its bytes costs less than making its messages."""
    timings = [_timing(stage, took) for stage, took in microseconds.items()]
    return pb.PredictResponse(timings=timings).SerializeToString()


def _timing(stage: str, microseconds: int) -> pb.StageTiming:
    timing = pb.StageTiming(stage=stage)
    timing.duration.FromMicroseconds(microseconds)
    return timing
