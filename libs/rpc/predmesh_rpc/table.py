"""The methods of a server by their path, as generated code hands them in; no transport yet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from google.protobuf.message import DecodeError

from predmesh_rpc.edge import Method
from predmesh_rpc.errors import InvalidInput, NotOffered, PredmeshError
from predmesh_rpc.metrics import rpc_in_flight

AddServicer = Callable[[Any, Any], None]
"""A generated ``add_XServicer_to_server``."""

Registration = tuple[AddServicer, Any]
"""A generated ``add_XServicer_to_server`` and the servicer to add."""


def add_generic_handler(handler: GenericHandler, server: Any) -> None:
    """Registers a handler that looks methods up, where generated code's ``add_XServicer_to_server`` adds a servicer."""
    server.add_generic_rpc_handlers([handler])


@dataclass(frozen=True, slots=True)
class Limits:
    """What the edge allows.

    Attributes:
        default_seconds: time of a call whose caller set no deadline.
        stream_seconds: the same, where the answer is a stream.
        message_bytes: longest request message.
    """

    default_seconds: float = 1.0
    stream_seconds: float = 3600.0
    message_bytes: int = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Entry:
    """One method: as generated code gave it (a grpc.RpcMethodHandler), and as the edge sees it."""

    handler: Any
    method: Method

    @property
    def behaviour(self) -> Callable[..., Any]:
        """The servicer's method."""
        handler = self.handler
        found: Callable[..., Any] = (
            handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
        )
        return found

    @property
    def streams(self) -> bool:
        """Whether requests or answers are a stream."""
        return bool(self.handler.request_streaming or self.handler.response_streaming)

    def read(self, message: bytes) -> Any:
        """A request.

        Raises:
            InvalidInput: it is none of the method's.
        """
        try:
            return message if self.handler.request_deserializer is None else self.handler.request_deserializer(message)
        except DecodeError:
            raise malformed() from None

    def write(self, answer: Any) -> bytes:
        """An answer as bytes."""
        write = self.handler.response_serializer
        written: bytes = answer if write is None else write(answer)
        return written


@dataclass(frozen=True, slots=True)
class CallDetails:
    """What a grpc.GenericRpcHandler is asked with."""

    method: str
    invocation_metadata: tuple[tuple[str, str | bytes], ...] = ()


class GenericHandler(Protocol):
    """Looks handlers up as calls come; a grpc.GenericRpcHandler does."""

    def service(self, handler_call_details: Any) -> Any:
        """The handler of the call, the same one each time; None if the method is not its own.

        Raises:
            PredmeshError: it would be, but for what the error says.
        """
        ...


@runtime_checkable
class Described(Protocol):
    """A generic handler that can say which services it has just now."""

    def contracts(self) -> Mapping[str, Any]:
        """The descriptor pool of each service that it has, by the service's full name."""
        ...


class Table:
    """All methods of a server; stands in for a grpc server in ``add_XServicer_to_server``."""

    def __init__(self, limits: Limits, servicers: Iterable[Registration] = ()) -> None:
        self.limits = limits
        self.services: set[str] = set()
        self._entries: dict[str, Entry] = {}
        self._generic: list[GenericHandler] = []
        self._found: dict[str, Entry] = {}
        for add_servicer, servicer in servicers:
            add_servicer(servicer, self)

    def add(self, add_servicer: AddServicer, servicer: Any, limits: Limits) -> None:
        """Take in a servicer with *limits* of its own."""
        self.limits, common = limits, self.limits
        add_servicer(servicer, self)
        self.limits = common

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """Take in the methods of one service; what newer generated code calls."""
        self.services.add(service)
        for name, handler in handlers.items():
            path = f"/{service}/{name}"
            entry = self._entries[path] = self._entry(path, handler)
            rpc_in_flight().labels(*entry.method.labels).set_function(entry.method.calls)

    def add_generic_rpc_handlers(self, handlers: Sequence[GenericHandler]) -> None:
        """Take in handlers that look methods up; generated code calls it too, with what was registered already."""
        for handler in handlers:
            methods = getattr(handler, "_method_handlers", None)
            if not isinstance(methods, dict):
                self._generic.append(handler)
                continue
            for path, found in methods.items():
                if path not in self._entries:
                    _, service, name = path.split("/")
                    self.add_registered_method_handlers(service, {name: found})

    def known(self, path: str) -> Entry | None:
        """The registered method of that path; None if there is none."""
        return self._entries.get(path)

    def contracts(self) -> dict[str, Any]:
        """The descriptor pools of the services that generic handlers have just now, by full name."""
        described = [each for each in self._generic if isinstance(each, Described)]
        return {service: pool for each in described for service, pool in each.contracts().items()}

    def looked_up(self, details: Any) -> Entry | None:
        """The method that a generic handler has for the call; None if none has.

        Raises:
            PredmeshError: why the one that would have it cannot take the call.
        """
        path = details.method
        last = self._found.pop(path, None)
        for generic in self._generic:
            handler = generic.service(details)
            if handler is not None:
                entry = last if last is not None and last.handler is handler else self._entry(path, handler)
                self._found[path] = entry
                return entry
        return None

    def _entry(self, path: str, handler: Any) -> Entry:
        limits = self.limits
        return Entry(
            handler, Method(path, limits.stream_seconds if handler.response_streaming else limits.default_seconds)
        )


def too_large(size: int, limit: int) -> InvalidInput:
    """The error of a message of *size* bytes where *limit* are allowed."""
    return InvalidInput(
        "ERROR_REASON_TOO_LARGE",
        f"the message has {size} bytes, and {limit} are allowed; send fewer rows at once",
        size_bytes=size,
        limit_bytes=limit,
    )


def malformed() -> InvalidInput:
    """The error of a message that is none of the method's type."""
    return InvalidInput(
        "ERROR_REASON_MALFORMED_BODY", "the message is not of the method's type; generate stubs from protos/"
    )


def not_offered(path: str) -> PredmeshError:
    """The error of a method that no servicer has."""
    return NotOffered("ERROR_REASON_NOT_OFFERED", f"{path} is not offered here; reflection lists what is", method=path)
