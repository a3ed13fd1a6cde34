"""The chain of HTTP filters, in the one order that works: cors, health, grpc_web, transcoder, statistics, router.

The buffer stands before the router, on the routes that are not transcoded alone.
"""

from __future__ import annotations

from pathlib import Path

from predmesh_gateway.envoy_types import FILTERS, Json, extension
from predmesh_gateway.routes import BUFFER, CLUSTER, TRANSCODER
from predmesh_gateway.settings import Settings, contract_descriptors

SERVICES = (
    "predmesh.prediction.v1.PredictionService",
    "predmesh.prediction.v1.PredictionHttpService",
    "predmesh.prediction.v1.OpenInferenceHttpService",
)
FROM_PATH = ("model", "version")
HEALTH_PATH = "/healthz"


def http_filters(settings: Settings) -> list[Json]:
    """The chain."""
    cors = [extension("envoy.filters.http.cors", f"{FILTERS}.http.cors.v3.Cors")] if settings.cors_origins else []
    return [
        *cors,
        health(),
        extension("envoy.filters.http.grpc_web", f"{FILTERS}.http.grpc_web.v3.GrpcWeb"),
        transcoder(settings),
        grpc_statistics(),
        buffer(settings),
        extension("envoy.filters.http.router", f"{FILTERS}.http.router.v3.Router", suppress_envoy_headers=True),
    ]


def health() -> Json:
    """Answers HEALTH_PATH: 200 while a prediction process is healthy, else 503."""
    return extension(
        "envoy.filters.http.health_check",
        f"{FILTERS}.http.health_check.v3.HealthCheck",
        pass_through_mode=False,
        headers=[{"name": ":path", "string_match": {"exact": HEALTH_PATH}}],
        cluster_min_healthy_percentages={CLUSTER: {"value": 1}},
    )


def transcoder(settings: Settings) -> Json:
    """REST to gRPC, for the services whose methods carry a google.api.http option.

    JSON is proto3's canonical form, as client libraries print it: a scalar that holds its default is left out.
    """
    return extension(
        TRANSCODER,
        f"{FILTERS}.http.grpc_json_transcoder.v3.GrpcJsonTranscoder",
        proto_descriptor=str(descriptors(settings)),
        services=list(SERVICES),
        convert_grpc_status=True,
        # A query parameter would override the path, and with it any rule that looks at the path.
        ignored_query_parameters=list(FROM_PATH),
        url_unescape_spec="ALL_CHARACTERS_EXCEPT_SLASH",
        max_request_body_size=settings.max_body_bytes,
        max_response_body_size=settings.max_response_bytes,
        print_options={"always_print_primitive_fields": False, "preserve_proto_field_names": False},
        request_validation_options={
            "reject_unknown_method": True,
            "reject_unknown_query_parameters": True,
            "reject_binding_body_field_collisions": True,
        },
    )


def buffer(settings: Settings) -> Json:
    """Bounds a body that is not transcoded; off but for the routes that turn it on."""
    filter_config = extension(BUFFER, f"{FILTERS}.http.buffer.v3.Buffer", max_request_bytes=settings.max_body_bytes)
    return {**filter_config, "disabled": True}


def grpc_statistics() -> Json:
    """Counts calls, outcomes and times per method."""
    return extension(
        "envoy.filters.http.grpc_stats",
        f"{FILTERS}.http.grpc_stats.v3.FilterConfig",
        stats_for_all_methods=False,
        enable_upstream_stats=True,
        emit_filter_state=False,
    )


def descriptors(settings: Settings) -> Path:
    """The descriptor set in use."""
    return settings.descriptors or contract_descriptors()
