"""Requests and responses of HTTP, whatever version carries them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

Headers = Sequence[tuple[str, str | bytes]]
"""Names in lower case and values, in order; bytes travel in base64, as gRPC does."""


ENDS_A_LINE = re.compile("[\0\r\n]")
"""What no name and no value may hold."""


@dataclass(slots=True)
class HttpRequest:
    """One request.

    Attributes:
        verb: the HTTP method, in capitals.
        target: path and query, as sent.
        headers: pairs in order, names in lower case; those of the head alone, no trailers.
        body: the body; empty where it was too long to keep.
        size: bytes that the body had, also where none were kept.
    """

    verb: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes
    size: int


@dataclass(slots=True)
class HttpResponse:
    """One response.

    Attributes:
        status: the HTTP status.
        kind: content type.
        body: the body; its length is told where no trailers follow.
        headers: what else goes before the body.
        trailers: what goes after it; None where nothing does.
    """

    status: int
    kind: bytes
    body: bytes
    headers: Headers = ()
    trailers: Headers | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpLimits:
    """What a connection may cost.

    Attributes:
        kept_bytes: longest body that is kept; of a longer one only the size is.
        most_bytes: longest body that is waited for; a longer one is answered at once.
        idle_seconds: time in which a request must be whole and its answer taken, and in which something must come.
    """

    kept_bytes: int
    most_bytes: int
    idle_seconds: float = 120.0
