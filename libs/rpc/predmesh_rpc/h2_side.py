"""One side of an HTTP/2 connection: what client and server have in common, which is all but what a stream means."""

from __future__ import annotations

import asyncio
import logging
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from predmesh_rpc import h2_frames as h2
from predmesh_rpc.h2_frames import BrokenError, Frame

_MOST_REPLIES = 1000
"""Most frames owed to a peer that does not read."""

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Outgoing:
    """What a stream has yet to send."""

    unsent: memoryview
    window: int
    """Bytes of it that the peer takes."""
    ending: bytes | None = None
    """The frames that follow it; empty where its last byte ends the stream, None while more may come."""


_Stream = TypeVar("_Stream", bound=Outgoing)


class Side(asyncio.Protocol, Generic[_Stream]):
    """Frames, settings, windows and pings of a connection; a peer that breaks the protocol loses it.

    The peer's windows are kept to. The connection's own is the largest: streams bound what comes.
    """

    def __init__(self) -> None:
        self._transport: Any = None
        self._frames = h2.Frames()
        self._streams: dict[int, _Stream] = {}
        self._settled = False
        self._longest_frame = h2.FRAME_BYTES
        self._stream_window = h2.INITIAL_WINDOW_BYTES
        self._window = h2.INITIAL_WINDOW_BYTES
        self._granted = h2.LARGEST
        self._paused = False
        self._owed = 0

    @abstractmethod
    def close(self) -> None:
        """End the connection and what its streams do."""

    @abstractmethod
    def _stream(self, number: int) -> _Stream | None:
        """The stream of a number; None where it has ended. Raises BrokenError where it has not begun."""

    @abstractmethod
    def _took(self, stream: _Stream, frame: Frame) -> None:
        """Take data of a stream."""

    @abstractmethod
    def _headers(self, frame: Frame) -> None:
        """Take a header block."""

    @abstractmethod
    def _reset(self, stream: _Stream, number: int, code: int) -> None:
        """Take the end of a stream that the peer breaks off."""

    @abstractmethod
    def _goodbye(self, last: int) -> None:
        """Take the peer's goodbye, and the last stream that it takes."""

    def _set(self, setting: int, value: int) -> None:
        """Take one of the peer's settings that are not the same for both sides."""

    def _agreed(self) -> None:
        """Whatever the peer's settings allow can begin now."""

    def _sent(self, number: int, stream: _Stream) -> None:
        """Know that a stream has sent all."""

    def pause_writing(self) -> None:
        """Hold data back and count what is owed: the peer does not read."""
        self._paused = True

    def resume_writing(self) -> None:
        """Send what was held back: the peer reads again."""
        self._paused, self._owed = False, 0
        self._send()

    def data_received(self, data: bytes) -> None:
        """Take what the peer sent, in whatever pieces."""
        try:
            for frame in self._frames.fed(data):
                if frame.kind != h2.SETTINGS and not self._settled:
                    raise BrokenError("no settings came first")
                if (take := _TAKERS.get(frame.kind)) is not None:
                    take(self, frame)
        except BrokenError as error:
            _log.warning("a peer does not speak HTTP/2 as it should", extra={"detail": str(error)})
            self.close()

    def _write(self, frames: bytes) -> None:
        """Send frames."""
        self._transport.write(frames)

    def _sendable(self, number: int, stream: _Stream) -> Iterator[bytes]:
        """Frames of what the peer takes now of a stream."""
        while (
            (left := len(stream.unsent))
            and not self._paused
            and (taken := min(left, self._longest_frame, stream.window, self._window)) > 0
        ):
            part, stream.unsent = stream.unsent[:taken], stream.unsent[taken:]
            stream.window -= taken
            self._window -= taken
            flags = h2.END_STREAM if taken == left and stream.ending == b"" else 0
            yield h2.frame(h2.DATA, flags, number, bytes(part))
        if not left and stream.ending:
            yield stream.ending

    def _send(self) -> None:
        """Send what a window held back."""
        for number, stream in list(self._streams.items()):
            if stream.unsent and (data := b"".join(self._sendable(number, stream))):
                self._write(data)
                if not stream.unsent:
                    self._sent(number, stream)

    def _reply(self, frame: bytes) -> None:
        if self._paused:
            self._owed += 1
            if self._owed > _MOST_REPLIES:
                raise BrokenError("the peer asks and does not read")
        self._write(frame)

    def _data(self, frame: Frame) -> None:
        self._granted -= frame.size
        if self._granted < h2.LARGEST // 2:
            self._reply(h2.numbered(h2.WINDOW_UPDATE, 0, h2.LARGEST - self._granted))
            self._granted = h2.LARGEST
        if (stream := self._stream(frame.stream)) is not None:
            self._took(stream, frame)

    def _broken_off(self, frame: Frame) -> None:
        code = _number(frame)
        if (stream := self._stream(frame.stream)) is not None:
            self._reset(stream, frame.stream, code)

    def _settings(self, frame: Frame) -> None:
        if frame.stream:
            raise BrokenError("settings of a stream")
        if frame.flags & h2.ACK:
            return
        for setting, value in h2.settings_of(frame.payload):
            match setting:
                case h2.INITIAL_WINDOW_SIZE:
                    self._widen(value)
                case h2.MAX_FRAME_SIZE:
                    if not h2.FRAME_BYTES <= value < 1 << 24:
                        raise BrokenError(f"frames of {value} bytes")
                    self._longest_frame = value
                case _:
                    self._set(setting, value)
        self._settled = True
        self._agreed()
        self._reply(h2.frame(h2.SETTINGS, h2.ACK, 0, b""))
        self._send()

    def _widen(self, window: int) -> None:
        if window > h2.LARGEST:
            raise BrokenError("a window that is too large")
        for stream in self._streams.values():
            stream.window += window - self._stream_window
        self._stream_window = window

    def _ping(self, frame: Frame) -> None:
        if frame.stream or frame.size != 8:
            raise BrokenError("a ping that is none")
        if not frame.flags & h2.ACK:
            self._reply(h2.frame(h2.PING, h2.ACK, 0, frame.payload))

    def _left(self, frame: Frame) -> None:
        if frame.stream or frame.size < 8:
            raise BrokenError("a goodbye that is none")
        self._goodbye(int.from_bytes(frame.payload[:4]) & h2.LARGEST)

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


_TAKERS: Mapping[int, Callable[[Side[Any], Frame], None]] = {
    h2.DATA: Side._data,
    h2.HEADERS: lambda side, frame: side._headers(frame),
    h2.RST_STREAM: Side._broken_off,
    h2.SETTINGS: Side._settings,
    h2.PUSH_PROMISE: Side._pushed,
    h2.PING: Side._ping,
    h2.GOAWAY: Side._left,
    h2.WINDOW_UPDATE: Side._grown,
}
"""What is done with each kind of frame; others may be ignored."""


def opening(settings: Mapping[int, int]) -> bytes:
    """What a side sends first: what it wants, and the largest window for the connection."""
    return h2.settings_frame(settings) + h2.numbered(h2.WINDOW_UPDATE, 0, h2.LARGEST - h2.INITIAL_WINDOW_BYTES)


def _number(frame: Frame) -> int:
    if frame.size != 4:
        raise BrokenError("a number of four bytes is none")
    return int.from_bytes(frame.payload)
