"""The span of a batch, linked with those of the requests of other traces; nothing where none is sampled."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from predmesh_prediction.batching import Piece, Waiting

_NO_SPAN: AbstractContextManager[Any] = nullcontext()


def leader(pieces: Sequence[Piece[Any]]) -> Waiting[Any]:
    """The request in whose trace the batch of *pieces* travels: the first that is sampled, else the first."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is not None:
        for waiting, _, _ in pieces:
            if waiting.context.run(trace.get_current_span).is_recording():
                return waiting
    return pieces[0].waiting


def batch_span(name: str, pieces: Sequence[Piece[Any]], rows: int) -> AbstractContextManager[Any]:
    """A span under the one at hand, linked both ways with those of the *pieces*' other requests."""
    trace = sys.modules.get("opentelemetry.trace")
    here = None if trace is None else trace.get_current_span()
    if trace is None or here is None or not here.is_recording():
        return _NO_SPAN
    spans = [piece.waiting.context.run(trace.get_current_span) for piece in pieces]
    others = [span for span in spans if span is not here and span.is_recording()]
    links = [trace.Link(span.get_span_context()) for span in others]
    attributes = {"predmesh.batch.rows": rows, "predmesh.batch.requests": len(pieces)}
    span = trace.get_tracer("predmesh_prediction").start_span(f"batch of {name}", links=links, attributes=attributes)
    for other in others:
        other.add_link(span.get_span_context())
    used: AbstractContextManager[Any] = trace.use_span(span, end_on_exit=True)
    return used
