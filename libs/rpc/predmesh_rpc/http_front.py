"""What a server of the mesh says to requests of gRPC and REST.

A REST path of google.api.http whose method speaks google.api.HttpBody takes the body as it comes; its errors are the
Status as JSON. Everything else is gRPC, with the same edge around the servicers.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol
from urllib.parse import quote

import grpc
from google.protobuf import json_format
from google.rpc import status_pb2

from predmesh_rpc import context
from predmesh_rpc.edge import Failed
from predmesh_rpc.errors import NotFound, PredmeshError
from predmesh_rpc.grpc_frames import FRAME_BYTES, framed, unframed
from predmesh_rpc.http_messages import Headers, HttpLimits, HttpRequest, HttpResponse
from predmesh_rpc.http_serving import Dialogue, InParts, Whole
from predmesh_rpc.inprocess_calls import InProcessContext
from predmesh_rpc.rest_paths import RestPath, RestPaths
from predmesh_rpc.status import DETAILS_KEY, to_status
from predmesh_rpc.table import CallDetails, Entry, Table, malformed, not_offered, too_large
from predmesh_rpc.tracing import server_span

GRPC_TYPE = b"application/grpc"
"""Content type of a message in gRPC's frame; requests may add to it, ``application/grpc+proto``."""

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
_CONTENT = ("content-length", "content-type", "grpc-accept-encoding", "grpc-encoding", "grpc-timeout")
_NOT_METADATA = frozenset((*_CONNECTION, *_CONTENT))
_PRINTABLE = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")


class HttpFront:
    """Answers the methods of a table."""

    def __init__(self, table: Table, *, traced: bool = False) -> None:
        self._table = table
        self._traced = traced
        self._rest = RestPaths(sorted(table.services))

    @property
    def limits(self) -> HttpLimits:
        """What a connection may cost."""
        longest = self._table.limits.message_bytes
        return HttpLimits(kept_bytes=longest + FRAME_BYTES, most_bytes=max(4 * longest, GUARD_BYTES))

    def found(self, request: HttpRequest) -> Whole | InParts:
        """What answers a request whose head has come.

        Who calls a method that there is not may believe that it is a stream, and wait with its messages for an answer:
        it is refused at once.
        """
        path, _, query = request.target.partition("?")
        if request.verb == "POST" and _kind(request).startswith(_GRPC):
            try:
                entry = self._table.known(path) or self._table.looked_up(CallDetails(path))
            except PredmeshError as error:
                return InParts(partial(_refuse, error.with_traceback(None)))  # its frames hold it
            if entry is None:
                return InParts(partial(_refuse, not_offered(path)))
            return (
                InParts(partial(self._converse, entry)) if entry.streams else Whole(partial(self._call, entry, _FRAMED))
            )
        if (found := self._rest.find(request.verb, path)) is not None:
            rest, variables = found
            entry = self._table.known(rest.path)
            assert entry is not None, "the paths are of the table's own services"
            if not entry.streams:
                return Whole(partial(self._call, entry, _Rest(rest, variables, query)))
        return Whole(_tell_unknown)

    async def _call(self, entry: Entry, dialect: _Dialect, request: HttpRequest) -> HttpResponse:
        headers = dict(request.headers)
        wire = InProcessContext(metadata_of(request.headers), _seconds(headers))
        try:
            with server_span(self._traced, entry.method.path, headers):
                async with entry.method.call(wire.invocation_metadata(), wire.time_remaining()) as at_hand:
                    message = dialect.asked(entry, request, headers, self._table.limits.message_bytes)
                    answer = dialect.answer(entry, await entry.behaviour(message, wire), at_hand)
        except Failed as failed:
            return dialect.failed(*_told(failed))
        except grpc.aio.AbortError:
            return dialect.failed(*_aborted(wire))
        return answer

    async def _converse(self, entry: Entry, dialogue: Dialogue) -> None:
        headers = dict(dialogue.request.headers)
        wire = InProcessContext(metadata_of(dialogue.request.headers), _seconds(headers))
        answer = _StreamedAnswer(dialogue, entry.write)
        try:
            with server_span(self._traced, entry.method.path, headers):
                async with entry.method.call(wire.invocation_metadata(), wire.time_remaining()) as at_hand:
                    asked = self._messages(entry, dialogue, headers.get("grpc-encoding", ""))
                    async with aclosing(_answers(entry, asked, wire)) as messages:
                        async for message in messages:
                            await answer.send(message, at_hand)
            answer.end(at_hand)
        except Failed as failed:
            answer.fail(*_told(failed))
        except grpc.aio.AbortError:
            answer.fail(*_aborted(wire))

    async def _messages(self, entry: Entry, dialogue: Dialogue, encoding: str) -> AsyncGenerator[Any, None]:
        limit_bytes = self._table.limits.message_bytes
        came = bytearray()
        async for part in dialogue.parts():
            came += part
            while len(came) >= FRAME_BYTES:
                size = FRAME_BYTES + int.from_bytes(came[1:FRAME_BYTES])
                if size > limit_bytes + FRAME_BYTES:
                    raise too_large(size - FRAME_BYTES, limit_bytes)
                if len(came) < size:
                    break
                body = bytes(came[:size])
                del came[:size]
                yield entry.read(unframed(body, size, encoding, limit_bytes=limit_bytes))
        if came:
            raise malformed()


