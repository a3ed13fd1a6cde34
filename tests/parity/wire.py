"""Requests as bytes, and how they travel: gRPC, gRPC-Web, HTTP and WebSockets, from one event loop."""

from __future__ import annotations

import asyncio
import base64
import urllib.parse
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import grpc
import httpx
from google.rpc import status_pb2
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

DETAILS = "grpc-status-details-bin"
CANCELLED, DEADLINE_EXCEEDED = 1, 4
SWITCHED = 101
"""The HTTP status of a WebSocket that opened."""

_PATIENCE_SECONDS = 60.0
_OPTIONS = [("grpc.max_receive_message_length", 64 << 20), ("grpc.max_send_message_length", 64 << 20)]


@dataclass(frozen=True)
class Shot:
    """A request.

    Attributes:
        how: what it travels by.
        path: of the URL, or of the gRPC method.
        bodies: the messages of a gRPC call or a WebSocket; the only body of an HTTP request.
        headers: HTTP headers, or gRPC metadata.
        streams: whether the gRPC method takes and gives a stream.
        seconds: time that the caller allows; None is no end of its own.
        cancel_after: seconds after which the caller walks away; None is never.
        verb: of an HTTP request.
    """

    how: Literal["grpc", "web", "http", "socket"]
    path: str
    bodies: tuple[bytes, ...]
    headers: tuple[tuple[str, str], ...] = ()
    streams: bool = False
    seconds: float | None = None
    cancel_after: float | None = None
    verb: str = "POST"


@dataclass(frozen=True)
class Reply:
    """What came back.

    Attributes:
        code: gRPC code; None over HTTP, where `status` says it.
        status: HTTP status, SWITCHED of a WebSocket; 0 over gRPC.
        bodies: the messages, or the body.
        headers: of the answer.
        message: text of a gRPC status.
        details: serialized google.rpc.Status that came with a gRPC status; empty where none did.
    """

    code: int | None
    status: int = 0
    bodies: tuple[bytes, ...] = ()
    headers: dict[str, str] = field(default_factory=dict)
    message: str = ""
    details: bytes = b""

    @property
    def told(self) -> status_pb2.Status:
        """The google.rpc.Status of a gRPC call that failed."""
        if self.details:
            return status_pb2.Status.FromString(self.details)
        return status_pb2.Status(code=self.code or 0, message=self.message)


