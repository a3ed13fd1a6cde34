"""What every answer says beside its predictions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import Any

from .contracts import enum_name, to_duration


@dataclass(frozen=True, slots=True)
class Degradation:
    """What of an answer is worth less than usual."""

    stage: str
    """Stage that had trouble."""
    policy: str
    """What was done about it: `defaults`, `last_known` or `skipped`."""
    reason: str
    """Its cause, a name of predmesh.errors.v1.ErrorReason."""
    detail: str
    """What it means for the answer, in words."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """Who answered, how long it took and what the answer is worth."""

    model: str
    """Name of the model."""
    model_version: str
    """Its version."""
    bundle_id: str
    """The bundle: name, version and hash of its content. The same bundle gives the same answer."""
    request_id: str
    """Id of the request, the same when the gateway retries."""
    degraded: tuple[Degradation, ...]
    """What was degraded; empty when nothing was."""
    timings: Mapping[str, timedelta]
    """How long each stage took for the batch that the request travelled in."""
    features_read_age: timedelta | None
    """How old the oldest features used were since they were read; None when all were read for this request."""


@dataclass(frozen=True, slots=True)
class Attribution:
    """How much one feature moved an answer."""

    feature: str
    """Name of the feature as the model sees it."""
    value: float
    """Its value as the model saw it; NaN where it was missing."""
    contribution: float
    """How much it moved the answer, in the explanation's space."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a model answered as it did."""

    base_value: float
    """Expected answer without any feature known."""
    attributions: tuple[Attribution, ...]
    """Largest magnitude first; with the base value they add up to the answer, in `space`."""
    method: str
    """How it was computed, a name of predmesh.explanation.v1.ExplanationMethod."""
    space: str
    """Where it adds up, a name of predmesh.explanation.v1.AttributionSpace."""
    output: str
    """The explained output."""


def provenance(message: Any) -> Provenance:
    """What a predmesh.prediction.v1.Provenance says."""
    aged = message.HasField("features_read_age")
    return Provenance(
        model=message.model,
        model_version=message.model_version,
        bundle_id=message.bundle_id,
        request_id=message.request_id,
        degraded=tuple(Degradation(x.stage, x.policy, x.reason, x.detail) for x in message.degraded),
        timings=MappingProxyType({each.stage: to_duration(each.duration) for each in message.timings}),
        features_read_age=to_duration(message.features_read_age) if aged else None,
    )


def explanation(message: Any) -> Explanation | None:
    """What the ExplainResponse of a model says; None where the explanation was skipped."""
    if not message.HasField("explanation"):
        return None
    row = message.explanation
    return Explanation(
        base_value=row.base_value,
        attributions=tuple(Attribution(x.feature, x.value, x.contribution) for x in row.attributions),
        method=enum_name("predmesh.explanation.v1.ExplanationMethod", message.method),
        space=enum_name("predmesh.explanation.v1.AttributionSpace", message.space),
        output=message.output,
    )