class _StreamedAnswer:
    """Messages in gRPC's frame, as they are made; the status is in the trailers."""

    def __init__(self, dialogue: Dialogue, write: Callable[[Any], bytes]) -> None:
        self._dialogue = dialogue
        self._write = write
        self._begun = False

    async def send(self, message: Any, at_hand: context.Request) -> None:
        """Send one message, behind what the servicer wants to go before the first."""
        self._begin(at_hand.initial_metadata)
        await self._dialogue.send(framed(self._write(message)))

    def end(self, at_hand: context.Request) -> None:
        """Say that all went well."""
        self._begin(at_hand.initial_metadata)
        self._dialogue.end(_well(at_hand))

    def fail(self, status: status_pb2.Status, trailing: Headers) -> None:
        """Say that it did not."""
        if self._begun:
            self._dialogue.end(_lines(status, trailing))
        else:
            self._dialogue.respond(_FRAMED.failed(status, trailing))

    def _begin(self, headers: Headers) -> None:
        if not self._begun:
            self._begun = True
            self._dialogue.head(200, GRPC_TYPE, headers)


async def _answers(entry: Entry, asked: AsyncGenerator[Any, None], wire: InProcessContext) -> AsyncGenerator[Any, None]:
    """What a streaming method answers, one message or many."""
    async with aclosing(asked):
        given = asked if entry.handler.request_streaming else await _only(asked)
        if not entry.handler.response_streaming:
            yield await entry.behaviour(given, wire)
            return
        async with aclosing(entry.behaviour(given, wire)) as messages:
            async for message in messages:
                yield message


async def _only(messages: AsyncGenerator[Any, None]) -> Any:
    found = [message async for message in messages]
    if len(found) != 1:
        raise malformed()
    return found[0]


async def _refuse(error: PredmeshError, dialogue: Dialogue) -> None:
    at_hand = context.Request(metadata_of(dialogue.request.headers))
    status, trailing = _told(Failed(to_status(error, at_hand.id), at_hand.id))
    dialogue.respond(_FRAMED.failed(status, trailing))


class _Dialect(Protocol):
    """How a request is written, and how its answer wants to be."""

    def asked(self, entry: Entry, request: HttpRequest, headers: dict[str, str], limit_bytes: int) -> Any:
        """The message that asks."""
        ...

    def answer(self, entry: Entry, message: Any, at_hand: context.Request) -> HttpResponse:
        """The response that carries *message*."""
        ...

    def failed(self, status: status_pb2.Status, trailing: Headers) -> HttpResponse:
        """The response that says what went wrong."""
        ...


