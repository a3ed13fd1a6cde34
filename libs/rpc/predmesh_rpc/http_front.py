"""The second front of a server: unary calls over HTTP/1.1, at a quarter of what grpcio's server costs.

``POST /package.Service/Method`` takes a message as gRPC frames it and gives the answer so, status in trailers: what
Envoy makes of a gRPC call and takes for one, byte for byte. With the type ``application/x-protobuf`` it takes and gives
bare messages, with the status in headers. A REST path of google.api.http whose method speaks google.api.HttpBody takes
the body as it comes; its errors are the Status as JSON. The same edge stands around the servicers as on gRPC.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import parse_qsl, quote

import grpc
from google.protobuf import json_format
from google.protobuf.message import DecodeError
from google.rpc import status_pb2

from predmesh_rpc import context
from predmesh_rpc.edge import Failed
from predmesh_rpc.errors import NotFound, PredmeshError
from predmesh_rpc.grpc_frames import FRAME_BYTES, framed, unframed
from predmesh_rpc.http_server import HttpLimits, HttpRequest, HttpServer, response
from predmesh_rpc.inprocess_calls import InProcessContext
from predmesh_rpc.rest_paths import RestPath, RestPaths
from predmesh_rpc.status import DETAILS_KEY, to_status
from predmesh_rpc.table import CallDetails, Entry, Table, malformed, not_offered, too_large
from predmesh_rpc.tracing import server_span

MESSAGE_TYPE = b"application/x-protobuf"
"""Content type of a bare protobuf message."""

GRPC_TYPE = b"application/grpc"
"""Content type of a message in gRPC's frame; requests may add to it, ``application/grpc+proto``."""

HEALTH_PATH = "/healthz"
"""What a load balancer asks, with ``?service=NAME`` for a part: 200 while it is well, else 503."""

GUARD_BYTES = 64 * 1024 * 1024
"""Longest body waited for, so that the caller hears why it is refused; or four times the longest taken."""

_HTTP = {
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
}
_HTTP_OF_CODE = {code.value[0]: number for code, number in _HTTP.items()}
"""The table of google/rpc/code.proto, which Envoy's transcoder follows too."""

