"""What is counted: one registry a process, and instruments that are made once, whoever asks first."""

from __future__ import annotations

import functools

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector

BUCKETS = (
    0.0001, 0.0002, 0.0004, 0.0006, 0.0008, 0.001, 0.0015, 0.002, 0.003, 0.004, 0.006, 0.008, 0.012,
    0.016, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.5, 3.0, 6.0, 15.0, 60.0,
)  # fmt: skip
"""Bounds of latency buckets in seconds, finest below the millisecond."""


@functools.cache
def registry() -> CollectorRegistry:
    """The registry of this process, made when first asked for."""
    made = CollectorRegistry()
    ProcessCollector(registry=made)
    GCCollector(registry=made)
    return made


@functools.cache
def histogram(name: str, meaning: str, labels: tuple[str, ...] = (), buckets: tuple[float, ...] = BUCKETS) -> Histogram:
    """The histogram of that name; take its children by ``.labels()`` once, not on every request."""
    return Histogram(name, meaning, labels, buckets=buckets, registry=registry())


@functools.cache
def counter(name: str, meaning: str, labels: tuple[str, ...] = ()) -> Counter:
    """The counter of that name."""
    return Counter(name, meaning, labels, registry=registry())


@functools.cache
def gauge(name: str, meaning: str, labels: tuple[str, ...] = ()) -> Gauge:
    """The gauge of that name."""
    return Gauge(name, meaning, labels, registry=registry())


def rpc_seconds() -> Histogram:
    """Seconds that calls took to answer, by service, method and gRPC code."""
    return histogram("predmesh_rpc_seconds", "Seconds a call took to answer.", ("service", "method", "code"))


def rpc_in_flight() -> Gauge:
    """Calls being answered, by service and method."""
    return gauge("predmesh_rpc_in_flight", "Calls being answered.", ("service", "method"))
