"""What the gateway calls: prediction, and the collector of traces where there is one."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from predmesh_gateway.envoy_types import Json, address, seconds, typed
from predmesh_gateway.listener import TRACES
from predmesh_gateway.routes import CLUSTER, HTTP_CLUSTER, WEBSOCKET_CLUSTER
from predmesh_gateway.settings import Settings

RETRIES_ALWAYS = 256
IDLE_TIMEOUT = "60s"
"""Kept connections end here, before the front ends them, which takes 120 s: so none is closed under a request."""


def clusters(settings: Settings) -> list[Json]:
    """Every cluster."""
    traces = [traces_cluster(settings.otlp_endpoint)] if settings.otlp_endpoint else []
    http = [prediction_http_cluster(settings)] if settings.prediction_http_addresses else []
    websocket = [prediction_websocket_cluster(settings)] if settings.prediction_websocket_addresses else []
    return [prediction_cluster(settings), *http, *websocket, *traces]


def prediction_cluster(settings: Settings) -> Json:
    """Prediction's processes, watched by gRPC health checks.

    While none is healthy calls go to all of them (Envoy's panic mode), so that what prediction itself says about its
    trouble reaches the caller, and the first call after a restart succeeds.
    """
    return {
        **_balanced(CLUSTER, settings.prediction_addresses, settings),
        "typed_extension_protocol_options": http2(),
        "health_checks": [health_check(settings, grpc_health_check={"service_name": settings.health_service})],
    }


def prediction_http_cluster(settings: Settings) -> Json:
    """The HTTP/1.1 fronts of prediction's processes, over connections that are kept; watched and left as the others."""
    return _http1_cluster(HTTP_CLUSTER, settings.prediction_http_addresses, settings)


def prediction_websocket_cluster(settings: Settings) -> Json:
    """Where prediction opens WebSockets; a cluster of its own, so that many of them leave calls their connections."""
    return _http1_cluster(WEBSOCKET_CLUSTER, settings.prediction_websocket_addresses, settings)


def outlier_detection() -> Json:
    """Leaves out a process that cannot be reached.

    What a process answers is no reason: a broken model fails on every process alike, and would take all of them out.
    """
    return {
        "split_external_local_origin_errors": True,
        "consecutive_local_origin_failure": 3,
        "enforcing_consecutive_5xx": 0,
        "enforcing_consecutive_gateway_failure": 0,
        "enforcing_success_rate": 0,
        "enforcing_local_origin_success_rate": 0,
        "interval": "0.5s",
        "base_ejection_time": "1s",
        "max_ejection_time": "5s",
        "max_ejection_percent": 50,
    }


def thresholds(settings: Settings) -> Json:
    """How much may be under way at once, and how much of it may be retries."""
    return {
        "max_connections": 1024,
        "max_pending_requests": settings.max_requests,
        "max_requests": settings.max_requests,
        "retry_budget": {
            "budget_percent": {"value": settings.retry_budget_percent},
            # All that one process had in flight is tried again at once when it dies.
            "min_retry_concurrency": RETRIES_ALWAYS,
        },
        "track_remaining": True,
    }


def health_check(settings: Settings, **asked: Json) -> Json:
    """One question, *asked*, an interval and process."""
    interval = seconds(settings.health_interval_seconds)
    return {
        "timeout": "1s",
        "interval": interval,
        "no_traffic_interval": interval,
        "no_traffic_healthy_interval": interval,
        "unhealthy_threshold": 2,
        "healthy_threshold": 1,
        **asked,
    }


def front_health_path(settings: Settings) -> str:
    """What an HTTP front is asked for what Health/Check is asked for."""
    return f"/healthz?service={quote(settings.health_service)}" if settings.health_service else "/healthz"


def traces_cluster(endpoint: str) -> Json:
    """The collector of traces, by name or number."""
    return {
        "name": TRACES,
        "type": "STRICT_DNS",
        "connect_timeout": "0.5s",
        "typed_extension_protocol_options": http2(),
        "load_assignment": endpoints(TRACES, (endpoint,)),
    }


def http2() -> Json:
    """HTTP/2 with prior knowledge, kept alive."""
    return _protocol(
        explicit_http_config={"http2_protocol_options": {"connection_keepalive": {"interval": "30s", "timeout": "5s"}}}
    )


def http1() -> Json:
    """HTTP/1.1, a connection for each request in flight, kept for the next; gRPC answers end with trailers."""
    return _protocol(
        explicit_http_config={"http_protocol_options": {"enable_trailers": True}},
        common_http_protocol_options={"idle_timeout": IDLE_TIMEOUT},
    )


def endpoints(cluster: str, addresses: tuple[str, ...]) -> Json:
    """A ClusterLoadAssignment of equal endpoints."""
    each = [{"endpoint": {"address": _upstream(text)}} for text in addresses]
    return {"cluster_name": cluster, "endpoints": [{"lb_endpoints": each}]}


def _http1_cluster(name: str, addresses: tuple[str, ...], settings: Settings) -> Json:
    return {
        **_balanced(name, addresses, settings),
        "typed_extension_protocol_options": http1(),
        "health_checks": [health_check(settings, http_health_check={"path": front_health_path(settings)})],
    }


def _balanced(name: str, addresses: tuple[str, ...], settings: Settings) -> Json:
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": seconds(settings.connect_timeout_seconds),
        "lb_policy": "LEAST_REQUEST",
        # By default calls go to all as soon as less than half are healthy, so also to dead ones.
        "common_lb_config": {"healthy_panic_threshold": {"value": 1}},
        "per_connection_buffer_limit_bytes": 1024 * 1024,
        "circuit_breakers": {"thresholds": [thresholds(settings)]},
        "outlier_detection": outlier_detection(),
        "load_assignment": endpoints(name, addresses),
    }


def _protocol(**options: Any) -> Json:
    message = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    return {message: typed(message, **options)}


def _upstream(text: str) -> Json:
    found = address(text)
    if "pipe" in found:
        found["pipe"].pop("mode")
    return found
