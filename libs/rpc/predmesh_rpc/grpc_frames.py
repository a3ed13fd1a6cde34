"""One gRPC message as the body of a request or an answer: its frame and its compression."""

from __future__ import annotations

import zlib

from predmesh_rpc.errors import InvalidInput, NotOffered
from predmesh_rpc.table import malformed, too_large

FRAME_BYTES = 5
"""What goes before a message: a flag, and the length as four bytes, big-endian."""

ENCODINGS = ("gzip", "deflate")
"""What compresses a message that is read here."""

_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS


def unframed(body: bytes, size: int, encoding: str, *, limit_bytes: int) -> bytes:
    """The one message in *body*.

    Args:
        body: as it came; empty where it was too long to keep.
        size: bytes that came.
        encoding: the header ``grpc-encoding``; empty or ``identity``, ``gzip`` or ``deflate``.
        limit_bytes: longest message taken, also once it is inflated.

    Raises:
        InvalidInput: it is too long, or is not one message.
        NotOffered: the encoding is not known.
    """
    if size > limit_bytes + FRAME_BYTES:
        raise too_large(size - FRAME_BYTES, limit_bytes)
    if len(body) < FRAME_BYTES or int.from_bytes(body[1:FRAME_BYTES]) != len(body) - FRAME_BYTES:
        raise malformed()
    return _inflated(body[FRAME_BYTES:], encoding, limit_bytes) if body[0] else body[FRAME_BYTES:]


def framed(message: bytes) -> bytes:
    """A message in its frame, not compressed."""
    return b"\0%b%b" % (len(message).to_bytes(4), message)


def inflated(data: bytes, limit_bytes: int) -> bytes:
    """What was compressed to *data*, by gzip or zlib ("deflate").

    Raises:
        InvalidInput: it is longer than *limit_bytes*.
        ValueError: it is not compressed so, or not whole.
    """
    inflater = zlib.decompressobj(_GZIP_OR_ZLIB)
    try:
        message = inflater.decompress(data, limit_bytes + 1)
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if len(message) > limit_bytes:
        raise InvalidInput(
            "ERROR_REASON_TOO_LARGE",
            f"the message inflates to more than the {limit_bytes} bytes allowed; send fewer rows at once",
            limit_bytes=limit_bytes,
        )
    if not inflater.eof or inflater.unused_data:
        raise ValueError("it does not end where the data does")
    return message


def _inflated(data: bytes, encoding: str, limit_bytes: int) -> bytes:
    if encoding not in ENCODINGS:
        raise NotOffered(
            "ERROR_REASON_NOT_OFFERED",
            f"messages compressed by {encoding or 'nothing'!r} are not read here; use gzip, deflate or identity",
            encoding=encoding,
        )
    try:
        return inflated(data, limit_bytes)
    except ValueError:
        raise malformed() from None
