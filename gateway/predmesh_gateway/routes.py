"""Which request goes where: gRPC and the contracts' REST paths to prediction; everything else is answered here."""

from __future__ import annotations

from typing import Any

from predmesh_gateway.envoy_types import Json, seconds, typed
from predmesh_gateway.settings import Settings

CLUSTER = "prediction"
UNARY_CLUSTER = "prediction_unary"
"""Where calls with one answer go, so that streams are counted apart."""
WEBSOCKET_CLUSTER = "prediction_websocket"
TRANSCODER = "envoy.filters.http.grpc_json_transcoder"
BUFFER = "envoy.filters.http.buffer"
STREAMS = (
    "/predmesh.prediction.v1.PredictionService/StreamPredict",
    "/predmesh.prediction.v1.PredictionHttpService/StreamPredictHttp",
    "/predmesh.prediction.v1.PredictionHttpService/StreamPredictTypedHttp",
    "/predmesh.prediction.v1.PredictionHttpService/StreamPredictMessages",
    "/predmesh.prediction.v1.PredictionHttpService/StreamPredictTypedMessages",
    "/inference.GRPCInferenceService/ModelStreamInfer",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    "/grpc.health.v1.Health/Watch",
)
TYPED_STREAMS = "/predmesh[.]models[.].+/StreamPredict"
"""The streams of the models' own services."""
STREAMED = "/v1/models/.+:streamPredict"
"""REST paths that are answered by a stream, which are transcoded."""
HOME_PAGE = "/predmesh.prediction.v1.PredictionHttpService/GetHomePage"
GRPC_PREFIXES = ("/predmesh.", "/inference.", "/grpc.")
POSTED = "/v1/models/.+:(predict|predictBatch|explain)|/v2/models/.+/infer"
READ = "/|/v1/models(/[^:]*)?"
AS_IT_CAME = {
    POSTED: ("POST",),
    "/v2/repository/index|/v2/repository/models/.+/(un)?load": ("POST",),
    "/v2/models/.+/generate(_stream)?": ("POST",),
    # What Triton has besides the Open Inference Protocol is refused by prediction, in words of its own.
    "/v2/logging|/v2(/models/.+)?/trace/setting": ("GET", "POST"),
    "/v2/(system|cuda)sharedmemory/.+": ("GET", "POST"),
    "/v2/?|/v2/health/(live|ready)": ("GET",),
    "/v2/models/[^/]+(/versions/[^/]+)?(/(ready|config|stats))?": ("GET",),
}
"""REST paths that prediction answers without a transcoder between, and their methods; Envoy refuses long patterns."""


def route_config(settings: Settings) -> Json:
    """The one virtual host."""
    host: Json = {"name": "public", "domains": ["*"], "routes": routes(settings), "include_request_attempt_count": True}
    if settings.cors_origins:
        host["typed_per_filter_config"] = {"envoy.filters.http.cors": cors_policy(settings.cors_origins)}
    return {"name": "public", "validate_clusters": True, "virtual_hosts": [host]}


def routes(settings: Settings) -> list[Json]:
    """The routes in order of precedence.

    A transcoded call is matched twice: by its REST path, then by the gRPC path it became.
    """
    called = {"headers": [_content_type("application/grpc")]}  # gRPC-Web as well
    paths: list[Json] = [*({"path": path} for path in STREAMS), {"safe_regex": {"regex": TYPED_STREAMS}}]
    streams = [{"match": {**path, **called}, "route": stream_action(settings)} for path in paths]
    home = {"match": {"path": HOME_PAGE}, "route": unary_action(settings), "request_headers_to_add": [_ORIGIN]}
    unary = {"match": {"prefix": "/", **called}, "route": unary_action(settings)}
    preflights = [_preflight(origin, settings) for origin in settings.cors_origins]
    not_grpc = [_refuse({"prefix": prefix}, status=415) for prefix in GRPC_PREFIXES]
    rest = [
        *(route for path, verbs in AS_IT_CAME.items() for route in _rest(path, verbs, as_it_came(settings))),
        *_rest(STREAMED, ("POST",), {"route": stream_action(settings)}),
        *_rest(READ, ("GET",), {"route": unary_action(settings)}),
    ]
    return [*streams, home, unary, *preflights, *not_grpc, *websockets(settings), *rest]


def websockets(settings: Settings) -> list[Json]:
    """Lets WebSockets through; prediction refuses those that pages of other origins than it is told of open."""
    if not settings.prediction_websocket_addresses:
        return []
    upgrade = {"name": "upgrade", "string_match": {"exact": "websocket", "ignore_case": True}}
    way = {**stream_action(settings, WEBSOCKET_CLUSTER), "upgrade_configs": [{"upgrade_type": "websocket"}]}

    def opened(*headers: Json, told: tuple[Json, ...] = ()) -> Json:
        return {
            "match": {"safe_regex": {"regex": STREAMED}, "headers": [_method("GET"), upgrade, *headers]},
            "route": way,
            "typed_per_filter_config": _UNTRANSCODED,
            "request_headers_to_add": [_ORIGIN, *told],
        }

    allowed = "x-predmesh-allowed-origin"
    others = [opened(_origin(origin), told=(_overwritten(allowed, origin),)) for origin in settings.cors_origins]
    return [*others, opened()]


