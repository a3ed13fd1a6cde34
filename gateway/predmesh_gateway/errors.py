"""The documents that callers get where Envoy itself answers: the same google.rpc.Status that the services send.

Envoy's own texts are plain, and for gRPC callers its codes are coarse (404 becomes UNIMPLEMENTED, 413 UNKNOWN).
One table says what each HTTP status means; REST callers get it as JSON, gRPC callers as grpc-status, grpc-message and
grpc-status-details-bin. Callers of the Open Inference Protocol's paths find the message under `error` as well.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2

from predmesh_gateway.envoy_types import Json

DOMAIN = "predmesh.dev"
REASON = "ERROR_REASON_GATEWAY"

INVALID_ARGUMENT, DEADLINE_EXCEEDED, NOT_FOUND, PERMISSION_DENIED, RESOURCE_EXHAUSTED = 3, 4, 5, 7, 8
FAILED_PRECONDITION, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, UNAUTHENTICATED, CANCELLED = 9, 12, 13, 14, 16, 1

CANNOT_READ = "The gateway cannot take this request: %LOCAL_REPLY_BODY% (%RESPONSE_CODE_DETAILS%)"
REFUSED = "The gateway refused the request: %LOCAL_REPLY_BODY% (%RESPONSE_CODE_DETAILS%)"
HEALTHY = {"status": "SERVING"}


@dataclass(frozen=True, slots=True)
class Fault:
    """One way in which the gateway answers by itself."""

    status: int
    """HTTP status; matched exactly, or from it upwards with `open_ended`."""

    code: int
    """A google.rpc.Code."""

    message: str
    """What happened and what to do next; may hold Envoy's format commands."""

    flag: str = ""
    """Response flag of Envoy that must be set too, e.g. `UH`."""

    open_ended: bool = False
    """Also matches every larger status."""


def faults(*, max_body_bytes: int) -> tuple[Fault, ...]:
    """Every fault, the first match wins."""
    retry = "Retry with backoff; `predmesh status` shows what is down."
    return (
        Fault(400, INVALID_ARGUMENT, CANNOT_READ),
        Fault(401, UNAUTHENTICATED, REFUSED),
        Fault(403, PERMISSION_DENIED, REFUSED),
        Fault(404, NOT_FOUND, "Nothing is served under this path. GET / shows what is."),
        Fault(405, UNIMPLEMENTED, "This path does not take this method. GET / shows what is served."),
        Fault(408, DEADLINE_EXCEEDED, "The request did not arrive in time. Send it faster or in smaller parts."),
        Fault(413, INVALID_ARGUMENT, f"The body is larger than {max_body_bytes} bytes. Send fewer rows a request."),
        Fault(415, INVALID_ARGUMENT, "This path takes gRPC alone. Call it with a gRPC client, or see GET / for REST."),
        Fault(426, INVALID_ARGUMENT, "HTTP/1.1 or HTTP/2 is needed."),
        Fault(429, RESOURCE_EXHAUSTED, "Too many requests. Retry later."),
        Fault(431, INVALID_ARGUMENT, "The headers are too large. Send less metadata."),
        Fault(502, UNAVAILABLE, f"The prediction service sent an answer that cannot be read. {retry}"),
        Fault(503, UNAVAILABLE, f"No prediction process is healthy. {retry}", flag="UH"),
        Fault(503, UNAVAILABLE, f"No prediction process is healthy. {retry}", flag="LH"),
        Fault(503, UNAVAILABLE, f"The prediction service cannot be reached. {retry}", flag="UF"),
        Fault(503, UNAVAILABLE, f"The prediction service ended while it answered. {retry}", flag="UC"),
        Fault(503, UNAVAILABLE, "Too many requests are in flight. Retry with backoff.", flag="UO"),
        Fault(503, UNAVAILABLE, "The gateway is overloaded. Retry with backoff.", flag="OM"),
        Fault(503, UNAVAILABLE, f"The prediction service does not answer. {retry}"),
        Fault(504, DEADLINE_EXCEEDED, "No answer in the time allowed. Ask for fewer rows, or allow more time."),
        Fault(500, INTERNAL, "The gateway failed. Its log holds more under the request id.", open_ended=True),
        Fault(400, INVALID_ARGUMENT, REFUSED, open_ended=True),
    )


