"""Answers as the JSON documents of REST: what proto3 JSON would make of the messages, built directly."""

from __future__ import annotations

import math
from typing import Any

from google.protobuf import json_format
from predmesh.explanation.v1 import explanation_service_pb2 as explanation_pb
from predmesh_frame.wire import frame_to_proto

from predmesh_prediction.answers import Answer
from predmesh_prediction.explaining import ExplainedAnswer, RowExplained


def answer_document(answer: Answer, *, columns: bool = False, packed: bool = False) -> dict[str, Any]:
    """The JSON form of the PredictResponse of *answer*."""
    rows = (
        {"columns": json_format.MessageToDict(frame_to_proto(answer.columns, readable=not packed))}
        if columns
        else {"predictions": answer.predictions}
    )
    document = {**rows, **_origin(answer), "predictionIds": answer.prediction_ids}
    _add_worth(document, answer)
    return document


def typed_document(answer: Answer) -> dict[str, Any]:
    """The JSON form of the typed PredictResponse of *answer*, which has one row."""
    return {
        "prediction": answer.predictions[0],
        "predictionId": answer.prediction_ids[0],
        "provenance": _provenance(answer),
    }


def typed_batch_document(answer: Answer) -> dict[str, Any]:
    """The JSON form of the typed PredictBatchResponse of *answer*."""
    return {
        "predictions": answer.predictions,
        "predictionIds": answer.prediction_ids,
        "provenance": _provenance(answer),
    }


def typed_explained_document(answer: ExplainedAnswer) -> dict[str, Any]:
    """The JSON form of the typed ExplainResponse of *answer*, which has one row."""
    document: dict[str, Any] = {"prediction": typed_document(answer.prediction)}
    if answer.rows:
        document["explanation"] = _row(answer.rows[0])
        _add_method(document, answer)
    document["output"] = answer.output
    return document


def _provenance(answer: Answer) -> dict[str, Any]:
    document: dict[str, Any] = _origin(answer)
    _add_worth(document, answer)
    return document


def _origin(answer: Answer) -> dict[str, str]:
    return {
        "model": answer.bundle.name,
        "modelVersion": answer.bundle.version,
        "bundleId": answer.bundle_id,
        "requestId": answer.request_id,
    }


def _add_worth(document: dict[str, Any], answer: Answer) -> None:
    """What was degraded, how long it took, how old what was read is."""
    if answer.degraded:
        document["degraded"] = [
            {"stage": each.stage, "policy": each.policy, "reason": each.reason, "detail": each.detail}
            for each in answer.degraded
        ]
    queued = {"stage": "queue", "duration": duration_text(answer.queued_microseconds)}
    document["timings"] = [queued, *answer.once(__name__, _timings)]
    if read_age := answer.read_age_microseconds:
        document["featuresReadAge"] = duration_text(read_age)


def _add_method(document: dict[str, Any], answer: ExplainedAnswer) -> None:
    document["method"] = explanation_pb.ExplanationMethod.Name(answer.method)  # type: ignore[arg-type]
    document["space"] = explanation_pb.AttributionSpace.Name(answer.space)  # type: ignore[arg-type]


def explained_document(answer: ExplainedAnswer, *, columns: bool, packed: bool = False) -> dict[str, Any]:
    """The JSON form of the ExplainResponse of *answer*."""
    document: dict[str, Any] = {"prediction": answer_document(answer.prediction, columns=columns, packed=packed)}
    if answer.rows:
        document["explanations"] = [_row(row) for row in answer.rows]
        _add_method(document, answer)
    document["output"] = answer.output
    return document


def duration_text(microseconds: int) -> str:
    """A Duration as proto3 JSON has it: no, three or six digits behind the point."""
    seconds, rest = divmod(microseconds, 1_000_000)
    if not rest:
        return f"{seconds}s"
    return f"{seconds}.{rest // 1000:03d}s" if rest % 1000 == 0 else f"{seconds}.{rest:06d}s"


def _timings(microseconds: dict[str, int]) -> list[dict[str, str]]:
    return [{"stage": stage, "duration": duration_text(took)} for stage, took in microseconds.items()]


def _row(row: RowExplained) -> dict[str, Any]:
    document: dict[str, Any] = _double("baseValue", row.base_value)
    if row.attributions:
        document["attributions"] = [
            {"feature": name} | _double("value", value) | _double("contribution", moved)
            for name, value, moved in row.attributions
        ]
    return document


def _double(name: str, value: float) -> dict[str, float | str]:
    """The field called *name*; none where it is 0, which -0 is not."""
    if not value and math.copysign(1, value) > 0:
        return {}
    return {name: _number(value)}


def _number(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
