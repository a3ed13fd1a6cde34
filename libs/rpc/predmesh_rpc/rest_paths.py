"""REST paths of methods that carry google.api.http and speak google.api.HttpBody; everything else Envoy transcodes.

Those of WebSockets are custom patterns, of the kind ``WEBSOCKET``: a verb that no HTTP client sends.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote

from google.api import annotations_pb2, http_pb2, httpbody_pb2
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pool import Default
from google.protobuf.message_factory import GetMessageClass

from predmesh_rpc.errors import InvalidInput, Violation

_BODY = httpbody_pb2.HttpBody.DESCRIPTOR.full_name
_VARIABLE = re.compile(r"\{(\w+)(?:=([^{}]+))?\}")
_VERBS = ("get", "post", "put", "patch", "delete")
WEBSOCKET = "WEBSOCKET"
"""The verb of paths that are opened as WebSockets."""
_HEAD = len("/v1")
_OPEN_INFERENCE = re.compile("/v2(/.*)?")


@dataclass(frozen=True, slots=True)
class RestPath:
    """One way to call a method over REST.

    Attributes:
        verb: the HTTP method in capitals, or WEBSOCKET.
        path: of the gRPC method, ``/package.Service/Method``.
        pattern: matches the whole REST path; its groups are fields of the request.
        message: class of the request.
        body: field of the request that takes the body; empty for none.
        error_key: where error documents of the path say their message once more, for clients of the Open Inference
            Protocol look there; empty for nowhere.
    """

    verb: str
    path: str
    pattern: re.Pattern[str]
    message: Any
    body: str
    error_key: str = ""

    def request(self, found: Mapping[str, str], query: str, content_type: str, data: bytes) -> Any:
        """The request that a call with the path's variables *found* and a body means.

        Raises:
            InvalidInput: the *query* has parameters other than fields of the path, which are ignored as in Envoy.
        """
        if query:
            self._check(query)
        request = self.message(**{name: unquote(value) for name, value in found.items()})
        if self.body:
            getattr(request, self.body).CopyFrom(httpbody_pb2.HttpBody(content_type=content_type, data=data))
        return request

    def _check(self, query: str) -> None:
        known = set(self.message.DESCRIPTOR.fields_by_name) - {self.body}
        unknown = sorted({name for name, _ in parse_qsl(query, keep_blank_values=True)} - known)
        if unknown:
            violations = [
                Violation(name, "is no query parameter of this path; what it takes is in the body") for name in unknown
            ]
            names = ", ".join(map(repr, unknown))
            raise InvalidInput(
                "ERROR_REASON_INVALID_REQUEST", f"this path takes no query parameter {names}", violations
            )


class RestPaths:
    """The REST paths of methods that answer by HttpBody."""

    def __init__(self, services: Iterable[str], *, streams: bool = False) -> None:
        """Take in *services*, by full name: their unary methods, or those that stream both ways."""
        self._by_head: dict[tuple[str, str], list[RestPath]] = {}
        for service in services:
            for method in _methods(service, streams):
                for template, path in _paths(method):
                    self._by_head.setdefault((path.verb, template[:_HEAD]), []).append(path)

    def find(self, verb: str, path: str) -> tuple[RestPath, dict[str, str]] | None:
        """What a call of *verb* to *path* means, and the path's variables; None where it means nothing."""
        for each in self._by_head.get((verb, path[:_HEAD]), ()):
            if found := each.pattern.fullmatch(path):
                return each, found.groupdict()
        return None


def _methods(service: str, streams: bool) -> Iterator[MethodDescriptor]:
    try:
        found = Default().FindServiceByName(service)  # type: ignore[no-untyped-call]
    except KeyError:
        return
    for method in found.methods:
        if method.output_type.full_name == _BODY and method.client_streaming == method.server_streaming == streams:
            yield method


def _paths(method: MethodDescriptor) -> Iterator[tuple[str, RestPath]]:
    """The ways to call *method*, each with its template."""
    rule: http_pb2.HttpRule = method.GetOptions().Extensions[annotations_pb2.http]
    for each in (rule, *rule.additional_bindings):
        kind = each.WhichOneof("pattern")
        if kind in _VERBS or each.custom.kind == WEBSOCKET:
            template = each.custom.path or getattr(each, kind)
            service = method.containing_service.full_name
            path = RestPath(
                each.custom.kind or kind.upper(),
                f"/{service}/{method.name}",
                _pattern(template),
                GetMessageClass(method.input_type),
                each.body,
                "error" if _OPEN_INFERENCE.fullmatch(template) else "",
            )
            yield template, path


def _pattern(template: str) -> re.Pattern[str]:
    """Matches what *template* does, with or without a slash at the end: `{name}`, or `{name=of/*/such/**}`."""
    head, *parts = _VARIABLE.split(template)
    found = re.escape(head)
    for name, inner, fixed in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        found += f"(?P<{name}>{_segments(inner or '*')}){re.escape(fixed)}"
    return re.compile(found + "/?")


def _segments(template: str) -> str:
    return re.escape(template).replace(r"\*\*", ".+").replace(r"\*", "[^/]+")
