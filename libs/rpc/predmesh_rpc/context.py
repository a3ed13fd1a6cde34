"""The request at hand, ambient: its id, what came with it, and what its answer's headers shall say."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextvars import ContextVar

Metadata = tuple[tuple[str, str | bytes], ...]
"""Metadata as gRPC gives it: pairs, lower-case keys, in order."""

REQUEST_ID = "x-request-id"
"""Metadata key of the request id, in both directions."""

TRACE_PARENT = "traceparent"
"""Metadata key of the W3C trace context."""

_LONGEST_ID = 128


class Request:
    """One request as it came in; owned by the edge.

    Attributes:
        id: the caller's request id, else a new one.
        metadata: what came with it.
        initial_metadata: what goes out before the first message.
    """

    __slots__ = ("id", "initial_metadata", "metadata")

    def __init__(self, metadata: Metadata = (), id: str = "") -> None:
        self.metadata = metadata
        self.initial_metadata: list[tuple[str, str]] = []
        self.id = id or _usable(self.header(REQUEST_ID)) or os.urandom(16).hex()

    def header(self, key: str) -> str:
        """The first text value under *key*, else empty."""
        for name, value in self.metadata:
            if name == key and isinstance(value, str):
                return value
        return ""


_request: ContextVar[Request | None] = ContextVar("predmesh_request", default=None)


def current() -> Request | None:
    """The request at hand; None outside of any."""
    return _request.get()


def enter(request: Request) -> None:
    """Make *request* the one at hand for the running task and what it starts; for the edge of a server."""
    _request.set(request)


def request_id() -> str:
    """The id of the request at hand; empty outside of any."""
    request = _request.get()
    return request.id if request is not None else ""


def header(key: str) -> str:
    """The metadata value that came with the request at hand under the lower-case *key*; empty if none did."""
    request = _request.get()
    return request.header(key) if request is not None else ""


def send_initial_metadata(key: str, value: str) -> None:
    """Let the answer carry a header; it goes out before the first message, and is dropped outside of a request."""
    request = _request.get()
    if request is not None:
        request.initial_metadata.append((key, value))


def trace_id() -> str:
    """The trace id of the request at hand, 32 hex digits; empty if none came."""
    parts = header(TRACE_PARENT).split("-")
    return parts[1] if len(parts) >= 4 and len(parts[1]) == 32 else ""


def outgoing() -> list[tuple[str, str]]:
    """What a call made on behalf of the request at hand takes with it."""
    request = _request.get()
    if request is None:
        return []
    trace = request.header(TRACE_PARENT)
    return [(REQUEST_ID, request.id), (TRACE_PARENT, trace)] if trace else [(REQUEST_ID, request.id)]


def joined(metadata: Iterable[tuple[str, str | bytes]] | None) -> Metadata:
    """The given metadata and what `outgoing` adds to it; a key that was given wins."""
    given = tuple(metadata or ())
    keys = {key for key, _ in given}
    return given + tuple(pair for pair in outgoing() if pair[0] not in keys)


def _usable(id: str) -> str:
    return id if 0 < len(id) <= _LONGEST_ID and id.isascii() and id.isprintable() else ""