def document(fault: Fault) -> Json:
    """The google.rpc.Status of *fault* as proto3 JSON, with format commands for what only Envoy knows."""
    info = {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": REASON,
        "domain": DOMAIN,
        "metadata": {"flags": "%RESPONSE_FLAGS%"},
    }
    request = {"@type": "type.googleapis.com/google.rpc.RequestInfo", "requestId": "%REQ(X-REQUEST-ID)%"}
    return {"code": fault.code, "message": fault.message, "details": [info, request]}


def details_header(fault: Fault) -> str:
    """The grpc-status-details-bin of *fault*; fixed text, for Envoy cannot write protobuf."""
    info = error_details_pb2.ErrorInfo(
        reason=REASON, domain=DOMAIN, metadata={"flags": fault.flag} if fault.flag else {}
    )
    packed = any_pb2.Any()
    packed.Pack(info)
    status = status_pb2.Status(code=fault.code, message=_fixed(fault.message), details=[packed])
    return base64.b64encode(status.SerializeToString()).decode().rstrip("=")


def local_reply_config(found: tuple[Fault, ...], *, health_path: str) -> Json:
    """Envoy's local_reply_config for *found*: gRPC callers first, whoever else is left gets JSON."""
    grpc, rest = [_grpc_mapper(fault) for fault in found], [_rest_mapper(fault) for fault in found]
    open_inference = [_open_inference_mapper(fault) for fault in found]
    return {"mappers": [*grpc, *open_inference, *rest, health_mapper(health_path)]}


def _rest_mapper(fault: Fault) -> Json:
    return {"filter": _all_of(_matches(fault)), "body_format_override": _json(document(fault))}


def _open_inference_mapper(fault: Fault) -> Json:
    body = {"error": fault.message, **document(fault)}
    return {"filter": _all_of([*_matches(fault), _OPEN_INFERENCE]), "body_format_override": _json(body)}


def health_mapper(path: str) -> Json:
    """A body for the healthy answer under *path*, which Envoy leaves empty."""
    healthy = [_status("EQ", 200), _header(":path", string_match={"exact": path})]
    return {"filter": _all_of(healthy), "body_format_override": _json(HEALTHY)}


def _json(body: Json) -> Json:
    return {"json_format": body, "content_type": "application/json", "omit_empty_values": True}


def _grpc_mapper(fault: Fault) -> Json:
    headers = {"grpc-status": str(fault.code), "grpc-status-details-bin": details_header(fault)}
    return {
        "filter": _all_of([*_matches(fault), *_CALLED_BY_GRPC]),
        "body_format_override": {"text_format_source": {"inline_string": fault.message}},
        "headers_to_add": [
            {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
            for key, value in headers.items()
        ],
    }


def _matches(fault: Fault) -> list[Json]:
    found = [_status("GE" if fault.open_ended else "EQ", fault.status)]
    return [*found, {"response_flag_filter": {"flags": [fault.flag]}}] if fault.flag else found


def _status(operator: str, status: int) -> Json:
    value = {"default_value": status, "runtime_key": f"predmesh.local_reply.{status}"}
    return {"status_code_filter": {"comparison": {"op": operator, "value": value}}}


def _header(name: str, **match: Any) -> Json:
    return {"header_filter": {"header": {"name": name, **match}}}


# A transcoded REST call looks like gRPC by the time it fails, but for the path that it came with.
_CALLED_BY_GRPC = [
    _header("content-type", string_match={"prefix": "application/grpc"}),
    _header("x-envoy-original-path", present_match=True, invert_match=True),
]
# The path is another once the call has been transcoded.
_OPEN_INFERENCE: Json = {
    "or_filter": {
        "filters": [
            _header(name, string_match={"safe_regex": {"regex": "/v2([/?].*)?"}})
            for name in (":path", "x-envoy-original-path")
        ]
    }
}


def _all_of(filters: list[Json]) -> Json:
    return filters[0] if len(filters) == 1 else {"and_filter": {"filters": filters}}


def _fixed(message: str) -> str:
    return message.partition(":")[0] if "%" in message else message
