"""What an operator may change about the gateway."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import predmesh


def contract_descriptors() -> Path:
    """Where the generated descriptor set of the contracts lies, beside the package `predmesh`."""
    return Path(next(iter(predmesh.__path__))).parent / "descriptors.binpb"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One gateway; addresses are `host:port` or `unix:/path`."""

    address: str = "127.0.0.1:8080"
    """Where clients call: gRPC, gRPC-Web and REST on one port. Port 0 lets the kernel choose."""

    admin_address: str = "127.0.0.1:0"
    """Where Envoy's admin page and statistics are; a unix socket keeps them from other users of the machine."""

    prediction_addresses: tuple[str, ...] = ("unix:.predmesh/run/prediction.sock",)
    """Where prediction listens; several are several processes, and requests go to the one with the fewest in flight."""

    descriptors: Path | None = None
    """Descriptor set for transcoding. Default: the one of the installed contracts."""

    max_body_bytes: int = 4 * 1024 * 1024
    """Largest REST body; a larger one is answered 413. gRPC messages are bounded by prediction itself."""

    max_response_bytes: int = 64 * 1024 * 1024
    """Largest REST answer."""

    max_header_kib: int = 32
    """Largest sum of a request's headers; more is answered 431."""

    max_connections: int = 10_000
    """Most clients connected at once; further ones are refused."""

    max_heap_bytes: int = 512 * 1024 * 1024
    """Memory from which Envoy sheds load: at 92 % it stops keeping connections alive, at 95 % it answers 503."""

    request_timeout_seconds: float = 30.0
    """Longest unary call; a client's shorter grpc-timeout wins."""

    stream_timeout_seconds: float = 3600.0
    """Longest stream."""

    idle_timeout_seconds: float = 300.0
    """A stream or connection on which nothing moves is ended after this long."""

    connect_timeout_seconds: float = 0.5
    """Time allowed for a connection to prediction."""

    retries: int = 2
    """Times a unary call is tried again where prediction was unavailable; 0 turns retries off."""

    retry_budget_percent: float = 20.0
    """Retries in flight, as a share of the requests in flight (20 are always allowed), so trouble is not multiplied."""

    max_requests: int = 4096
    """Requests in flight to prediction; further ones are answered 503."""

    health_interval_seconds: float = 0.5
    """Time between health checks of each prediction process."""

    health_service: str = ""
    """Name asked for in grpc.health.v1.Health; empty asks for the whole process."""

    keep_client_request_ids: bool = False
    """Keeps an x-request-id that the client sent. Prediction ids derive from it: trust the client."""

    cors_origins: tuple[str, ...] = ()
    """Origins whose pages may call, e.g. `https://app.example`; none by default."""

    access_log: str = "/dev/stdout"
    """File of the JSON access log; empty turns it off."""

    otlp_endpoint: str = ""
    """`host:port` that takes OTLP over gRPC; empty turns tracing off."""

    concurrency: int = 1
    """Worker threads of Envoy."""

    log_level: str = "warning"
    """Envoy's own log: trace, debug, info, warning, error, critical or off."""
