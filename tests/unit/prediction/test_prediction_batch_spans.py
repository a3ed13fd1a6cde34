"""Batches in traces: under the span of one request, linked with those of the others."""

import asyncio
from collections.abc import Iterator, Sequence
from contextvars import copy_context
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON
from predmesh_frame import Frame
from predmesh_prediction.batching import Limits
from predmesh_prediction.committing import GroupCommit


class Kept(SpanExporter):
    """Keeps what ended."""

    def __init__(self) -> None:
        self.spans: dict[str, ReadableSpan] = {}

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.spans |= {span.name: span for span in spans}
        return SpanExportResult.SUCCESS


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kept]:
    exporter, provider = Kept(), TracerProvider(sampler=ALWAYS_ON, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
    yield exporter
    provider.shutdown()


async def batch_of(names: Sequence[str], unsampled: Sequence[str] = ()) -> None:
    """Let one request a name travel together, each in a span of its own."""
    silent = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)

    async def run(frame: Frame) -> None:
        with trace.get_tracer("test").start_as_current_span("stage"):
            pass

    async def ask(group: GroupCommit[Any], name: str) -> None:
        tracer = (silent if name in unsampled else trace).get_tracer("test")
        with tracer.start_as_current_span(name):
            await group.submit(Frame(1), 5.0)

    async with asyncio.TaskGroup() as tasks:
        group: GroupCommit[Any] = GroupCommit(run, Limits(), tasks, name="m")
        for name in names:
            tasks.create_task(ask(group, name), context=copy_context())


def ids(span: ReadableSpan) -> tuple[int, int]:
    context = span.get_span_context()
    assert context is not None
    return context.trace_id, context.span_id


def linked(span: ReadableSpan) -> set[tuple[int, int]]:
    return {(link.context.trace_id, link.context.span_id) for link in span.links}


async def test_a_batch_is_a_span_of_its_first_request_and_linked_with_the_others(kept: Kept) -> None:
    await batch_of("abc")
    batch, stage = kept.spans["batch of m"], kept.spans["stage"]
    assert batch.parent is not None
    assert (batch.parent.trace_id, batch.parent.span_id) == ids(kept.spans["a"])
    assert linked(batch) == {ids(kept.spans["b"]), ids(kept.spans["c"])}
    assert linked(kept.spans["b"]) == linked(kept.spans["c"]) == {ids(batch)}
    assert stage.parent is not None
    assert (stage.parent.trace_id, stage.parent.span_id) == ids(batch)
    assert dict(batch.attributes or {}) == {"predmesh.batch.rows": 3, "predmesh.batch.requests": 3}


async def test_a_batch_travels_in_a_trace_that_is_sampled_where_there_is_one(kept: Kept) -> None:
    await batch_of("abc", unsampled="ac")
    batch = kept.spans["batch of m"]
    assert batch.parent is not None
    assert (batch.parent.trace_id, batch.parent.span_id) == ids(kept.spans["b"])
    assert linked(batch) == set()


async def test_where_nothing_is_sampled_a_batch_is_no_span(kept: Kept) -> None:
    await batch_of("ab", unsampled="ab")
    assert "batch of m" not in kept.spans
