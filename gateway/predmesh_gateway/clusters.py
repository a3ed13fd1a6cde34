"""What the gateway calls: prediction, and the collector of traces where there is one."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from predmesh_gateway.envoy_types import Json, address, seconds, typed
from predmesh_gateway.listener import TRACES
from predmesh_gateway.routes import CLUSTER, UNARY_CLUSTER, WEBSOCKET_CLUSTER
from predmesh_gateway.settings import Settings

RETRIES_ALWAYS = 256
IDLE: Json = {"common_http_protocol_options": {"idle_timeout": "60s"}}
"""Kept connections end here, before prediction ends them, which takes 120 s: so none is closed under a request."""


def clusters(settings: Settings) -> list[Json]:
    """Every cluster."""
    traces = [traces_cluster(settings.otlp_endpoint)] if settings.otlp_endpoint else []
    websocket = [prediction_websocket_cluster(settings)] if settings.prediction_websocket_addresses else []
    return [prediction_cluster(settings, CLUSTER), prediction_cluster(settings, UNARY_CLUSTER), *websocket, *traces]


def prediction_cluster(settings: Settings, name: str) -> Json:
    """Prediction's processes, watched by gRPC health checks; streams and calls with one answer are told apart by name.

    While none is healthy calls go to all of them (Envoy's panic mode), so that what prediction itself says about its
    trouble reaches the caller, and the first call after a restart succeeds.
    """
    return {
        **_balanced(name, settings.prediction_addresses, settings),
        "typed_extension_protocol_options": http2(**IDLE),
        "health_checks": [health_check(settings, grpc_health_check={"service_name": settings.health_service})],
    }


def prediction_websocket_cluster(settings: Settings) -> Json:
    """Where prediction opens WebSockets, each a connection of HTTP/1.1."""
    asked = {"path": front_health_path(settings), "codec_client_type": "HTTP1"}
    return {
        **_balanced(WEBSOCKET_CLUSTER, settings.prediction_websocket_addresses, settings),
        "typed_extension_protocol_options": http1(),
        "health_checks": [health_check(settings, http_health_check=asked)],
    }


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
    """What the front of WebSockets is asked for what Health/Check is asked for."""
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


def http2(**common: Json) -> Json:
    """HTTP/2 with prior knowledge, kept alive."""
    alive = {"connection_keepalive": {"interval": "30s", "timeout": "5s"}}
    return _protocol(explicit_http_config={"http2_protocol_options": alive}, **common)


def http1() -> Json:
    """HTTP/1.1, a connection for each request in flight, kept for the next."""
    return _protocol(explicit_http_config={"http_protocol_options": {}}, **IDLE)


def endpoints(cluster: str, addresses: tuple[str, ...]) -> Json:
    """A ClusterLoadAssignment of equal endpoints."""
    each = [{"endpoint": {"address": _upstream(text)}} for text in addresses]
    return {"cluster_name": cluster, "endpoints": [{"lb_endpoints": each}]}


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
