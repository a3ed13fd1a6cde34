"""Whether an answer is one that a caller may get, whatever was asked."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from google.rpc import error_details_pb2, status_pb2

from tests.parity.wire import Reply, Shot

SECONDS = 5.0
"""What is not answered by then hangs."""

_OURS = {2: "UNKNOWN", 4: "DEADLINE_EXCEEDED", 13: "INTERNAL", 14: "UNAVAILABLE", 15: "DATA_LOSS"}
_REASON = re.compile("ERROR_REASON_[A-Z_]+")
_LEAKED = re.compile(
    r'Traceback|File "|\.py\b|site-packages|\bpredmesh_[a-z]+\b|\bgrpc\._|<class |object at 0x'
    r"|\b[A-Z]\w+(?:Error|Exception)\b|/(?:root|home|tmp|usr|work|var)/|\.sock\b"
)


def faults(shot: Shot, reply: Reply, seconds: float) -> Iterator[str]:
    """What is wrong with *reply*, which took *seconds*."""
    if seconds > SECONDS:
        yield f"took {seconds:.1f} s"
    if reply.code is not None:
        yield from _of_status(shot, reply)
    elif reply.status >= 500:
        yield f"HTTP {reply.status}: {reply.bodies[0][:300]!r}"
    elif reply.status >= 400 and shot.verb != "HEAD":
        yield from _of_document(shot, reply)


def _of_status(shot: Shot, reply: Reply) -> Iterator[str]:
    if not reply.code:
        return
    if reply.code in _OURS:
        yield f"{_OURS[reply.code]}: {reply.message[:300]}"
    info = error_details_pb2.ErrorInfo()
    status = status_pb2.Status.FromString(reply.details)
    if not any(detail.Unpack(info) for detail in status.details) or not _REASON.fullmatch(info.reason):
        yield f"code {reply.code} without a reason: {reply.message[:300]}"
    yield from _leaks(shot, f"{reply.message} {status}")


def _of_document(shot: Shot, reply: Reply) -> Iterator[str]:
    body = reply.bodies[0]
    try:
        document = json.loads(body)
        reasons = [each["reason"] for each in document["details"] if each["@type"].endswith("google.rpc.ErrorInfo")]
        if not (isinstance(document["code"], int) and document["message"] and len(reasons) == 1):
            yield f"HTTP {reply.status} with an incomplete document: {body[:300]!r}"
        elif not _REASON.fullmatch(reasons[0]):
            yield f"HTTP {reply.status} with the reason {reasons[0]!r}"
    except (ValueError, KeyError, TypeError) as error:
        yield f"HTTP {reply.status} without a document ({error!r}): {body[:300]!r}"
    yield from _leaks(shot, body.decode(errors="replace"))


def _leaks(shot: Shot, text: str) -> Iterator[str]:
    found = _LEAKED.search(text)
    if found and not any(found[0].encode() in each for each in (shot.path.encode(), *shot.bodies)):
        yield f"tells internals: {text[max(0, found.start() - 100) : found.end() + 100]}"
