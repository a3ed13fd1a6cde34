"""One HTTP/2 connection of a client: many unary gRPC calls at once, each a request and its answer."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field

import grpc

from predmesh_rpc import h2_frames as h2
from predmesh_rpc.grpc_frames import FRAME_BYTES
from predmesh_rpc.h2_frames import BrokenError, Frame
from predmesh_rpc.h2_headers import HeaderDecoder
from predmesh_rpc.h2_side import Outgoing, Side, opening
from predmesh_rpc.unary_channel import Answer

_OPENING = h2.PREFACE + opening(
    {
        h2.ENABLE_PUSH: 0,
        h2.INITIAL_WINDOW_SIZE: h2.LARGEST,  # so that no answer waits; what bounds one is `longest_message_bytes`
    }
)

_CODES = {
    h2.CANCEL: grpc.StatusCode.CANCELLED,
    h2.ENHANCE_YOUR_CALM: grpc.StatusCode.RESOURCE_EXHAUSTED,
}


class UnsentError(ConnectionError):
    """The peer did not begin the call: it may be asked again, whatever the method."""


@dataclass(slots=True, eq=False, kw_only=True)
class _Call(Outgoing):
    answer: asyncio.Future[Answer]
    headers: Mapping[str, str] | None = None
    body: bytearray = field(default_factory=bytearray)


class Connection(Side[_Call]):
    """One connection. It begins no call after the peer said goodbye, and ends with its last one.

    Attributes:
        usable: whether another call can begin.
        settled: set when the peer has said what it wants, or is gone.
    """

    def __init__(self, longest_message_bytes: int) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._decoder = HeaderDecoder()
        self._longest_bytes = longest_message_bytes
        self.usable = True
        self.settled = asyncio.Event()
        self._next = 1
        self._room = asyncio.Event()
        self._most_streams = h2.LARGEST
        self._heard = 0

    @property
    def calls(self) -> list[asyncio.Future[Answer]]:
        """The answers that are waited for."""
        return [call.answer for call in self._streams.values()]

    async def exchange(self, block: bytes, message: bytes, expiry: float | None) -> Answer:
        """All headers and the body of the answer; of a call that the peer broke off, its status as headers.

        Args:
            block: the request's headers.
            message: framed as gRPC does.
            expiry: in loop time.

        Raises:
            TimeoutError: there is none by *expiry*.
            UnsentError: the peer did not begin the call.
            ConnectionResetError: the connection was lost first.
        """
        if len(self._streams) >= self._most_streams:
            async with asyncio.timeout_at(expiry):
                await self._found_room()
        if not self.usable:
            raise UnsentError("the connection was lost")
        call = _Call(memoryview(message), self._stream_window, b"", answer=self._loop.create_future())
        number = self._begun(call)
        timer = None if expiry is None else self._loop.call_at(expiry, self._expire, call, self._heard)
        head = h2.header_frames(number, block if number > 1 else h2.NO_TABLE + block)
        self._write(b"".join((head, *self._sendable(number, call))))
        try:
            return await call.answer
        finally:
            if timer is not None:
                timer.cancel()
            if number in self._streams:
                self._ended(number, h2.CANCEL)

    def retire(self) -> None:
        """Begin no other call; end with the last one."""
        self.usable = False
        self._room.set()
        if not self._streams:
            self.close()

    def close(self) -> None:
        """End the connection and its calls; what works for them on the other side is stopped."""
        self.usable = False
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say what this side wants."""
        self._transport = transport
        self._write(_OPENING)

    def connection_lost(self, error: Exception | None) -> None:
        """Fail the calls under way."""
        self.usable = False
        self._room.set()
        self.settled.set()
        for call in self._streams.values():
            _fail(call, ConnectionResetError())
        self._streams.clear()

    def data_received(self, data: bytes) -> None:
        """Take what the peer sent, in whatever pieces."""
        self._heard += 1
        super().data_received(data)

    async def _found_room(self) -> None:
        while self.usable and len(self._streams) >= self._most_streams:
            self._room.clear()
            await self._room.wait()

    def _begun(self, call: _Call) -> int:
        number = self._next
        self._next += 2
        self._streams[number] = call
        if self._next > h2.LARGEST:
            self.retire()
        return number

    def _expire(self, call: _Call, heard: int) -> None:
        _fail(call, TimeoutError())
        if self._heard == heard:  # the peer may hang: others are better off on a new connection
            self.retire()

    def _ended(self, number: int, code: int | None = None) -> None:
        """Forget a stream; with a *code* the peer is told to."""
        del self._streams[number]
        if code is not None:
            self._write(h2.numbered(h2.RST_STREAM, number, code))
        self._room.set()
        if not self.usable and not self._streams:
            self.close()

    def _stream(self, number: int) -> _Call | None:
        call = self._streams.get(number)
        if call is None and (number % 2 == 0 or number >= self._next):
            raise BrokenError("a frame of a stream that was not begun")
        return call

    def _took(self, stream: _Call, frame: Frame) -> None:
        if stream.headers is None:
            raise BrokenError("data before headers")
        stream.body += frame.payload
        if len(stream.body) > self._longest_bytes + FRAME_BYTES:
            text = f"the answer is longer than {self._longest_bytes} bytes"
            self._answer(frame.stream, stream, _status(grpc.StatusCode.RESOURCE_EXHAUSTED, text), h2.CANCEL)
        elif frame.flags & h2.END_STREAM:
            self._whole(frame.stream, stream, {})

    def _headers(self, frame: Frame) -> None:
        pairs, call = self._decoder.pairs(frame.payload), self._stream(frame.stream)
        if call is None:
            return
        headers = {name: said for name, value in pairs if (said := _readable(name, value)) is not None}
        if frame.flags & h2.END_STREAM:
            self._whole(frame.stream, call, headers)
        elif call.headers is not None:
            raise BrokenError("headers amid an answer")
        elif not headers.get(":status", "").startswith("1"):
            call.headers = headers

    def _whole(self, number: int, call: _Call, trailers: Mapping[str, str]) -> None:
        # The peer may answer before it has the whole request; it then need not take the rest.
        self._answer(number, call, {**(call.headers or {}), **trailers}, h2.CANCEL if call.unsent else None)

    def _answer(self, number: int, call: _Call, headers: dict[str, str], code: int | None) -> None:
        self._ended(number, code)
        if not call.answer.done():
            call.answer.set_result((headers, bytes(call.body)))

    def _reset(self, stream: _Call, number: int, code: int) -> None:
        if code == h2.REFUSED_STREAM:
            self._ended(number)
            _fail(stream, UnsentError("the service refused the call"))
        else:
            status = _CODES.get(code, grpc.StatusCode.INTERNAL)
            self._answer(number, stream, _status(status, f"the peer broke the call off (HTTP/2 code {code})"), None)

    def _set(self, setting: int, value: int) -> None:
        if setting == h2.MAX_CONCURRENT_STREAMS:
            self._most_streams = value

    def _agreed(self) -> None:
        self.settled.set()
        self._room.set()

    def _goodbye(self, last: int) -> None:
        for number in [number for number in self._streams if number > last]:
            _fail(self._streams[number], UnsentError("the service is ending"))
            self._ended(number)
        self.retire()


def _status(code: grpc.StatusCode, text: str) -> dict[str, str]:
    return {"grpc-status": str(code.value[0]), "grpc-message": text}


def _readable(name: str, value: str) -> str | None:
    """The value of a header, padded where it is of base64; None where it is meant to be and is not."""
    if not name.endswith("-bin"):
        return value
    padded = value + "=" * (-len(value) % 4)
    try:
        base64.b64decode(padded)
    except binascii.Error:
        return None
    return padded


def _fail(call: _Call, error: Exception) -> None:
    if not call.answer.done():
        call.answer.set_exception(error)
