"""Clients of the server of HTTP/2, and servers for them to ask."""

import asyncio
import itertools
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from h2 import events
from h2.config import H2Configuration
from h2.connection import H2Connection
from predmesh_rpc import h2_frames as wire
from predmesh_rpc.h2_serving import H2Serving
from predmesh_rpc.http_messages import HttpLimits, HttpRequest, HttpResponse
from predmesh_rpc.http_server import HttpServer
from predmesh_rpc.http_serving import Dialogue, InParts, Whole

WINDOW_BYTES = 256 * 1024
"""What a client may send of a request before the server has read it."""
LARGE = 5_000_000
"""More than a connection holds of what its client does not take."""
TEXT, GRPC = b"text/plain", b"application/grpc"
UNBOUND = {wire.INITIAL_WINDOW_SIZE: wire.LARGEST}
POST = [(":method", "POST"), (":scheme", "http"), (":authority", "mesh"), (":path", "/x")]
ASK = wire.literals(POST)
HELLO = wire.PREFACE + wire.settings_frame({})

Answer = Callable[[HttpRequest], Awaitable[HttpResponse]]


async def said_back(request: HttpRequest) -> HttpResponse:
    told = f"{request.verb} {request.target} {request.size} {request.body.decode()} {dict(request.headers).get('x-a')}"
    return HttpResponse(200, TEXT, told.encode())


async def echo(dialogue: Dialogue) -> None:
    dialogue.head(200, GRPC, [("x-a", "b"), ("c-bin", b"\0\xff")])
    async for part in dialogue.parts():
        await dialogue.send(part)
    dialogue.end([("grpc-status", "0")])


@dataclass
class Answers:
    """Answers requests whole, and those to /talk in parts."""

    whole: Answer = said_back
    parts: Callable[[Dialogue], Awaitable[None]] = echo

    def found(self, request: HttpRequest) -> Whole | InParts:
        return InParts(self.parts) if request.target == "/talk" else Whole(self.whole)


@dataclass
class Held:
    """Holds requests until it is let go, and knows what became of them."""

    begun: int = 0
    entered: asyncio.Event = field(default_factory=asyncio.Event)
    go: asyncio.Event = field(default_factory=asyncio.Event)
    stopped: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, request: HttpRequest) -> HttpResponse:
        self.begun += 1
        self.entered.set()
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.stopped.set()
            raise
        return await said_back(request)


@dataclass
class Said:
    """What came on one stream."""

    headers: dict[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)
    trailers: dict[str, str] = field(default_factory=dict)
    whole: bool = False
    code: int | None = None
    """Why it was reset."""

    @property
    def over(self) -> bool:
        return self.whole or self.code is not None


Seen = tuple[int, int, int, bytes]


