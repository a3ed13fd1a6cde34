"""Requests per second and p95 out of Prometheus texts: pure functions of two scrapes."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

from predmesh_cli.topology import Kind

QUANTILE = 0.95


@dataclass(frozen=True, slots=True)
class Sample:
    """What one program had counted at one moment."""

    requests: float
    buckets: Mapping[float, float] = field(default_factory=dict)
    """Requests that took at most so many seconds, cumulative; empty where there is no histogram."""
    p95_seconds: float | None = None
    """Where the program computes it itself."""


@dataclass(frozen=True, slots=True)
class Figures:
    """How busy a program is."""

    requests_per_second: float | None = None
    p95_seconds: float | None = None
    """Of the requests between the two scrapes; of all since it started when there were none between."""


def sample(kind: Kind, text: str) -> Sample:
    """The sample in the Prometheus *text* of a program of *kind*."""
    match kind:
        case Kind.ENVOY:
            return _envoy(text)
        case Kind.TRITON:
            return _triton(text)
        case _:
            buckets = _buckets(text, "predmesh_rpc_seconds", seconds=1.0)
            return Sample(buckets.get(math.inf, 0.0), buckets)


def _envoy(text: str) -> Sample:
    """Requests of clients, and the times that prediction took as the gateway saw them; neither counts health checks."""
    name = "envoy_http_downstream_rq_completed"
    points = [point for family in text_string_to_metric_families(_only(text, name)) for point in family.samples]
    public = [point.value for point in points if point.labels.get("envoy_http_conn_manager_prefix") == "public"]
    return Sample(sum(public), _buckets(text, "envoy_cluster_upstream_rq_time", seconds=0.001))


def _buckets(text: str, name: str, *, seconds: float) -> dict[float, float]:
    """The sum of the histogram *name*, whose unit is *seconds*, over the series that count."""
    buckets: dict[float, float] = defaultdict(float)
    for family in text_string_to_metric_families(_only(text, name)):
        for point in family.samples:
            # Health checks and reflection are not what anybody came for; a stream lasts as long as its caller likes.
            service, method = point.labels.get("service", ""), point.labels.get("method", "")
            if point.name == f"{name}_bucket" and not service.startswith("grpc.") and "Stream" not in method:
                buckets[float(point.labels["le"]) * seconds] += point.value
    return dict(sorted(buckets.items()))


def _triton(text: str) -> Sample:
    requests, p95 = 0.0, None
    for family in text_string_to_metric_families(_only(text, "nv_inference_request")):
        for point in family.samples:
            if point.name in ("nv_inference_request_success", "nv_inference_request_success_total"):
                requests += point.value
            elif point.name == "nv_inference_request_summary_us" and point.labels.get("quantile") == str(QUANTILE):
                p95 = point.value / 1e6 if math.isfinite(point.value) else p95
    return Sample(requests=requests, p95_seconds=p95)


def _only(text: str, name: str) -> str:
    """The lines of *text* about *name*: a gateway has thousands of others."""
    return "".join(f"{line}\n" for line in text.splitlines() if name in line)


def figures(before: Sample | None, after: Sample | None, seconds: float) -> Figures:
    """The figures of a program that was scraped twice, *seconds* apart; None is a scrape that failed."""
    if after is None or before is None or seconds <= 0:
        return Figures()
    if after.requests < before.requests:  # it was restarted in between
        before = Sample(0.0)
    between = {bound: count - before.buckets.get(bound, 0.0) for bound, count in after.buckets.items()}
    p95 = after.p95_seconds or quantile(between) or quantile(after.buckets)
    return Figures((after.requests - before.requests) / seconds, p95)


def quantile(buckets: Mapping[float, float], share: float = QUANTILE) -> float | None:
    """Where *share* of the requests of cumulative *buckets* lie, linear within a bucket; None without requests."""
    total = buckets.get(math.inf, 0.0)
    if total <= 0:
        return None
    low, below = 0.0, 0.0
    for bound, count in buckets.items():
        if count >= share * total:
            return low if math.isinf(bound) else low + (bound - low) * (share * total - below) / (count - below)
        low, below = bound, count
    return low
