"""The gateway's spans reach a collector, and one trace id runs through headers, span and access log."""

from __future__ import annotations

import json
import queue
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from predmesh_testing.envoy import Gateway, running_echo, running_gateway, settings_over


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps the spans that come."""

    def __init__(self) -> None:
        self.spans: queue.Queue[Any] = queue.Queue()

    def Export(self, request: Any, context: Any) -> Any:
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    self.spans.put(span)
        return trace_service_pb2.ExportTraceServiceResponse()


@pytest.fixture
def collector() -> Iterator[tuple[Collector, int]]:
    found, server = Collector(), grpc.server(ThreadPoolExecutor(1))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(found, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield found, port
    server.stop(0).wait()


@pytest.fixture
def gateway(collector: tuple[Collector, int], tmp_path: Path) -> Iterator[Gateway]:
    endpoint = f"http://127.0.0.1:{collector[1]}"
    settings = settings_over(tmp_path / "p.sock", otlp_endpoint=endpoint)
    with running_echo(tmp_path / "p.sock"), running_gateway(settings, tmp_path) as found:
        yield found


def logged(gateway: Gateway) -> str:
    """The access log once it holds something, which may be after the caller has its answer."""
    end = time.monotonic() + 10
    while not (log := gateway.access_log()):
        assert time.monotonic() < end, "nothing was logged"
    return log


def test_a_call_is_one_trace(gateway: Gateway, collector: tuple[Collector, int]):
    answer = httpx.get(f"{gateway.url}/v1/models/traced")
    seen = json.loads(answer.json()["model"]["description"])["metadata"]["traceparent"].split("-")[1]
    (line,) = [json.loads(line) for line in logged(gateway).splitlines()]
    assert line["trace_id"] == seen
    span = collector[0].spans.get(timeout=20)
    assert span.trace_id.hex() == seen
