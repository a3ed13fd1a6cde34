"""One HTTP/2 connection of a client: many unary gRPC calls at once, each a request and its answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import grpc

from predmesh_rpc import h2_frames as h2
from predmesh_rpc.grpc_frames import FRAME_BYTES
from predmesh_rpc.h2_frames import BrokenError, Frame
from predmesh_rpc.unary_channel import Answer

log = logging.getLogger(__name__)

_WANTED = {
    h2.HEADER_TABLE_SIZE: 0,  # so that a header block means the same whenever it comes
    h2.ENABLE_PUSH: 0,
    h2.INITIAL_WINDOW_SIZE: h2.LARGEST,  # so that no answer waits; what bounds one is `longest_message_bytes`
}
_OPENING = (
    h2.PREFACE + h2.settings_frame(_WANTED) + h2.numbered(h2.WINDOW_UPDATE, 0, h2.LARGEST - h2.INITIAL_WINDOW_BYTES)
)
_MOST_REPLIES = 1000
"""Most frames owed to a peer that does not read."""

_CODES = {
    h2.CANCEL: grpc.StatusCode.CANCELLED,
    h2.ENHANCE_YOUR_CALM: grpc.StatusCode.RESOURCE_EXHAUSTED,
}


class UnsentError(ConnectionError):
    """The peer did not begin the call: it may be asked again, whatever the method."""


@dataclass(slots=True, eq=False)
class _Stream:
    answer: asyncio.Future[Answer]
    unsent: memoryview
    """What is left of the request."""
    window: int
    """Bytes of it that the peer takes."""
    headers: Mapping[str, str] | None = None
    body: bytearray = field(default_factory=bytearray)


class Connection(asyncio.Protocol):
    """One connection. It begins no call after the peer said goodbye, and ends with its last one.

    Attributes:
        usable: whether another call can begin.
        settled: set when the peer has said what it wants, or is gone.
    """

    def __init__(self, longest_message_bytes: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._longest_bytes = longest_message_bytes
        self.usable = True
        self.settled = asyncio.Event()
        self._transport: Any = None
        self._frames = h2.Frames()
        self._streams: dict[int, _Stream] = {}
        self._next = 1
        self._room = asyncio.Event()
        self._most_streams = h2.LARGEST
        self._longest_frame = h2.FRAME_BYTES
        self._stream_window = h2.INITIAL_WINDOW_BYTES
        self._window = h2.INITIAL_WINDOW_BYTES
        self._granted = h2.LARGEST
        self._heard = 0
        self._paused = False
        self._owed = 0

    @property
    def calls(self) -> list[asyncio.Future[Answer]]:
        """The answers that are waited for."""
        return [stream.answer for stream in self._streams.values()]

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
        stream = _Stream(self._loop.create_future(), memoryview(message), self._stream_window)
        number = self._begun(stream)
        timer = None if expiry is None else self._loop.call_at(expiry, self._expire, stream, self._heard)
        opening = h2.header_frames(number, block if number > 1 else h2.NO_TABLE + block)
        self._transport.write(b"".join((opening, *self._sendable(number, stream))))
        try:
            return await stream.answer
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
        self._transport.write(_OPENING)

    def connection_lost(self, error: Exception | None) -> None:
        """Fail the calls under way."""
        self.usable = False
        self._room.set()
        self.settled.set()
        for stream in self._streams.values():
            _fail(stream, ConnectionResetError())
        self._streams.clear()

    def pause_writing(self) -> None:
        """Count what is owed: the peer does not read."""
        self._paused = True

    def resume_writing(self) -> None:
        """The peer reads again."""
        self._paused, self._owed = False, 0

    def data_received(self, data: bytes) -> None:
        """Take what the peer sent, in whatever pieces."""
        self._heard += 1
        try:
            for frame in self._frames.fed(data):
                if frame.kind != h2.SETTINGS and not self.settled.is_set():
                    raise BrokenError("no settings came first")
                if (take := _TAKERS.get(frame.kind)) is not None:
                    take(self, frame)
        except BrokenError as error:
            log.warning("a peer does not speak HTTP/2 as it should", extra={"detail": str(error)})
            self.close()

    async def _found_room(self) -> None:
        while self.usable and len(self._streams) >= self._most_streams:
            self._room.clear()
            await self._room.wait()

    def _begun(self, stream: _Stream) -> int:
        number = self._next
        self._next += 2
        self._streams[number] = stream
        if self._next > h2.LARGEST:
            self.retire()
        return number

    def _expire(self, stream: _Stream, heard: int) -> None:
        _fail(stream, TimeoutError())
        if self._heard == heard:  # the peer may hang: others are better off on a new connection
            self.retire()

    def _ended(self, number: int, code: int | None = None) -> None:
        """Forget a stream; with a *code* the peer is told to."""
        del self._streams[number]
        if code is not None:
            self._transport.write(h2.numbered(h2.RST_STREAM, number, code))
        self._room.set()
        if not self.usable and not self._streams:
            self.close()

    def _sendable(self, number: int, stream: _Stream) -> Iterator[bytes]:
        """Frames of what the peer takes now of a request."""
        while (left := len(stream.unsent)) and (
            taken := min(left, self._longest_frame, stream.window, self._window)
        ) > 0:
            part, stream.unsent = stream.unsent[:taken], stream.unsent[taken:]
            stream.window -= taken
            self._window -= taken
            yield h2.frame(h2.DATA, 0 if taken < left else h2.END_STREAM, number, bytes(part))

    def _send(self) -> None:
        """Send what a window held back."""
        for number, stream in self._streams.items():
            if stream.unsent and (data := b"".join(self._sendable(number, stream))):
                self._transport.write(data)

    def _stream(self, number: int) -> _Stream | None:
        """The stream of a number; None where it has ended."""
        stream = self._streams.get(number)
        if stream is None and (number % 2 == 0 or number >= self._next):
            raise BrokenError("a frame of a stream that was not begun")
        return stream

    def _reply(self, frame: bytes) -> None:
        if self._paused:
            self._owed += 1
            if self._owed > _MOST_REPLIES:
                raise BrokenError("the peer asks and does not read")
        self._transport.write(frame)

    def _data(self, frame: Frame) -> None:
        self._granted -= frame.size
        if self._granted < h2.LARGEST // 2:
            self._reply(h2.numbered(h2.WINDOW_UPDATE, 0, h2.LARGEST - self._granted))
            self._granted = h2.LARGEST
        stream = self._stream(frame.stream)
        if stream is None:
            return
        if stream.headers is None:
            raise BrokenError("data before headers")
        stream.body += frame.payload
        if len(stream.body) > self._longest_bytes + FRAME_BYTES:
            text = f"the answer is longer than {self._longest_bytes} bytes"
            self._answer(frame.stream, stream, _status(grpc.StatusCode.RESOURCE_EXHAUSTED, text), h2.CANCEL)
        elif frame.flags & h2.END_STREAM:
            self._whole(frame.stream, stream, {})

    def _headers(self, frame: Frame) -> None:
        stream = self._stream(frame.stream)
        if stream is None:
            return
        headers = h2.headers_of(frame.payload)
        if frame.flags & h2.END_STREAM:
            self._whole(frame.stream, stream, headers)
        elif stream.headers is not None:
            raise BrokenError("headers amid an answer")
        elif not headers.get(":status", "").startswith("1"):
            stream.headers = headers

    def _whole(self, number: int, stream: _Stream, trailers: Mapping[str, str]) -> None:
        # The peer may answer before it has the whole request; it then need not take the rest.
        self._answer(number, stream, {**(stream.headers or {}), **trailers}, h2.CANCEL if stream.unsent else None)

    def _answer(self, number: int, stream: _Stream, headers: dict[str, str], code: int | None) -> None:
        self._ended(number, code)
        if not stream.answer.done():
            stream.answer.set_result((headers, bytes(stream.body)))

    def _reset(self, frame: Frame) -> None:
        code = _number(frame)
        stream = self._stream(frame.stream)
        if stream is None:
            return
        if code == h2.REFUSED_STREAM:
            self._ended(frame.stream)
            _fail(stream, UnsentError("the service refused the call"))
        else:
            status = _CODES.get(code, grpc.StatusCode.INTERNAL)
            self._answer(
                frame.stream, stream, _status(status, f"the peer broke the call off (HTTP/2 code {code})"), None
            )

    def _settings(self, frame: Frame) -> None:
        if frame.stream:
            raise BrokenError("settings of a stream")
        if frame.flags & h2.ACK:
            return
        for setting, value in h2.settings_of(frame.payload):
            self._set(setting, value)
        self.settled.set()
        self._room.set()
        self._reply(h2.frame(h2.SETTINGS, h2.ACK, 0, b""))
        self._send()

    def _set(self, setting: int, value: int) -> None:
        match setting:
            case h2.MAX_CONCURRENT_STREAMS:
                self._most_streams = value
            case h2.INITIAL_WINDOW_SIZE:
                if value > h2.LARGEST:
                    raise BrokenError("a window that is too large")
                for stream in self._streams.values():
                    stream.window += value - self._stream_window
                self._stream_window = value
            case h2.MAX_FRAME_SIZE:
                if not h2.FRAME_BYTES <= value < 1 << 24:
                    raise BrokenError(f"frames of {value} bytes")
                self._longest_frame = value

    def _ping(self, frame: Frame) -> None:
        if frame.stream or frame.size != 8:
            raise BrokenError("a ping that is none")
        if not frame.flags & h2.ACK:
            self._reply(h2.frame(h2.PING, h2.ACK, 0, frame.payload))

    def _goodbye(self, frame: Frame) -> None:
        if frame.stream or frame.size < 8:
            raise BrokenError("a goodbye that is none")
        last = int.from_bytes(frame.payload[:4]) & h2.LARGEST
        for number in [number for number in self._streams if number > last]:
            _fail(self._streams[number], UnsentError("the service is ending"))
            self._ended(number)
        self.retire()

    def _grown(self, frame: Frame) -> None:
        growth = _number(frame) & h2.LARGEST
        if not growth:
            raise BrokenError("a window that does not grow")
        if not frame.stream:
            window = self._window = self._window + growth
        elif (stream := self._stream(frame.stream)) is not None:
            window = stream.window = stream.window + growth
        else:
            return
        if window > h2.LARGEST:
            raise BrokenError("a window that is too large")
        self._send()

    def _pushed(self, _: Frame) -> None:
        raise BrokenError("a push, which was forbidden")


_TAKERS: dict[int, Callable[[Connection, Frame], None]] = {
    h2.DATA: Connection._data,
    h2.HEADERS: Connection._headers,
    h2.RST_STREAM: Connection._reset,
    h2.SETTINGS: Connection._settings,
    h2.PUSH_PROMISE: Connection._pushed,
    h2.PING: Connection._ping,
    h2.GOAWAY: Connection._goodbye,
    h2.WINDOW_UPDATE: Connection._grown,
}
"""What is done with each kind of frame; others may be ignored."""


def _number(frame: Frame) -> int:
    if frame.size != 4:
        raise BrokenError("a number of four bytes is none")
    return int.from_bytes(frame.payload)


def _status(code: grpc.StatusCode, text: str) -> dict[str, str]:
    return {"grpc-status": str(code.value[0]), "grpc-message": text}


def _fail(stream: _Stream, error: Exception) -> None:
    if not stream.answer.done():
        stream.answer.set_exception(error)
