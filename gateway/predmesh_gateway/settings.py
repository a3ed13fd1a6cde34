"""What an operator may change about the gateway."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import predmesh
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from predmesh_gateway.envoy_types import address


def contract_descriptors() -> Path:
    """Where the generated descriptor set of the contracts lies, beside the package `predmesh`."""
    return Path(next(iter(predmesh.__path__))).parent / "descriptors.binpb"


def _address(text: str) -> str:
    address(text)
    return text


def _words(value: Any) -> Any:
    return [word.strip() for word in value.split(",") if word.strip()] if isinstance(value, str) else value


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _collector(text: str) -> str:
    """Services take a URL; Envoy takes host and port."""
    if text.startswith("https://"):
        raise ValueError("the gateway sends spans in plain text: give http://host:port, of a collector near by")
    found = text.removeprefix("http://").rstrip("/")
    return _address(found) if found else found


Address = Annotated[str, AfterValidator(_address)]
Addresses = Annotated[tuple[Address, ...], BeforeValidator(_words), Field(min_length=1)]
LogLevel = Annotated[Literal["trace", "debug", "info", "warning", "error", "critical", "off"], BeforeValidator(_lower)]
Words = Annotated[tuple[str, ...], BeforeValidator(_words)]
PerhapsAddresses = Annotated[tuple[Address, ...], BeforeValidator(_words)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(gt=0)]


class Settings(BaseModel):
    """One gateway; addresses are `host:port` or `unix:/path`, lists are separated by commas in the environment."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    address: Address = "127.0.0.1:8080"
    """Where clients call: gRPC, gRPC-Web and REST on one port. Port 0 lets the kernel choose."""

    admin_address: Address = "127.0.0.1:0"
    """Where Envoy's admin page and statistics are; a unix socket keeps them from other users of the machine."""

    prediction_addresses: Addresses = ("unix:.predmesh/run/prediction.sock",)
    """Where prediction listens; several are several processes, and requests go to the one with the fewest in flight."""

    prediction_websocket_addresses: PerhapsAddresses = ()
    """Where prediction opens WebSockets; without, there are none. Pages of the gateway's own origin and of
    `cors_origins` may open them."""

    descriptors: Path | None = None
    """Descriptor set for transcoding. Default: the one of the installed contracts."""

    max_body_bytes: Count = 4 * 1024 * 1024
    """Largest REST body; a larger one is answered 413. gRPC messages are bounded by prediction itself."""

    max_response_bytes: Count = 64 * 1024 * 1024
    """Largest REST answer."""

    max_header_kib: Annotated[int, Field(gt=0, le=8192)] = 32
    """Largest sum of a request's headers; more is answered 431."""

    max_connections: Count = 10_000
    """Most clients connected at once; further ones are refused."""

    max_heap_bytes: Count = 512 * 1024 * 1024
    """Memory from which Envoy sheds load: at 92 % it stops keeping connections alive, at 95 % it answers 503."""

    request_timeout_seconds: Positive = 30.0
    """Longest unary call; a client's shorter grpc-timeout wins."""

    stream_timeout_seconds: Positive = 3600.0
    """Longest stream."""

    idle_timeout_seconds: Positive = 300.0
    """A stream or connection on which nothing moves is ended after this long."""

    connect_timeout_seconds: Positive = 0.5
    """Time allowed for a connection to prediction."""

    retries: Annotated[int, Field(ge=0, le=10)] = 2
    """Times a unary call is tried again where prediction was unavailable; 0 turns retries off."""

    retry_budget_percent: Annotated[float, Field(ge=0, le=100)] = 20.0
    """Retries in flight, as a share of the requests in flight, so trouble is not multiplied; 256 are always allowed."""

    max_requests: Count = 4096
    """Requests in flight to prediction; further ones are answered 503."""

    health_interval_seconds: Positive = 0.5
    """Time between health checks of each prediction process."""

    health_service: str = ""
    """Name asked for in grpc.health.v1.Health; empty asks for the whole process."""

    keep_client_request_ids: bool = False
    """Keeps an x-request-id that the client sent. Prediction ids derive from it: trust the client."""

    cors_origins: Words = ()
    """Origins whose pages may call, e.g. `https://app.example`; none by default."""

    access_log: str = "/dev/stdout"
    """File of the JSON access log; empty turns it off."""

    otlp_endpoint: Annotated[str, AfterValidator(_collector)] = ""
    """Where spans go over gRPC, `http://host:port` or `host:port`; empty turns tracing off."""

    concurrency: Count = 1
    """Worker threads of Envoy."""

    log_level: LogLevel = "warning"
    """Envoy's own log: trace, debug, info, warning, error, critical or off."""