_UNITS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_CONNECTION = ("connection", "expect", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade")
_CONTENT = ("accept", "content-length", "content-type", "grpc-accept-encoding", "grpc-encoding", "grpc-timeout")
_NOT_METADATA = frozenset((*_CONNECTION, *_CONTENT))
_PRINTABLE = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")

Trailing = Sequence[tuple[str, str | bytes]]
"""Trailing metadata."""


class HttpFront:
    """Answers the unary methods of a table; entering `listening` opens the socket."""

    def __init__(
        self, table: Table, *, serving: Callable[[str], bool], grace_seconds: float = 5.0, traced: bool = False
    ) -> None:
        self._table = table
        self._serving = serving
        self._traced = traced
        self._grace_seconds = grace_seconds
        self._rest = RestPaths(sorted(table.services))

    def listening(self, address: str) -> AbstractAsyncContextManager[int]:
        """Listen on *address* (``unix:/path`` or ``host:port``) for the block, then drain; gives the TCP port or 0.

        Raises:
            AddressError: the address cannot be listened on.
        """
        longest = self._table.limits.message_bytes
        limits = HttpLimits(kept_bytes=longest + FRAME_BYTES, most_bytes=max(4 * longest, GUARD_BYTES))
        return HttpServer(self.answer, limits).listening(address, grace_seconds=self._grace_seconds)

    async def answer(self, request: HttpRequest) -> bytes:
        """The whole response to one request."""
        headers = dict(request.headers)
        path, _, query = request.target.partition("?")
        kind = headers.get("content-type", "")
        found, refusal = None, None
        try:
            found = self._found(request.verb, path, query, kind)
        except PredmeshError as error:
            refusal = error.with_traceback(None)  # its frames hold it
        if found is not None:
            return await self._called(*found, request, headers)
        if path == HEALTH_PATH and request.verb == "GET":
            name = dict(parse_qsl(query)).get("service", "")
            return response(200 if self._serving(name) else 503, b"text/plain", b"")
        at_hand = context.Request(metadata_of(request.headers))
        is_rest = kind != _MESSAGE and not kind.startswith(_GRPC)
        unknown = _path_unknown(path) if is_rest else not_offered(path)
        told = _told(Failed(to_status(refusal or unknown, at_hand.id), at_hand.id))
        if kind.startswith(_GRPC):
            return _FRAMED.failed(*told)
        return _BARE.failed(*told) if kind == _MESSAGE else _document(told[0])

    def _found(self, verb: str, path: str, query: str, kind: str) -> tuple[Entry, _Dialect] | None:
        is_framed = kind.startswith(_GRPC)
        entry = self._table.known(path) if verb == "POST" else None
        if entry is None and not is_framed and (found := self._rest.find(verb, path)) is not None:
            rest, variables = found
            entry = self._table.known(rest.path)
            assert entry is not None, "the paths are of the table's own services"
            return entry, _Rest(rest, variables, query)
        if entry is None and verb == "POST":
            entry = self._table.looked_up(CallDetails(path))
        if entry is None or entry.handler.request_streaming or entry.handler.response_streaming:
            return None
        return entry, _FRAMED if is_framed else _BARE

    async def _called(self, entry: Entry, dialect: _Dialect, request: HttpRequest, headers: dict[str, str]) -> bytes:
        wire = InProcessContext(metadata_of(request.headers), _seconds(headers))
        try:
            with server_span(self._traced, entry.method.path, headers):
                async with entry.method.call(wire.invocation_metadata(), wire.time_remaining()) as at_hand:
                    message = dialect.asked(entry, request, headers, self._table.limits.message_bytes)
                    answer = dialect.answer(entry, await entry.behaviour(message, wire), at_hand)
        except Failed as failed:
            return dialect.failed(*_told(failed))
        except grpc.aio.AbortError:
            error = wire.error()
            status = status_pb2.Status(code=error.code().value[0], message=error.details() or "")
            return dialect.failed(status, tuple(wire.trailing))
        return answer


class _Dialect(Protocol):
    """How a request is written, and how its answer wants to be."""

    def asked(self, entry: Entry, request: HttpRequest, headers: dict[str, str], limit_bytes: int) -> Any:
        """The message that asks."""
        ...

    def answer(self, entry: Entry, message: Any, at_hand: context.Request) -> bytes:
        """The response that carries *message*."""
        ...

    def failed(self, status: status_pb2.Status, trailing: Trailing) -> bytes:
        """The response that says what went wrong."""
        ...


class _Framed:
    """A message in gRPC's frame; the answer's status is in its trailers, or in its headers where it has no message."""

    def asked(self, entry: Entry, request: HttpRequest, headers: dict[str, str], limit_bytes: int) -> Any:
        encoding = headers.get("grpc-encoding", "")
        return _read(entry, unframed(request.body, request.size, encoding, limit_bytes=limit_bytes))

    def answer(self, entry: Entry, message: Any, at_hand: context.Request) -> bytes:
        return framed(entry.handler.response_serializer(message), at_hand.initial_metadata, at_hand.id)

    def failed(self, status: status_pb2.Status, trailing: Trailing) -> bytes:
        return response(200, GRPC_TYPE, b"", _lines(status, trailing))


class _Bare:
    """A message and nothing around it; the answer's status is in its headers."""

    def asked(self, entry: Entry, request: HttpRequest, headers: dict[str, str], limit_bytes: int) -> Any:
        return _read(entry, _fitting(request, limit_bytes))

    def answer(self, entry: Entry, message: Any, at_hand: context.Request) -> bytes:
        told = [("grpc-status", "0"), (context.REQUEST_ID, at_hand.id), *at_hand.initial_metadata]
        return response(200, MESSAGE_TYPE, entry.handler.response_serializer(message), told)

    def failed(self, status: status_pb2.Status, trailing: Trailing) -> bytes:
        return response(200, MESSAGE_TYPE, b"", _lines(status, trailing))


@dataclass(frozen=True, slots=True)
class _Rest:
    """A REST path whose body goes to the method as it came; errors are JSON documents."""

    path: RestPath
    found: dict[str, str]
    query: str

    def asked(self, entry: Entry, request: HttpRequest, headers: dict[str, str], limit_bytes: int) -> Any:
        body = _fitting(request, limit_bytes)
        return self.path.request(self.found, self.query, headers.get("content-type", ""), body)

    def answer(self, entry: Entry, message: Any, at_hand: context.Request) -> bytes:
        return response(200, message.content_type.encode(), message.data, at_hand.initial_metadata)

    def failed(self, status: status_pb2.Status, trailing: Trailing) -> bytes:
        return _document(status, self.path.error_key)


_FRAMED, _BARE = _Framed(), _Bare()
_GRPC, _MESSAGE = GRPC_TYPE.decode(), MESSAGE_TYPE.decode()


def _document(status: status_pb2.Status, error_key: str = "") -> bytes:
    number, body = error_document(status, error_key)
    return response(number, b"application/json", body)


def error_document(status: status_pb2.Status, error_key: str = "") -> tuple[int, bytes]:
    """The HTTP status and the JSON document that tell a caller of *status*; under *error_key* its message once more."""
    document = json_format.MessageToDict(status)
    if error_key:
        document = {error_key: status.message, **document}
    return _HTTP_OF_CODE.get(status.code, 500), json.dumps(document, ensure_ascii=False).encode()


def _path_unknown(path: str) -> PredmeshError:
    return NotFound("ERROR_REASON_PATH_UNKNOWN", f"nothing is served at {path}; GET / shows what is", path=path)


def _fitting(request: HttpRequest, limit_bytes: int) -> bytes:
    if request.size > limit_bytes:
        raise too_large(request.size, limit_bytes)
    return request.body


def _read(entry: Entry, body: bytes) -> Any:
    try:
        return entry.handler.request_deserializer(body)
    except DecodeError:
        raise malformed() from None


def metadata_of(headers: list[tuple[str, str]]) -> context.Metadata:
    """What came with a call whose HTTP *headers* have names in lower case."""
    pairs = [pair for pair in headers if pair[0] not in _NOT_METADATA]
    if any(name.endswith("-bin") for name, _ in pairs):
        return tuple(one for pair in pairs for one in _decoded(*pair))
    return tuple(pairs)


def _decoded(name: str, value: str) -> Iterator[tuple[str, str | bytes]]:
    if not name.endswith("-bin"):
        yield name, value
        return
    for part in value.split(","):
        with suppress(binascii.Error):
            yield name, base64.b64decode(part + "==")


def _seconds(headers: dict[str, str]) -> float | None:
    timeout = headers.get("grpc-timeout", "")
    if timeout[:-1].isdecimal() and timeout.isascii() and timeout[-1] in _UNITS:
        return int(timeout[:-1]) * _UNITS[timeout[-1]]
    return None


def _told(failed: Failed) -> tuple[status_pb2.Status, Trailing]:
    return failed.status, ((context.REQUEST_ID, failed.request_id), (DETAILS_KEY, failed.status.SerializeToString()))


def _lines(status: status_pb2.Status, trailing: Trailing) -> Trailing:
    message = quote(status.message, safe=_PRINTABLE)
    return [("grpc-status", str(status.code)), ("grpc-message", message), *trailing]
