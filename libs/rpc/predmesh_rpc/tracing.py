"""Spans to an OpenTelemetry collector where an endpoint is set; nothing is imported or done where none is."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from typing import Any

from predmesh_rpc.context import Metadata


def active_trace_id() -> str:
    """The id of the trace at hand, 32 hex digits; empty while tracing is off."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return ""
    span = trace.get_current_span().get_span_context()
    return format(span.trace_id, "032x") if span.is_valid else ""


@asynccontextmanager
async def traced(endpoint: str, *, service: str, instance: str) -> AsyncIterator[None]:
    """Send spans to *endpoint* while the block runs; nothing if it is empty."""
    if not endpoint:
        yield
        return
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    resource = Resource.create({"service.name": service, "service.instance.id": instance})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint, timeout=5)))
    trace.set_tracer_provider(provider)
    try:
        yield
    finally:
        await asyncio.to_thread(provider.shutdown)


def client_interceptors(on: bool) -> list[Any]:
    """What a grpc.aio channel needs to make spans."""
    if not on:
        return []
    from opentelemetry.instrumentation.grpc import aio_client_interceptors

    return list(aio_client_interceptors())  # type: ignore[no-untyped-call]


def server_span(on: bool, path: str, headers: Mapping[str, str]) -> AbstractContextManager[Any]:
    """The span of a call to *path* that came with *headers*, which may name its parent."""
    if not on:
        return _NO_SPAN
    from opentelemetry import propagate
    from opentelemetry.trace import SpanKind

    return _span(path, SpanKind.SERVER, propagate.extract(headers))


def client_span(on: bool, path: str) -> AbstractContextManager[Any]:
    """The span of a call of *path* made outside of grpcio."""
    if not on:
        return _NO_SPAN
    from opentelemetry.trace import SpanKind

    return _span(path, SpanKind.CLIENT, None)


def injected(on: bool, metadata: Metadata) -> Metadata:
    """*metadata* with the span at hand as parent of what the callee does."""
    if not on:
        return metadata
    from opentelemetry import propagate

    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return tuple(pair for pair in metadata if pair[0] not in carrier) + tuple(carrier.items())


_NO_SPAN: AbstractContextManager[Any] = nullcontext()


def _span(path: str, kind: Any, parent: Any) -> AbstractContextManager[Any]:
    from opentelemetry import trace

    service, _, method = path.lstrip("/").partition("/")
    attributes = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": method}
    tracer = trace.get_tracer("predmesh_rpc")
    return tracer.start_as_current_span(path.lstrip("/"), context=parent, kind=kind, attributes=attributes)