def as_it_came(settings: Settings) -> Json:
    """Sends a REST call to prediction as it came, so that prediction reads the body and words the errors."""
    return {
        "route": http_action(settings),
        "typed_per_filter_config": {**_UNTRANSCODED, **_buffered(settings)},
        "request_body_buffer_limit": settings.max_body_bytes,  # what a retry can send again
    }


def unary_action(settings: Settings) -> Json:
    """A call with one answer: retried, and ended at its deadline."""
    return {"cluster": UNARY_CLUSTER, **_once_answered(settings, retry_on=_GRPC_RETRIES)}


def http_action(settings: Settings) -> Json:
    """A REST call with one answer that is not transcoded: retried and ended like one that is."""
    return {
        "cluster": UNARY_CLUSTER,
        **_once_answered(settings, retry_on=_HTTP_RETRIES, retriable_status_codes=[503]),
    }


def stream_action(settings: Settings, cluster: str = CLUSTER) -> Json:
    """A stream: never retried, ended when nothing moves."""
    return {
        "cluster": cluster,
        "idle_timeout": seconds(settings.idle_timeout_seconds),
        "max_stream_duration": _at_most(settings.stream_timeout_seconds),
    }


def retry_policy(retries: int, **reasons: Any) -> Json:
    """Tries again where nothing can have been answered; every method behind the gateway is safe to retry."""
    return {
        **reasons,
        "num_retries": retries,
        "retry_back_off": {"base_interval": "0.025s", "max_interval": "0.25s"},
        "retry_host_predicate": [
            {
                "name": "envoy.retry_host_predicates.previous_hosts",
                "typed_config": typed("envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"),
            }
        ],
        # A process that has just died has the fewest requests, so the draw falls on it three times in four.
        "host_selection_retry_max_attempts": 32,
    }


def cors_policy(origins: tuple[str, ...]) -> Json:
    """Lets pages of *origins* call REST and gRPC-Web and read what they need of the answer."""
    return typed(
        "envoy.extensions.filters.http.cors.v3.CorsPolicy",
        allow_origin_string_match=[{"exact": origin} for origin in origins],
        allow_methods="GET,POST,OPTIONS",
        allow_headers="authorization,content-type,grpc-timeout,inference-header-content-length,x-grpc-web,x-request-id,"
        "x-user-agent",
        expose_headers="grpc-status,grpc-message,grpc-status-details-bin,x-request-id,inference-header-content-length",
        max_age="600",
    )


def _preflight(origin: str, settings: Settings) -> Json:
    """Lets the CORS filter answer: it looks at routes to a cluster alone, but the call goes no further than it."""
    asked = {"name": "access-control-request-method", "present_match": True}
    match = {
        "prefix": "/",
        "headers": [_method("OPTIONS"), _origin(origin), asked],
    }
    return {"match": match, "route": unary_action(settings), "typed_per_filter_config": _UNTRANSCODED}


def _origin(origin: str) -> Json:
    return {"name": "origin", "string_match": {"exact": origin}}


def _overwritten(key: str, value: str) -> Json:
    return {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}


# So that the page's calls go where its reader came from, and its own origin is known.
_ORIGIN = _overwritten("x-predmesh-origin", "%REQ(:AUTHORITY)%")
# The transcoder stands before the router and would answer 404 first.
_UNTRANSCODED = {TRANSCODER: typed("envoy.config.route.v3.FilterConfig", disabled=True, config={})}


# A grpcio server that drains answers what comes too late as cancelled.
_GRPC_RETRIES = "unavailable,cancelled,connect-failure,refused-stream,reset"
_HTTP_RETRIES = "connect-failure,refused-stream,reset,retriable-status-codes"


def _once_answered(settings: Settings, **retried: Any) -> Json:
    return {
        # `timeout` is ignored beside this; this one answers DEADLINE_EXCEEDED rather than UNAVAILABLE.
        "max_stream_duration": _at_most(settings.request_timeout_seconds),
        **({"retry_policy": retry_policy(settings.retries, **retried)} if settings.retries else {}),
    }


def _buffered(settings: Settings) -> Json:
    """Takes in the whole body before it goes on, and refuses one that is too large: the transcoder's part elsewhere."""
    limit = {"max_request_bytes": settings.max_body_bytes}
    return {BUFFER: typed("envoy.extensions.filters.http.buffer.v3.BufferPerRoute", buffer=limit)}


def _at_most(limit_seconds: float) -> Json:
    limit = seconds(limit_seconds)
    return {"max_stream_duration": limit, "grpc_timeout_header_max": limit}


def _content_type(prefix: str) -> Json:
    return {"name": "content-type", "string_match": {"prefix": prefix}}


def _method(name: str) -> Json:
    return {"name": ":method", "string_match": {"exact": name}}


def _rest(path: str, verbs: tuple[str, ...], action: Json) -> list[Json]:
    match = {"safe_regex": {"regex": path}}
    taken = [{"match": {**match, "headers": [_method(verb)]}, **action} for verb in verbs]
    return [*taken, _refuse(match, status=405, allow=", ".join(verbs))]


def _refuse(match: Json, *, status: int, allow: str = "") -> Json:
    refusal: Json = {
        "match": match,
        "direct_response": {"status": status},
        "typed_per_filter_config": _UNTRANSCODED,
    }
    if allow:
        refusal["response_headers_to_add"] = [{"header": {"key": "allow", "value": allow}}]
    return refusal
