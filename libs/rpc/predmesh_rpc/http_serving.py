"""What a server of HTTP/2, its connections and who answers its requests know of each other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from predmesh_rpc.http_messages import Headers, HttpLimits, HttpRequest, HttpResponse


class Dialogue(Protocol):
    """A request and its answer, both in parts.

    Attributes:
        request: the request without its body.
    """

    request: HttpRequest

    def parts(self) -> AsyncIterator[bytes]:
        """The body as it comes; who does not read holds the client up."""
        ...

    def respond(self, response: HttpResponse) -> None:
        """Give the whole answer."""
        ...

    def head(self, status: int, kind: bytes, headers: Headers) -> None:
        """Begin the answer."""
        ...

    async def send(self, part: bytes) -> None:
        """Send a part of the answer's body; waits while the client does not read."""
        ...

    def end(self, trailers: Headers) -> None:
        """End the answer."""
        ...


@dataclass(frozen=True, slots=True)
class Whole:
    """Wants a request with all of its body."""

    answer: Callable[[HttpRequest], Awaitable[HttpResponse]]


@dataclass(frozen=True, slots=True)
class InParts:
    """Wants a request from the moment that its head has come."""

    answer: Callable[[Dialogue], Awaitable[None]]


class Answering(Protocol):
    """Who answers requests."""

    def found(self, request: HttpRequest) -> Whole | InParts:
        """What answers a request whose head has come."""
        ...


class Arrived(Protocol):
    """What waits for its turn."""

    def begin(self) -> None:
        """Answer it, unless the client has gone."""
        ...


class Connection(Protocol):
    """One client's connection."""

    def watch(self, now: float) -> None:
        """Break off what should have moved by *now*, in loop time, and has not."""
        ...

    def finish(self) -> None:
        """Take no other request; end with the last answer."""
        ...

    def abort(self) -> None:
        """End now; what was written is still sent, unless nobody takes it."""
        ...


class Serving(Protocol):
    """A server, as its connections see it.

    Attributes:
        answering: answers requests.
        limits: what a connection may cost.
    """

    answering: Answering
    limits: HttpLimits

    def opened(self, connection: Connection) -> bool:
        """Know *connection* until it is lost; False if there are too many, or the server ends."""
        ...

    def lost(self, connection: Connection) -> None:
        """Forget *connection*."""
        ...

    def came(self, arrived: Arrived) -> None:
        """Begin to answer what *arrived*, in this turn of the loop or a later one."""
        ...
