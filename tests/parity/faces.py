"""The faces of the server: each says a case in its protocol, and reads what comes back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from tests.parity.golden import Case
from tests.parity.messages import Generic, Messages, OpenInference, Typed
from tests.parity.outcomes import Outcome, refused
from tests.parity.rest import REST, REST_STREAMS
from tests.parity.rows import CannotSay
from tests.parity.sockets import SOCKETS
from tests.parity.wire import CANCELLED, Reply, Shot


class Face(Protocol):
    """One way of asking the server."""

    @property
    def name(self) -> str:
        """What it is called."""
        ...

    def ask(self, case: Case) -> Shot:
        """The request that says *case*. Raises CannotSay."""
        ...

    def read(self, case: Case, reply: Reply) -> list[Outcome]:
        """What came of it: an outcome, or one a request of a stream."""
        ...


@dataclass(frozen=True)
class Rpc:
    """A face of messages, over gRPC or gRPC-Web, with one answer or a stream of them."""

    messages: Messages
    how: Literal["grpc", "web"]
    stream: bool = False

    @property
    def name(self) -> str:
        """What it is called."""
        return " ".join([self.messages.name, self.how, *(["stream"] if self.stream else [])])

    def ask(self, case: Case) -> Shot:
        """The call."""
        _check_stream(case, streams=self.stream)
        if self.stream and self.messages.row_by_row and not case.stream and len(case.rows) != 1:
            raise CannotSay("a request of the stream is a row")
        path = self.messages.path(case, stream=self.stream)
        if case.raw is not None:
            bodies = [case.raw]
        else:
            requests = [[row] for row in case.rows] if case.stream else [case.rows]
            bodies = [self.messages.asked(case, rows) for rows in requests]
            bodies = [self.messages.streamed(each) for each in bodies] if self.stream else bodies
        return Shot(self.how, path, tuple(bodies), (), self.stream, case.seconds, case.cancel_after)

    def read(self, case: Case, reply: Reply) -> list[Outcome]:
        """What came of it."""
        if reply.code is None:
            return [Outcome(oddities=(f"no gRPC answer, but HTTP {reply.status}",))]
        if reply.code == CANCELLED:
            return [Outcome("CANCELLED", None, None)]
        if reply.code:
            return [refused(reply.told, len(case.rows))]
        if not self.stream:
            return [_answered(self.messages, case, reply.bodies[0])]
        parts = [self.messages.unstreamed(case, each) for each in reply.bodies]
        return [each if isinstance(each, Outcome) else _answered(self.messages, case, each) for each in parts]


def _answered(messages: Messages, case: Case, data: bytes) -> Outcome:
    origin, rows = messages.told(case, data)
    return Outcome(rows=rows, origin=origin)


def _check_stream(case: Case, *, streams: bool) -> None:
    if case.stream and not streams:
        raise CannotSay("one answer alone")
    if streams and case.seconds is not None:
        raise CannotSay("a stream has no deadline of each request")


def faces(*contracts: bytes) -> list[Face]:
    """Every face, typed ones of the models of *contracts*; the first is what the others are held against."""
    generic, columns, typed = Generic(), Generic(columns=True), Typed(contracts)
    unary: list[Messages] = [generic, columns, typed, OpenInference(), OpenInference(raw=True)]
    for_pages: list[Messages] = [generic, columns, typed, OpenInference()]
    rows_for_pages: list[Messages] = [generic, typed]
    return [
        *(Rpc(each, "grpc") for each in unary),
        *(Rpc(each, "web") for each in for_pages),
        *REST,
        *(Rpc(each, "grpc", stream=True) for each in for_pages),
        *(Rpc(each, "web", stream=True) for each in rows_for_pages),
        *REST_STREAMS,
        *SOCKETS,
    ]
