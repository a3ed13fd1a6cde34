"""Attributions of a batch, cut to one request's rows: named, with the value that the model saw, largest first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from predmesh_prediction.answers import Answer
from predmesh_prediction.batching import Part
from predmesh_prediction.domain import Explained, Tensors
from predmesh_prediction.graph import Travelled

Attributed = tuple[str, float, float]
"""Feature, its value as the model saw it, how much it moved the answer."""


@dataclass(frozen=True, slots=True)
class RowExplained:
    """Why one row was answered so."""

    base_value: float
    """The answer without any feature known."""
    attributions: list[Attributed]
    """Largest magnitude first."""


@dataclass(frozen=True, slots=True)
class ExplainedAnswer:
    """The predictions of one request and why they are so."""

    prediction: Answer
    output: str
    """The explained output."""
    method: int
    """A number of predmesh.explanation.v1.ExplanationMethod; 0 where the explanation was skipped."""
    space: int
    """A number of predmesh.explanation.v1.AttributionSpace."""
    rows: list[RowExplained]
    """One a row; none where the explanation was skipped."""


def explained_answer(answer: Answer, output: str, top: int) -> ExplainedAnswer:
    """*answer* with its explanations; of each row the *top* largest attributions, or all where that is 0."""
    explained = [part.result.explained for part in answer.parts]
    whole = [each for each in explained if each is not None]
    if len(whole) < len(explained):
        return ExplainedAnswer(answer, output, 0, 0, [])
    rows = [row for part, each in zip(answer.parts, whole, strict=True) for row in _rows(part, each, top)]
    return ExplainedAnswer(answer, output, whole[0].method, whole[0].space, rows)


def _rows(part: Part[Travelled], explained: Explained, top: int) -> list[RowExplained]:
    rows = slice(part.start, part.stop)
    moved = explained.contributions[rows]
    seen = _seen(part.result.tensors, part.result.rows, moved.shape[1])[rows]
    order = np.argsort(-np.abs(moved), axis=1, kind="stable")
    order = order[:, :top] if top else order
    names: Sequence[str] = explained.feature_names
    return [
        RowExplained(base, [(names[at], values[at], moves[at]) for at in places])
        for base, values, moves, places in zip(
            explained.base_values[rows].tolist(), seen.tolist(), moved.tolist(), order.tolist(), strict=True
        )
    ]


def _seen(tensors: Tensors, rows: int, width: int) -> npt.NDArray[np.float64]:
    """(rows, width) values as the model saw them; NaN where they cannot be told apart by position."""
    flat: list[npt.NDArray[Any]] = [
        tensor.reshape(rows, -1).astype(np.float64) for tensor in tensors.values() if tensor.dtype.kind in "biuf"
    ]
    joined = np.concatenate(flat, axis=1) if flat else np.empty((rows, 0))
    return joined if joined.shape[1] == width else np.full((rows, width), np.nan)