class Client:
    """A connection; unless it is *raw*, what comes must please python-hyper's h2."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, raw: bool) -> None:
        self.reader, self.writer, self.raw = reader, writer, raw
        self.h2 = H2Connection(H2Configuration(header_encoding="latin-1"))
        self.said: defaultdict[int, Said] = defaultdict(Said)
        self.seen: list[Seen] = []
        """Kind, flags, stream and payload of every frame that came."""
        self.grants = True
        """Whether it takes more of an answer whenever something of it has come."""
        self.gone = False
        self._acknowledged = 0

    @property
    def last(self) -> int | None:
        """The last stream that the server takes, once it says goodbye."""
        return next((int.from_bytes(seen[3][:4]) for seen in self.seen if seen[0] == wire.GOAWAY), None)

    def kinds(self) -> list[int]:
        return [seen[0] for seen in self.seen]

    def resets(self) -> list[tuple[int, int]]:
        return [(stream, int.from_bytes(code)) for kind, _, stream, code in self.seen if kind == wire.RST_STREAM]

    def write(self, *data: bytes) -> None:
        self.writer.write(b"".join(data))

    def flush(self) -> None:
        self.writer.write(self.h2.data_to_send())

    def wants(self, **limits: int) -> None:
        self.h2.update_settings({getattr(wire, name.upper()): value for name, value in limits.items()})
        self.flush()

    def ask(self, body: bytes | None = b"hi", *headers: tuple[str, str], path: str = "/x", ends: bool = True) -> int:
        """Begin a request; gives its stream."""
        stream = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream, [*POST[:-1], (":path", path), *headers], end_stream=body is None and ends)
        if body is not None:
            self.h2.send_data(stream, body, end_stream=ends)
        self.flush()
        return stream

    async def send(self, stream: int, data: bytes, *, ends: bool = False, padding: int | None = None) -> None:
        """Send as the windows allow, unless the answer comes first."""
        padded = 0 if padding is None else padding + 1
        while data and not self.said[stream].over:
            room = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size) - padded
            if room > 0:
                part, data = data[:room], data[room:]
                self.h2.send_data(stream, part, end_stream=ends and not data, pad_length=padding)
                self.flush()
            else:
                async with asyncio.timeout(10):
                    assert await self._heard()

    async def until(self, done: Callable[[], bool]) -> None:
        """Take what comes until *done*."""
        async with asyncio.timeout(10):
            while not done():
                assert await self._heard(), "the connection was lost"

    async def answer(self, stream: int) -> Said:
        """What came on a stream when it is over."""
        await self.until(lambda: self.said[stream].over)
        return self.said[stream]

    async def body(self, stream: int) -> str:
        said = await self.answer(stream)
        assert said.code is None
        return said.body.decode()

    async def settled(self) -> None:
        """Know that the server has taken all that was sent before, and has had a turn since."""
        for _ in range(2):
            expected = self._acknowledged + 1
            if self.raw:
                self.write(wire.frame(wire.PING, 0, 0, bytes(8)))
            else:
                self.h2.ping(bytes(8))
                self.flush()
            await self.until(lambda expected=expected: self._acknowledged == expected)  # type: ignore[misc]

    async def lost(self) -> None:
        """Take what comes until the connection ends."""
        async with asyncio.timeout(10):
            while await self._heard():
                pass

    async def close(self) -> None:
        self.writer.close()
        with suppress(ConnectionError):
            await self.writer.wait_closed()

    async def _heard(self) -> bool:
        try:
            head = await self.reader.readexactly(9)
            payload = await self.reader.readexactly(int.from_bytes(head[:3]))
        except (ConnectionError, asyncio.IncompleteReadError):
            self.gone = True
            return False
        kind, flags = head[3], head[4]
        self.seen.append((kind, flags, int.from_bytes(head[5:]), payload))
        self._acknowledged += kind == wire.PING and flags == wire.ACK
        if not self.raw and kind != wire.GOAWAY:  # behind which h2 takes nothing, though answers may follow
            for event in self.h2.receive_data(head + payload):
                self._take(event)
            self.flush()
        return True

    def _take(self, event: events.Event) -> None:
        match event:
            case events.ResponseReceived():
                self.said[event.stream_id].headers = _lines(event.headers)
            case events.DataReceived():
                self.said[event.stream_id].body += event.data
                if self.grants and (size := event.flow_controlled_length):
                    self.h2.increment_flow_control_window(size)
                    if event.stream_ended is None:
                        self.h2.increment_flow_control_window(size, event.stream_id)
            case events.TrailersReceived():
                self.said[event.stream_id].trailers = _lines(event.headers)
            case events.StreamEnded():
                self.said[event.stream_id].whole = True
            case events.StreamReset():
                self.said[event.stream_id].code = int(event.error_code)


@dataclass
class Place:
    """A server that listens, and what connects to it."""

    server: HttpServer
    port: int
    clients: list[Client] = field(default_factory=list)

    async def connect(self, wanted: dict[int, int] | None = None, *, raw: bool = False, says: bytes = HELLO) -> Client:
        """A client that has begun; a raw one with what it *says*."""
        client = Client(*await asyncio.open_connection("127.0.0.1", self.port), raw=raw)
        self.clients.append(client)
        if raw:
            client.write(says)
        else:
            client.h2.initiate_connection()
            client.h2.update_settings(wanted or {})
            client.flush()
            await client.settled()
        return client

    async def asked(self, body: bytes = b"hi") -> str:
        """The answer that a new client gets."""
        client = await self.connect()
        return await client.body(client.ask(body))


@asynccontextmanager
async def serving(answers: Answers | None = None, *, grace_seconds: float = 5, **limits: Any) -> AsyncIterator[Place]:
    server = HttpServer(answers or Answers(), HttpLimits(**{"kept_bytes": 100, "most_bytes": 1000, **limits}))
    place = Place(server, await server.listen("127.0.0.1:0"))
    try:
        yield place
    finally:
        for client in place.clients:
            await client.close()
        await server.drain(grace_seconds)


class Wire:
    """A connection without a socket, so that bytes come in the pieces that a test wants, and what it says."""

    def __init__(self, answers: Answers) -> None:
        limits = HttpLimits(kept_bytes=100, most_bytes=1000)
        self.serving = H2Serving(HttpServer(answers, limits))
        self.aborted = False
        self.wrote = asyncio.Event()
        self.sent = bytearray()
        self.serving.connection_made(self)  # type: ignore[arg-type]

    def write(self, data: bytes) -> None:
        self.sent += data
        self.wrote.set()

    def abort(self) -> None:
        self.aborted = True

    close = abort

    def is_closing(self) -> bool:
        return self.aborted

    def hear(self, data: bytes, cuts: list[int]) -> None:
        """Take *data* in pieces, until there is nobody."""
        edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
        for begin, end in itertools.pairwise(edges):
            if not self.aborted:
                self.serving.data_received(data[begin:end])

    async def taken(self, client: Client, done: Callable[[], bool]) -> None:
        """Let *client* take what is said until it is *done*."""
        async with asyncio.timeout(10):
            while True:
                self.wrote.clear()
                for event in client.h2.receive_data(bytes(self.sent)):
                    client._take(event)
                self.sent.clear()
                if done():
                    return
                await self.wrote.wait()


def _lines(headers: Iterable[Any]) -> dict[str, str]:
    return dict(headers)