class _Framed:
    """A message in gRPC's frame; the answer's status is in its trailers, or in its headers where it has no message."""

    def asked(self, entry: Entry, request: HttpRequest, headers: dict[str, str], limit_bytes: int) -> Any:
        encoding = headers.get("grpc-encoding", "")
        return entry.read(unframed(request.body, request.size, encoding, limit_bytes=limit_bytes))

    def answer(self, entry: Entry, message: Any, at_hand: context.Request) -> HttpResponse:
        body = framed(entry.write(message))
        return HttpResponse(200, GRPC_TYPE, body, at_hand.initial_metadata, _well(at_hand))

    def failed(self, status: status_pb2.Status, trailing: Headers) -> HttpResponse:
        return HttpResponse(200, GRPC_TYPE, b"", _lines(status, trailing))


@dataclass(frozen=True, slots=True)
class _Rest:
    """A REST path whose body goes to the method as it came; errors are JSON documents."""

    path: RestPath
    found: dict[str, str]
    query: str

    def asked(self, entry: Entry, request: HttpRequest, headers: dict[str, str], limit_bytes: int) -> Any:
        body = _fitting(request, limit_bytes)
        return self.path.request(self.found, self.query, headers.get("content-type", ""), body)

    def answer(self, entry: Entry, message: Any, at_hand: context.Request) -> HttpResponse:
        return HttpResponse(200, message.content_type.encode(), message.data, at_hand.initial_metadata)

    def failed(self, status: status_pb2.Status, trailing: Headers) -> HttpResponse:
        return _document(status, self.path.error_key)


_FRAMED = _Framed()
_GRPC = GRPC_TYPE.decode()


def _document(status: status_pb2.Status, error_key: str = "") -> HttpResponse:
    number, body = error_document(status, error_key)
    return HttpResponse(number, b"application/json", body)


def error_document(status: status_pb2.Status, error_key: str = "") -> tuple[int, bytes]:
    """The HTTP status and the JSON document that tell a caller of *status*; under *error_key* its message once more."""
    document = json_format.MessageToDict(status)
    if error_key:
        document = {error_key: status.message, **document}
    return _HTTP_OF_CODE.get(status.code, 500), json.dumps(document, ensure_ascii=False).encode()


async def _tell_unknown(request: HttpRequest) -> HttpResponse:
    at_hand, path = context.Request(metadata_of(request.headers)), request.target.partition("?")[0]
    error = NotFound("ERROR_REASON_PATH_UNKNOWN", f"nothing is served at {path}; GET / shows what is", path=path)
    return _document(to_status(error, at_hand.id))


def _fitting(request: HttpRequest, limit_bytes: int) -> bytes:
    if request.size > limit_bytes:
        raise too_large(request.size, limit_bytes)
    return request.body


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


def _kind(request: HttpRequest) -> str:
    for name, value in request.headers:
        if name == "content-type":
            return value
    return ""


def _well(at_hand: context.Request) -> Headers:
    return (("grpc-status", "0"), (context.REQUEST_ID, at_hand.id))


def _aborted(wire: InProcessContext) -> tuple[status_pb2.Status, Headers]:
    error = wire.error()
    return status_pb2.Status(code=error.code().value[0], message=error.details() or ""), tuple(wire.trailing)


def _told(failed: Failed) -> tuple[status_pb2.Status, Headers]:
    return failed.status, ((context.REQUEST_ID, failed.request_id), (DETAILS_KEY, failed.status.SerializeToString()))


def _lines(status: status_pb2.Status, trailing: Headers) -> Headers:
    message = quote(status.message, safe=_PRINTABLE)
    return [("grpc-status", str(status.code)), ("grpc-message", message), *trailing]
