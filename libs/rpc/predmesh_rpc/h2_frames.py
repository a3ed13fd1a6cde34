"""HTTP/2 as bytes: frames, and header blocks that need no table. No I/O, no state of calls."""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
"""Kinds of frames."""

END_STREAM = ACK = 0x1
END_HEADERS, PADDED, PRIORITISED = 0x4, 0x8, 0x20
"""Flags of frames."""

HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE = range(1, 6)
"""Settings."""

NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR = 0x0, 0x1, 0x2
FLOW_CONTROL_ERROR = 0x3
REFUSED_STREAM, CANCEL, ENHANCE_YOUR_CALM = 0x7, 0x8, 0xB
"""Codes of errors."""

LARGEST = 2**31 - 1
"""Greatest window, and greatest number of a stream."""

INITIAL_WINDOW_BYTES = 65_535
"""Window of a connection, and of its streams until the peer says otherwise."""

FRAME_BYTES = 16_384
"""Longest payload of a frame that every peer takes, and that is taken here."""

BLOCK_BYTES = 64 * 1024
"""Longest header block taken, as it comes and once it is decoded."""

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client sends first."""

NO_TABLE = b"\x20"
"""Goes before the first header block that a side sends: its blocks need no table, whatever the other would keep."""

_HEAD = struct.Struct(">HBBBL")
_SETTING = struct.Struct(">HL")


class BrokenError(Exception):
    """What a peer sent is no HTTP/2, or more than is taken; its connection can only end."""


class Frame(NamedTuple):
    """What a peer sent, its padding taken off; a header block is whole."""

    kind: int
    flags: int
    stream: int
    payload: bytes
    size: int
    """Bytes that count against windows."""


class Frames:
    """Splits what a peer sends, in whatever pieces it comes."""

    def __init__(self) -> None:
        self._rest = b""
        self._open: Frame | None = None

    def fed(self, data: bytes) -> Iterator[Frame]:
        """The frames that *data* completes.

        Raises:
            BrokenError: a frame is too long, or not where it may be; those before it have been given.
        """
        if self._rest:
            data = self._rest + data
        begin, end = 0, len(data)
        while end - begin >= _HEAD.size:
            high, low, kind, flags, stream = _HEAD.unpack_from(data, begin)
            size = high << 8 | low
            if size > FRAME_BYTES:
                raise BrokenError(f"a frame of {size} bytes")
            after = begin + _HEAD.size + size
            if after > end:
                break
            frame = Frame(kind, flags, stream & LARGEST, data[begin + _HEAD.size : after], size)
            if (whole := self._whole(frame)) is not None:
                yield whole
            begin = after
        self._rest = data[begin:]

    def _whole(self, frame: Frame) -> Frame | None:
        if self._open is not None:
            return self._continued(self._open, frame)
        if frame.kind == CONTINUATION:
            raise BrokenError("a continuation of nothing")
        if frame.kind > HEADERS:
            return frame
        if frame.flags & (PADDED | PRIORITISED):
            frame = _stripped(frame)
        if frame.kind == HEADERS and not frame.flags & END_HEADERS:
            self._open = frame
            return None
        return frame

    def _continued(self, begun: Frame, frame: Frame) -> Frame | None:
        if frame.kind != CONTINUATION or frame.stream != begun.stream:
            raise BrokenError("a header block is cut off")
        block = begun.payload + frame.payload
        if len(block) > BLOCK_BYTES:
            raise BrokenError(f"a header block of more than {BLOCK_BYTES} bytes")
        self._open = begun._replace(payload=block)
        if not frame.flags & END_HEADERS:
            return None
        whole, self._open = self._open, None
        return whole


def _stripped(frame: Frame) -> Frame:
    payload, begin, padding = frame.payload, 0, 0
    if frame.flags & PADDED:
        begin, padding = 1, payload[0] if payload else FRAME_BYTES
    if frame.flags & PRIORITISED and frame.kind == HEADERS:
        begin += 5
    if begin + padding > len(payload):
        raise BrokenError("more padding than frame")
    return frame._replace(payload=payload[begin : len(payload) - padding])


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """One frame, as it is sent."""
    return _HEAD.pack(len(payload) >> 8, len(payload) & 0xFF, kind, flags, stream) + payload


def numbered(kind: int, stream: int, number: int) -> bytes:
    """A frame that says one number: an error, or how much a window grows."""
    return frame(kind, 0, stream, number.to_bytes(4))


def header_frames(stream: int, block: bytes, *, ends: bool = False) -> bytes:
    """A header block as the frames that every peer takes; the stream may end with it."""
    end = END_STREAM if ends else 0
    if len(block) <= FRAME_BYTES:
        return frame(HEADERS, END_HEADERS | end, stream, block)
    parts = [block[at : at + FRAME_BYTES] for at in range(0, len(block), FRAME_BYTES)]
    kinds = [HEADERS, *[CONTINUATION] * (len(parts) - 1)]
    flags = [end, *[0] * (len(parts) - 2), END_HEADERS]
    return b"".join(frame(kind, flag, stream, part) for kind, flag, part in zip(kinds, flags, parts, strict=True))


def settings_frame(settings: Mapping[int, int]) -> bytes:
    """What a side wants of the other."""
    return frame(SETTINGS, 0, 0, b"".join(_SETTING.pack(*pair) for pair in settings.items()))


def settings_of(payload: bytes) -> Iterable[tuple[int, int]]:
    """What the other side wants.

    Raises:
        BrokenError: it is no list of settings.
    """
    if len(payload) % _SETTING.size:
        raise BrokenError("settings are cut off")
    return _SETTING.iter_unpack(payload)


def request_head(path: str) -> bytes:
    """What the header blocks of all calls of a method begin with."""
    post, http, te = b"\x83", b"\x86", literal("te", "trailers")
    named_path, authority, content_type = b"\x04" + text(path.encode()), b"\x01" + text(b"mesh"), b"\x0f\x10"
    return post + http + named_path + authority + te + content_type + text(b"application/grpc")


def literals(pairs: Iterable[tuple[str, str | bytes]]) -> bytes:
    """Metadata in a header block; bytes in base64, as gRPC does.

    Raises:
        UnicodeEncodeError: a value is not of Latin-1.
    """
    return b"".join([literal(name, value) for name, value in pairs])


def literal(name: str, value: str | bytes) -> bytes:
    """One header in a block, kept in no table."""
    data = value.encode("latin-1") if isinstance(value, str) else base64.b64encode(value)
    return b"\0" + text(name.encode("latin-1")) + text(data)


def text(data: bytes) -> bytes:
    """A name or a value in a header block, as it is."""
    size = len(data)
    if size < 0x7F:
        return bytes((size,)) + data
    head, rest = bytearray(b"\x7f"), size - 0x7F
    while rest > 0x7F:
        head.append(rest & 0x7F | 0x80)
        rest >>= 7
    return bytes(head) + bytes((rest,)) + data
