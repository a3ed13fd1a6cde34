"""One HTTP/2 connection of a server: many requests at once, bounded in number, size and time."""

from __future__ import annotations

import asyncio
import logging
import math
from abc import abstractmethod
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from predmesh_rpc import h2_frames as h2
from predmesh_rpc.h2_frames import BrokenError, Frame
from predmesh_rpc.h2_headers import HeaderDecoder, header_block, response_block
from predmesh_rpc.h2_side import Outgoing, Side, opening
from predmesh_rpc.http_messages import ENDS_A_LINE, Headers, HttpRequest, HttpResponse
from predmesh_rpc.http_serving import InParts, Serving, Whole

_MOST_STREAMS = 1024
_MOST_TAKEN_BACK = 1000
"""Most requests that a client may take back beyond those that it lets be answered (CVE-2023-44487)."""
_WINDOW_BYTES = 256 * 1024
_MOST_UNSENT_BYTES = 64 * 1024
_MOST_UNWRITTEN_BYTES = 16 * 1024
_OPENING = opening({h2.MAX_CONCURRENT_STREAMS: _MOST_STREAMS, h2.INITIAL_WINDOW_SIZE: _WINDOW_BYTES})
_NOTHING = memoryview(b"")

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False, kw_only=True)
class _Exchange(Outgoing):
    """A request and its answer."""

    connection: H2Serving
    number: int
    request: HttpRequest
    whole: bool
    """Whether the client has sent all."""
    due: float
    """Loop time by which the request must be whole, or its answer taken."""
    room: int = _WINDOW_BYTES
    """Bytes that the client may send before it is granted more."""
    task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Answer it, unless the client has gone or taken it back."""
        self.connection.begin(self)

    @abstractmethod
    def take(self, part: bytes) -> None:
        """Take a part of the body."""

    @abstractmethod
    def complete(self) -> None:
        """Know that the body is whole."""

    @abstractmethod
    def flushed(self) -> None:
        """Know that the client has taken what was written."""

    @abstractmethod
    async def answer(self) -> None:
        """Answer it."""


@dataclass(slots=True, eq=False, kw_only=True)
class _Call(_Exchange):
    """A request that is answered once it is whole, or too long."""

    found: Whole
    came: list[bytes] = field(default_factory=list)
    arrived: bool = False

    def take(self, part: bytes) -> None:
        if self.arrived:
            return
        limits, request = self.connection.server.limits, self.request
        request.size += len(part)
        if request.size <= limits.kept_bytes:
            self.came.append(part)
        else:
            self.came.clear()
        if request.size > limits.most_bytes:
            self.complete()
        elif self.room < _WINDOW_BYTES // 2:
            self.connection.grant(self, _WINDOW_BYTES - self.room)

    def complete(self) -> None:
        if not self.arrived:
            self.arrived, self.due = True, math.inf
            self.request.body = b"".join(self.came)
            self.came.clear()
            self.connection.server.came(self)

    def flushed(self) -> None:
        pass

    async def answer(self) -> None:
        self.connection.respond(self, await self.found.answer(self.request))


@dataclass(slots=True, eq=False, kw_only=True)
class _Dialogue(_Exchange):
    """A request that is answered in parts from the moment that its head has come."""

    found: InParts
    came: deque[bytes] = field(default_factory=deque)
    read_bytes: int = 0
    """Of these the client has not been told yet."""
    heard: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when something has come, or the last of it."""
    taken: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the client has taken what was written."""

    def take(self, part: bytes) -> None:
        self.came.append(part)
        self.heard.set()

    def complete(self) -> None:
        self.heard.set()

    def flushed(self) -> None:
        self.taken.set()

    async def answer(self) -> None:
        await self.found.answer(self)

    async def parts(self) -> AsyncIterator[bytes]:
        """The body as it comes."""
        while True:
            while self.came:
                part = self.came.popleft()
                self.read_bytes += len(part)
                if self.read_bytes > _WINDOW_BYTES // 2:
                    self.connection.grant(self, self.read_bytes)
                    self.read_bytes = 0
                yield part
            if self.whole:
                return
            self.heard.clear()
            await self.heard.wait()

    def respond(self, response: HttpResponse) -> None:
        """Give the whole answer."""
        self.connection.respond(self, response)

    def head(self, status: int, kind: bytes, headers: Headers) -> None:
        """Begin the answer."""
        self.connection.write(self, self.connection.head(self, response_block(status, kind, None, headers)))

    async def send(self, part: bytes) -> None:
        """Send a part of the answer's body; waits while the client does not read."""
        self.unsent = memoryview(b"".join((self.unsent, part))) if self.unsent else memoryview(part)
        self.taken.clear()
        self.connection.write(self)
        if len(self.unsent) > _MOST_UNSENT_BYTES:
            await self.taken.wait()

    def end(self, trailers: Headers) -> None:
        """End the answer."""
        self.ending = _trailers(self.number, trailers)
        self.connection.write(self)


