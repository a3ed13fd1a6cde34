"""The one port that clients reach, with what an edge needs against rude ones."""

from __future__ import annotations

from predmesh_gateway.envoy_types import FILTERS, Json, address, extension, seconds, typed
from predmesh_gateway.errors import faults, local_reply_config
from predmesh_gateway.filters import HEALTH_PATH, http_filters
from predmesh_gateway.routes import route_config
from predmesh_gateway.settings import Settings

TRACES = "otlp"
# When a client sends them, Envoy acts on the first two (retries, time limits, the caller's address and the path it came
# with), and prediction on the last (what the caller may do).
TRUSTED_HEADERS = ("x-envoy-", "x-forwarded-", "x-predmesh-")


def listener(settings: Settings) -> Json:
    """HTTP/1.1 and HTTP/2 without TLS, told apart by their first bytes."""
    manager = typed(
        f"{FILTERS}.network.http_connection_manager.v3.HttpConnectionManager", **connection_manager(settings)
    )
    return {
        "name": "public",
        "address": address(settings.address),
        # With SO_REUSEPORT a second gateway would silently share the port and take half of the calls.
        "enable_reuse_port": False,
        "per_connection_buffer_limit_bytes": 1024 * 1024,
        "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
        ],
    }


def connection_manager(settings: Settings) -> Json:
    """The fields of the HttpConnectionManager."""
    return {
        "stat_prefix": "public",
        "codec_type": "AUTO",
        "route_config": route_config(settings),
        "http_filters": http_filters(settings),
        "local_reply_config": local_reply_config(
            faults(max_body_bytes=settings.max_body_bytes), health_path=HEALTH_PATH
        ),
        **identity(settings),
        **limits(settings),
        **({"access_log": [access_log(settings.access_log)]} if settings.access_log else {}),
        **({"tracing": tracing()} if settings.otlp_endpoint else {}),
    }


def identity(settings: Settings) -> Json:
    """Who calls, under which request id, and what is not said about us."""
    removed: list[Json] = [{"remove_on_match": {"key_matcher": {"prefix": prefix}}} for prefix in TRUSTED_HEADERS]
    if not settings.keep_client_request_ids:
        removed.append({"remove": "x-request-id"})
    mutation = extension(
        "envoy.http.early_header_mutation.header_mutation",
        "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
        mutations=removed,
    )
    return {
        "use_remote_address": True,
        "skip_xff_append": True,
        "early_header_mutation_extensions": [mutation],
        "generate_request_id": True,
        "preserve_external_request_id": settings.keep_client_request_ids,
        "always_set_request_id_in_response": True,
        "server_header_transformation": "PASS_THROUGH",
    }


def limits(settings: Settings) -> Json:
    """Envoy's own advice for an edge: https://www.envoyproxy.io/docs/envoy/latest/configuration/best_practices/edge."""
    return {
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        "max_request_headers_kb": settings.max_header_kib,
        "request_headers_timeout": "10s",
        "stream_idle_timeout": seconds(settings.idle_timeout_seconds),
        "common_http_protocol_options": {
            "idle_timeout": seconds(settings.idle_timeout_seconds),
            "max_headers_count": 100,
            "headers_with_underscores_action": "REJECT_REQUEST",
        },
        "http2_protocol_options": {
            "max_concurrent_streams": 1000,
            "initial_stream_window_size": 1024 * 1024,
            "initial_connection_window_size": 4 * 1024 * 1024,
            "max_inbound_priority_frames_per_stream": 100,
            "max_inbound_window_update_frames_per_data_frame_sent": 10,
        },
    }


def access_log(path: str) -> Json:
    """One JSON document a request."""
    return extension(
        "envoy.access_loggers.file",
        "envoy.extensions.access_loggers.file.v3.FileAccessLog",
        path=path,
        log_format={"json_format": ACCESS_LOG_FIELDS, "omit_empty_values": True},
    )


ACCESS_LOG_FIELDS = {
    "time": "%START_TIME(%Y-%m-%dT%H:%M:%S.%3fZ)%",
    "service": "gateway",
    "protocol": "%PROTOCOL%",
    "method": "%REQ(X-ENVOY-ORIGINAL-METHOD?:METHOD)%",
    "path": "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%",
    "grpc_path": "%REQ(:PATH)%",
    "status": "%RESPONSE_CODE%",
    "grpc_status": "%GRPC_STATUS%",
    "flags": "%RESPONSE_FLAGS%",
    "details": "%RESPONSE_CODE_DETAILS%",
    "duration_ms": "%DURATION%",
    "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
    "upstream": "%UPSTREAM_HOST%",
    "received_bytes": "%BYTES_RECEIVED%",
    "sent_bytes": "%BYTES_SENT%",
    "peer": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
    "user_agent": "%REQ(USER-AGENT)%",
    "request_id": "%REQ(X-REQUEST-ID)%",
    "trace_id": "%TRACE_ID%",
    "traceparent": "%REQ(TRACEPARENT)%",
}


def tracing() -> Json:
    """Spans over OTLP."""
    return {
        "spawn_upstream_span": True,
        "random_sampling": {"value": 100},
        "provider": {
            "name": "envoy.tracers.opentelemetry",
            "typed_config": typed(
                "envoy.config.trace.v3.OpenTelemetryConfig",
                service_name="predmesh-gateway",
                grpc_service={"envoy_grpc": {"cluster_name": TRACES}, "timeout": "0.5s"},
            ),
        },
    }