class Wire:
    """Connections to one server."""

    def __init__(self, http: httpx.AsyncClient, channel: grpc.aio.Channel, streams: grpc.Channel) -> None:
        """Send over *http* and *channel*, streams of gRPC over a channel of their own."""
        self._http = http
        self._channel = channel
        self._streams = streams

    async def send(self, shot: Shot) -> Reply:
        """Send *shot* and wait for its end; a caller who walks away hears CANCELLED, as gRPC has it."""
        try:
            async with asyncio.timeout(shot.cancel_after or _PATIENCE_SECONDS):
                ways = {"grpc": self._grpc, "socket": self._socket}
                return await ways.get(shot.how, self._http_or_web)(shot)
        except TimeoutError:
            if shot.cancel_after:
                return Reply(CANCELLED)
            raise TimeoutError(f"no answer to {shot.path} within {_PATIENCE_SECONDS} s") from None

    async def get(self, path: str) -> bytes:
        """The document at *path*.

        Raises:
            LookupError: there is none.
        """
        answer = await self._http.get(path)
        if answer.status_code != 200:
            raise LookupError(f"{path}: {answer.status_code} {answer.text[:200]}")
        return answer.content

    async def _grpc(self, shot: Shot) -> Reply:
        bodies: list[bytes] = []
        options: dict[str, Any] = {"metadata": shot.headers, "timeout": shot.seconds or _PATIENCE_SECONDS}
        make: Any
        if shot.streams:
            # grpc.aio tells INTERNAL of its own where the server ends a stream that is still being written.
            make = self._streams.stream_stream(shot.path)
            call = make(iter(shot.bodies), **options)
            answered = asyncio.to_thread(bodies.extend, call)
        else:
            make = self._channel.unary_unary(shot.path)
            call = make(shot.bodies[0], **options)
            answered = _one(call, bodies)
        try:
            await answered
        except grpc.RpcError as error:
            return _failed(error, tuple(bodies))
        finally:
            call.cancel()
        return Reply(0, 0, tuple(bodies))

    async def _socket(self, shot: Shot) -> Reply:
        address = self._http.base_url.copy_with(scheme="ws")
        url = f"{str(address).rstrip('/')}{urllib.parse.quote(shot.path, safe='/:')}"
        bodies: list[bytes] = []
        try:
            async with connect(url, proxy=None, max_size=None) as socket:
                sending = asyncio.create_task(_sent(socket, shot.bodies))
                try:
                    while len(bodies) < len(shot.bodies):
                        bodies.append(await socket.recv(decode=False))
                except ConnectionClosed:
                    pass
                finally:
                    sending.cancel()
                    # Envoy lets go of a connection a second after both sides have closed.
                    socket.transport.abort()
        except InvalidStatus as refused:
            return Reply(None, refused.response.status_code, (bytes(refused.response.body),))
        return Reply(None, SWITCHED, tuple(bodies))

    async def _http_or_web(self, shot: Shot) -> Reply:
        headers = [*shot.headers]
        if shot.seconds is not None:
            headers.append(("grpc-timeout", f"{round(shot.seconds * 1e3)}m"))
        body = shot.bodies[0] if shot.bodies else b""
        if shot.how == "web":
            body = b"".join(map(framed, shot.bodies))
            kind = "application/grpc-web+proto"
            headers += [("content-type", kind), ("accept", kind), ("x-grpc-web", "1")]
        encoded = [(name.encode(), value.encode("latin-1")) for name, value in headers]
        answer = await self._http.request(shot.verb, shot.path, content=body, headers=encoded)
        told = {name.lower(): value for name, value in answer.headers.items()}
        if shot.how == "web":
            return _web(answer.status_code, told, answer.content)
        return Reply(None, answer.status_code, (answer.content,), told)


@asynccontextmanager
async def connected(url: str, grpc_address: str = "", connections: int = 32) -> AsyncIterator[Wire]:
    """Connections to the server at *url*, and to its gRPC port where that is another."""
    address = grpc_address or urllib.parse.urlsplit(url).netloc
    limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
    async with (
        httpx.AsyncClient(base_url=url, timeout=_PATIENCE_SECONDS + 5, limits=limits) as http,
        grpc.aio.insecure_channel(address, options=_OPTIONS) as channel,
    ):
        with grpc.insecure_channel(address, options=_OPTIONS) as streams:
            yield Wire(http, channel, streams)


def framed(message: bytes) -> bytes:
    """*message* as gRPC-Web sends it."""
    return b"\0" + len(message).to_bytes(4, "big") + message


async def _sent(socket: ClientConnection, messages: Sequence[bytes]) -> None:
    for each in messages:
        await socket.send(each, text=True)


async def _one(call: Any, bodies: list[bytes]) -> None:
    bodies.append(await call)


def _failed(error: Any, bodies: tuple[bytes, ...]) -> Reply:
    details = dict(error.trailing_metadata() or ()).get(DETAILS, b"")
    return Reply(error.code().value[0], 0, bodies, message=error.details() or "", details=details)


def _web(status: int, headers: dict[str, str], body: bytes) -> Reply:
    messages: list[bytes] = []
    trailers = {name: value for name, value in headers.items() if name.startswith("grpc-")}
    for flags, content in _frames(body) if status == 200 else ():
        if flags & 0x80:
            pairs = (line.partition(":") for line in content.decode().splitlines())
            trailers |= {name.strip().lower(): value.strip() for name, _, value in pairs}
        else:
            messages.append(content)
    if "grpc-status" not in trailers:
        return Reply(None, status, (body,), headers)
    details = trailers.get(DETAILS, "")
    return Reply(
        int(trailers["grpc-status"]),
        0,
        tuple(messages),
        headers,
        urllib.parse.unquote(trailers.get("grpc-message", "")),
        base64.b64decode(details + "=" * (-len(details) % 4)),
    )


def _frames(body: bytes) -> Iterator[tuple[int, bytes]]:
    while body:
        length = int.from_bytes(body[1:5], "big")
        yield body[0], body[5 : 5 + length]
        body = body[5 + length :]