class H2Serving(Side[_Exchange]):
    """One client's connection. It is told goodbye when the server ends, and lives until its last answer is taken.

    Attributes:
        server: whose connection it is.
    """

    def __init__(self, server: Serving) -> None:
        super().__init__()
        self.server = server
        self._loop = asyncio.get_running_loop()
        self._decoder = HeaderDecoder()
        self._preface = h2.PREFACE
        self._last = 0
        self._leaving = False
        self._has_answered = False
        self._unwritten: list[bytes] = []
        self._unwritten_bytes = 0
        self._taken_back = 0
        self._heard = self._loop.time()
        self._pinged = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say what this side wants, unless there are too many."""
        self._transport = transport
        if self.server.opened(self):
            self._write(_OPENING)
        else:
            self.close()

    def connection_lost(self, error: Exception | None) -> None:
        """Stop what is done for the client."""
        self.server.lost(self)
        for exchange in self._streams.values():
            if exchange.task is not None:
                exchange.task.cancel()
        self._streams.clear()

    def data_received(self, data: bytes) -> None:
        """Take what the client sent, in whatever pieces."""
        self._heard, self._pinged = self._loop.time(), False
        if self._preface:
            said = data[: len(self._preface)]
            if not self._preface.startswith(said):
                self.close()
                return
            self._preface, data = self._preface[len(said) :], data[len(said) :]
        super().data_received(data)

    def pause_writing(self) -> None:
        """Read no more until the client does."""
        super().pause_writing()
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Read again."""
        super().resume_writing()
        self._transport.resume_reading()

    def watch(self, now: float) -> None:
        """Reset what is not whole, or not taken, by *now*; ask a client that is silent whether it is there."""
        for exchange in [each for each in self._streams.values() if each.due < now]:
            self._break(exchange, h2.CANCEL)
        if now - self._heard <= self.server.limits.idle_seconds:
            return
        if self._streams:
            if self._pinged:
                self.close()
            else:
                self._pinged = True
                self._write(h2.frame(h2.PING, 0, 0, bytes(8)))
        elif self._paused or self._leaving:  # nobody takes what was written
            self.close()
        else:
            self.finish()

    def finish(self) -> None:
        """Take no other request; end with the last answer."""
        self._leaving = True
        self._write(h2.frame(h2.GOAWAY, 0, 0, self._last.to_bytes(4) + bytes(4)))
        self._end_if_idle()

    def abort(self) -> None:
        """End the connection now; what was written is still sent, unless nobody takes it."""
        if self._paused:
            self._transport.abort()
        else:
            self._flush()
            self._transport.close()

    def close(self) -> None:
        """End the connection and what is done for it."""
        self._transport.abort()

    def begin(self, exchange: _Exchange) -> None:
        """Answer a request, unless the client has gone or taken it back."""
        if exchange.number in self._streams:
            exchange.task = self._loop.create_task(self._answered(exchange))

    def grant(self, exchange: _Exchange, size: int) -> None:
        """Let the client send *size* bytes more of a request."""
        exchange.room += size
        if size and not exchange.whole and exchange.number in self._streams:
            self._reply(h2.numbered(h2.WINDOW_UPDATE, exchange.number, size))

    def respond(self, exchange: _Exchange, response: HttpResponse) -> None:
        """Send a whole response; to HEAD without its body, which would end the connection (RFC 9113, 8.1.1)."""
        body, trailers = response.body, response.trailers
        length = len(body) if body and trailers is None else None
        if exchange.request.verb == "HEAD":
            body = b""
        block = response_block(response.status, response.kind, length, response.headers)
        exchange.ending = b"" if trailers is None else _trailers(exchange.number, trailers)
        exchange.unsent = memoryview(body)
        self.write(exchange, self.head(exchange, block, ends=not body and trailers is None))

    def head(self, exchange: _Exchange, block: bytes, *, ends: bool = False) -> bytes:
        """The frames of a response's header block."""
        if not self._has_answered:
            self._has_answered, block = True, h2.NO_TABLE + block
        return h2.header_frames(exchange.number, block, ends=ends)

    def write(self, exchange: _Exchange, head: bytes = b"") -> None:
        """Send what the client takes of a response, behind *head*; nothing to one that has gone."""
        number = exchange.number
        if number not in self._streams:
            return
        self._write(b"".join((head, *self._sendable(number, exchange))))
        if not exchange.unsent:
            self._sent(number, exchange)
        elif exchange.ending is not None:
            exchange.due = self._later()

    def _write(self, frames: bytes) -> None:
        """Send frames together with what else is sent in this turn of the loop.

        The answers of a batch are ready at once; to wake who reads them once costs less than to write one of them.
        """
        if not self._unwritten:
            self._loop.call_soon(self._flush)
        self._unwritten.append(frames)
        self._unwritten_bytes += len(frames)
        if self._unwritten_bytes > _MOST_UNWRITTEN_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._unwritten and not self._transport.is_closing():
            self._transport.write(b"".join(self._unwritten))
        self._unwritten.clear()
        self._unwritten_bytes = 0

    async def _answered(self, exchange: _Exchange) -> None:
        try:
            await exchange.answer()
            if exchange.ending is None and exchange.number in self._streams:
                raise RuntimeError("it has no end")
        except Exception:
            _log.exception("a request was left without an answer")
            if exchange.number in self._streams:
                self._break(exchange, h2.INTERNAL_ERROR)
        finally:
            exchange.task = None

    def _sent(self, number: int, stream: _Exchange) -> None:
        """Forget a stream that has its answer; a client that still asks need not go on."""
        stream.flushed()
        if stream.ending is None:
            return
        if not stream.whole:
            self._write(h2.numbered(h2.RST_STREAM, number, h2.NO_ERROR))
        del self._streams[number]
        self._taken_back = max(0, self._taken_back - 1)
        self._end_if_idle()

    def _break(self, exchange: _Exchange, code: int) -> None:
        self._write(h2.numbered(h2.RST_STREAM, exchange.number, code))
        self._drop(exchange)

    def _drop(self, exchange: _Exchange) -> None:
        del self._streams[exchange.number]
        if exchange.task is not None:
            exchange.task.cancel()
        self._end_if_idle()

    def _end_if_idle(self) -> None:
        if self._leaving and not self._streams:
            self._flush()
            self._transport.close()  # once what was written is taken

    def _stream(self, number: int) -> _Exchange | None:
        exchange = self._streams.get(number)
        if exchange is None and (number % 2 == 0 or number > self._last):
            raise BrokenError("a frame of a stream that was not begun")
        return exchange

    def _headers(self, frame: Frame) -> None:
        pairs, number = self._decoder.pairs(frame.payload), frame.stream
        ends = bool(frame.flags & h2.END_STREAM)
        if number > self._last:
            self._begun(number, pairs, ends=ends)
        elif (exchange := self._stream(number)) is not None:
            # What the trailers of a request say must not pass for what the gateway wrote before its body.
            if exchange.whole or not ends:
                raise BrokenError("headers amid a request")
            exchange.whole = True
            exchange.complete()

    def _begun(self, number: int, pairs: list[tuple[str, str]], *, ends: bool) -> None:
        if number % 2 == 0:
            raise BrokenError("a stream that a client cannot begin")
        self._last = number
        request = _request(pairs)
        if request is None:
            self._reply(h2.numbered(h2.RST_STREAM, number, h2.PROTOCOL_ERROR))
        elif self._leaving or len(self._streams) >= _MOST_STREAMS:
            self._reply(h2.numbered(h2.RST_STREAM, number, h2.REFUSED_STREAM))
        else:
            exchange = self._streams[number] = self._exchange(number, request, whole=ends)
            if isinstance(exchange, _Dialogue):
                self.server.came(exchange)
            elif ends:
                exchange.complete()

    def _exchange(self, number: int, request: HttpRequest, *, whole: bool) -> _Exchange:
        found = self.server.answering.found(request)
        is_call = isinstance(found, Whole)
        made: Callable[..., _Exchange] = _Call if is_call else _Dialogue
        return made(
            *(_NOTHING, self._stream_window),
            connection=self,
            number=number,
            request=request,
            whole=whole,
            due=self._later() if is_call else math.inf,
            found=found,
        )

    def _took(self, stream: _Exchange, frame: Frame) -> None:
        if stream.whole:
            raise BrokenError("data after the end of a request")
        stream.room -= frame.size
        if stream.room < 0:
            self._break(stream, h2.FLOW_CONTROL_ERROR)
            return
        stream.whole = bool(frame.flags & h2.END_STREAM)
        self.grant(stream, frame.size - len(frame.payload))  # padding, which nobody waits for
        if frame.payload:
            stream.take(frame.payload)
        if stream.whole:
            stream.complete()

    def _reset(self, stream: _Exchange, number: int, code: int) -> None:
        self._taken_back += 1
        if self._taken_back > _MOST_TAKEN_BACK:
            raise BrokenError("requests are made and taken back")
        self._drop(stream)

    def _goodbye(self, last: int) -> None:
        self._leaving = True
        self._end_if_idle()

    def _later(self) -> float:
        return self._loop.time() + self.server.limits.idle_seconds


def _request(pairs: list[tuple[str, str]]) -> HttpRequest | None:
    """The request of a header block; None where it is malformed (RFC 9113, 8.2 and 8.3)."""
    pseudo: dict[str, str] = {}
    begins = 0
    for name, value in pairs:
        if not name.startswith(":"):
            break
        begins += 1
        pseudo[name] = value
    headers = pairs[begins:]
    names, values = "".join([name for name, _ in headers]), "".join([value for _, value in pairs])
    if len(pseudo) < begins or ":" in names or names != names.lower() or ENDS_A_LINE.search(names + values):
        return None
    verb, target = pseudo.get(":method"), pseudo.get(":path")
    return HttpRequest(verb, target, headers, b"", 0) if verb and target else None


def _trailers(number: int, trailers: Headers) -> bytes:
    return h2.header_frames(number, header_block(trailers), ends=True)
