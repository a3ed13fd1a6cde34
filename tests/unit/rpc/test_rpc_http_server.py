"""The server of HTTP/2 against python-hyper's client: requests, answers, and how both end."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

import hpack
import pytest
from h2.connection import H2Connection
from hypothesis import given, settings
from hypothesis import strategies as st
from predmesh_rpc import h2_frames as wire
from predmesh_rpc.http_messages import HttpLimits, HttpRequest, HttpResponse
from predmesh_rpc.http_server import HttpServer

from tests.unit.rpc.http2_clients import (
    ASK,
    HELLO,
    LARGE,
    POST,
    TEXT,
    UNBOUND,
    WINDOW_BYTES,
    Answers,
    Client,
    Held,
    Wire,
    said_back,
    serving,
)


async def test_a_request_gets_its_answer_over_a_unix_socket(tmp_path: Path) -> None:
    server = HttpServer(Answers(), HttpLimits(kept_bytes=100, most_bytes=1000))
    await server.listen(f"unix:{tmp_path / 's'}")
    try:
        client = Client(*await asyncio.open_unix_connection(tmp_path / "s"), raw=False)
        client.h2.initiate_connection()
        said = await client.answer(client.ask(b"hi", ("x-a", "b")))
        assert said.headers == {":status": "200", "content-type": "text/plain", "content-length": "14"}
        assert said.body == b"POST /x 2 hi b"
        await client.close()
    finally:
        await server.drain(5)


async def test_head_is_told_the_length_and_gets_no_body() -> None:
    async with serving() as place:
        client = await place.connect(raw=True)
        head = [(":method", "HEAD"), *POST[1:]]
        client.write(wire.header_frames(1, wire.literals(head), ends=True), wire.header_frames(3, ASK, ends=True))
        await client.until(lambda: wire.DATA in client.kinds())
        flags, block = next((flags, block) for kind, flags, _, block in client.seen if kind == wire.HEADERS)
        assert flags & wire.END_STREAM
        length = dict(hpack.Decoder().decode(block, raw=True))[b"content-length"]
        assert length == b"%d" % len("HEAD /x 0  None")
        assert [stream for kind, _, stream, _ in client.seen if kind == wire.DATA] == [3]


@pytest.mark.parametrize(
    ("response", "headers", "trailers"),
    [
        (HttpResponse(404, TEXT, b""), {":status": "404"}, {}),
        (HttpResponse(503, TEXT, b"no", [("a", "b")]), {":status": "503", "content-length": "2", "a": "b"}, {}),
        (HttpResponse(200, TEXT, b"yes", trailers=[("t", "u")]), {":status": "200"}, {"t": "u"}),
        (
            HttpResponse(200, TEXT, b"", [("a-bin", b"\xff")], [("t", "u")]),
            {":status": "200", "a-bin": "/w=="},
            {"t": "u"},
        ),
    ],
    ids=["nothing", "a body", "trailers", "trailers alone"],
)
async def test_an_answer_is_what_was_answered(
    response: HttpResponse, headers: dict[str, str], trailers: dict[str, str]
) -> None:
    async def answer(request: HttpRequest) -> HttpResponse:
        return response

    async with serving(Answers(answer)) as place:
        client = await place.connect()
        for _ in range(2):  # the first block of a connection is another
            said = await client.answer(client.ask())
            assert said.headers == {**headers, "content-type": "text/plain"}
            assert (bytes(said.body), said.trailers) == (response.body, trailers)


async def test_of_a_crowd_a_few_begin_in_each_turn_of_the_loop() -> None:
    turn, begun = 0, []

    def count() -> None:
        nonlocal turn
        turn += 1
        asyncio.get_running_loop().call_soon(count)

    async def answer(request: HttpRequest) -> HttpResponse:
        begun.append(turn)
        return await said_back(request)

    async with serving(Answers(answer)) as place:
        clients = [await place.connect() for _ in range(10)]
        count()
        asked = [(client, client.ask()) for client in clients for _ in range(4)]
        for client, stream in asked:
            await client.answer(stream)
    assert len(begun) == 40
    assert max(begun.count(each) for each in set(begun)) <= 4


async def test_of_a_long_body_nothing_is_kept() -> None:
    async with serving() as place:
        assert await place.asked(b"a" * 100) == f"POST /x 100 {'a' * 100} None"
        assert await place.asked(b"a" * 101) == "POST /x 101  None"


async def test_a_body_without_end_is_answered_before_it_ends() -> None:
    async with serving() as place:
        client = await place.connect()
        stream = client.ask(ends=False)
        await client.send(stream, b"a" * 2 * WINDOW_BYTES)  # more than may come without being granted
        said = await client.answer(stream)
        assert said.body.startswith(b"POST /x ") and said.body.endswith(b"  None")
        assert int(said.body.split()[2]) > 1000
        await client.until(lambda: bool(client.resets()))
        assert client.resets() == [(stream, wire.NO_ERROR)]
        assert await client.body(client.ask()) == "POST /x 2 hi None"


async def test_a_large_body_comes_whole() -> None:
    async with serving(kept_bytes=LARGE, most_bytes=LARGE) as place:
        client = await place.connect()
        stream = client.ask(None, ends=False)
        await client.send(stream, b"a" * (LARGE - 1) + b"b", ends=True, padding=10)
        assert await client.body(stream) == f"POST /x {LARGE} {'a' * (LARGE - 1)}b None"


async def test_what_comes_after_a_body_is_no_header() -> None:
    async with serving() as place:
        client = await place.connect()
        stream = client.ask(b"hi", ("x-a", "gateway"), ends=False)
        client.h2.send_headers(stream, [("x-a", "client")], end_stream=True)
        client.flush()
        assert await client.body(stream) == "POST /x 2 hi gateway"


@pytest.mark.parametrize("flags", range(0, 0x40, 4), ids=hex)
async def test_a_head_comes_in_whatever_frames(flags: int) -> None:
    flags |= wire.END_STREAM
    block = ASK + wire.literals([("x-a", "b" * 40_000)])
    begin = (bytes([3]) if flags & wire.PADDED else b"") + (bytes(5) if flags & wire.PRIORITISED else b"")
    end = bytes(3) if flags & wire.PADDED else b""
    if flags & wire.END_HEADERS:
        block = ASK + wire.literals([("x-a", "b")])
        head = wire.frame(wire.HEADERS, flags, 1, begin + block + end)
    else:
        parts = [block[at : at + 9000] for at in range(100, len(block), 9000)]
        head = wire.frame(wire.HEADERS, flags, 1, begin + block[:100] + end) + b"".join(
            wire.frame(wire.CONTINUATION, wire.END_HEADERS if part is parts[-1] else 0, 1, part) for part in parts
        )
    async with serving() as place:
        client = await place.connect(raw=True)
        client.write(wire.frame(wire.PRIORITY, 0, 1, bytes(5)), head)
        await client.until(lambda: client.seen[-1:] != [] and client.seen[-1][:2] == (wire.DATA, wire.END_STREAM))
        said = b"".join(payload for kind, _, _, payload in client.seen if kind == wire.DATA).decode()
        assert said == f"POST /x 0  {'b' if flags & wire.END_HEADERS else 'b' * 40_000}"


@pytest.mark.parametrize("said", [b"", wire.PREFACE[:5], HELLO], ids=["silence", "half a preface", "hello"])
async def test_a_connection_on_which_nothing_comes_is_ended(said: bytes) -> None:
    async with serving(idle_seconds=0.05) as place:
        client = await place.connect(raw=True, says=said)
        await client.lost()
        assert client.last == 0
        assert client.kinds()[-1] == wire.GOAWAY


@pytest.mark.parametrize("body", [None, b"half"], ids=["no body", "half a body"])
async def test_a_request_that_is_never_whole_is_reset(body: bytes | None) -> None:
    async with serving(idle_seconds=0.05) as place:
        client = await place.connect()
        said = await client.answer(client.ask(body, ends=False))
        assert (said.code, said.headers) == (wire.CANCEL, {})
        await client.lost()


async def test_an_answer_takes_its_time() -> None:
    held = Held()
    async with serving(Answers(held), idle_seconds=0.05) as place:
        client = await place.connect()
        said = asyncio.create_task(client.body(client.ask()))  # answers pings, too
        await held.entered.wait()
        idle = await place.connect()
        await idle.lost()  # has waited for as long as was allowed
        held.go.set()
        assert await said == "POST /x 2 hi None"


async def test_a_client_that_is_silent_is_asked_and_left() -> None:
    held = Held()
    async with serving(Answers(held), idle_seconds=0.05) as place:
        client = await place.connect(raw=True)
        client.write(wire.header_frames(1, ASK, ends=True))
        await client.lost()
        assert (wire.PING, 0, 0, bytes(8)) in client.seen
        assert client.last is None
        await held.stopped.wait()


async def test_a_fault_resets_the_stream_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(request: HttpRequest) -> HttpResponse:
        if request.body == b"fault":
            raise RuntimeError
        return HttpResponse(200, TEXT, b"", [("x", request.body.decode())])

    async with serving(Answers(broken)) as place:
        client = await place.connect()
        faults, split, well = client.ask(b"fault"), client.ask(b"a\r\nset-cookie: b"), client.ask(b"well")
        assert (await client.answer(faults)).code == wire.INTERNAL_ERROR
        assert (await client.answer(split)).code == wire.INTERNAL_ERROR
        assert (await client.answer(well)).headers["x"] == "well"
    assert caplog.messages == ["a request was left without an answer"] * 2


async def large(request: HttpRequest) -> HttpResponse:
    return HttpResponse(200, TEXT, b"x" * LARGE * 10)


async def test_a_client_that_takes_no_more_of_an_answer_has_it_reset() -> None:
    async with serving(Answers(large), idle_seconds=0.1) as place:
        client = await place.connect()
        client.grants = False
        said = await client.answer(client.ask())
        assert (said.code, len(said.body)) == (wire.CANCEL, wire.INITIAL_WINDOW_BYTES)


async def test_a_client_that_does_not_read_is_left() -> None:
    async with serving(Answers(large), idle_seconds=0.1, grace_seconds=0) as place:
        client = await place.connect(UNBOUND)
        client.h2.increment_flow_control_window(wire.LARGEST - wire.INITIAL_WINDOW_BYTES)
        stream = client.ask()
        await client.reader.readexactly(1)  # it is being answered; from here on nobody reads
        watcher = await place.connect()
        await watcher.lost()  # has waited for as long as was allowed
        async with asyncio.timeout(10):
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await client.reader.readexactly(LARGE * 10)
        assert stream == 1


async def test_windows_that_grow_and_shrink_are_kept_to() -> None:
    async def answer(request: HttpRequest) -> HttpResponse:
        return HttpResponse(200, TEXT, bytes(range(250)) * 2000)

    async with serving(Answers(answer)) as place:
        client = await place.connect({wire.INITIAL_WINDOW_SIZE: 10})
        streams = [client.ask(), client.ask()]
        for size in (0, 5000, 20, 70_000, 1, 200_000, 3, wire.LARGEST // 2):
            client.wants(initial_window_size=size)
            await client.settled()
        for stream in streams:
            said = await client.answer(stream)
            assert said.body == bytes(range(250)) * 2000


async def test_frames_are_as_long_as_the_client_takes_them() -> None:
    async def answer(request: HttpRequest) -> HttpResponse:
        return HttpResponse(200, TEXT, bytes(50_000))

    async with serving(Answers(answer)) as place:
        client = await place.connect({wire.MAX_FRAME_SIZE: 30_000})
        await client.answer(client.ask())
        assert [len(payload) for kind, _, _, payload in client.seen if kind == wire.DATA] == [30_000, 20_000]


async def test_a_client_that_takes_its_request_back_stops_the_work() -> None:
    held = Held()
    async with serving(Answers(held)) as place:
        client = await place.connect()
        stream = client.ask()
        await held.entered.wait()
        client.h2.reset_stream(stream, wire.CANCEL)
        client.flush()
        await held.stopped.wait()
        held.go.set()
        assert await client.body(client.ask()) == "POST /x 2 hi None"


async def test_a_client_that_leaves_stops_the_work() -> None:
    held = Held()
    async with serving(Answers(held)) as place:
        client = await place.connect()
        client.ask()
        await held.entered.wait()
        await client.close()
        await held.stopped.wait()


async def test_a_server_that_ends_answers_what_has_begun_and_says_goodbye() -> None:
    held = Held()
    async with serving(Answers(held)) as place:
        idle, client = await place.connect(), await place.connect()
        whole, half = client.ask(), client.ask(b"h", ends=False)
        await held.entered.wait()
        await client.settled()
        drained = asyncio.create_task(place.server.drain(5))
        await idle.lost()
        assert idle.last == 0
        await client.until(lambda: client.last is not None)
        assert client.last == half
        late = client.ask()
        assert (await client.answer(late)).code == wire.REFUSED_STREAM
        with pytest.raises(ConnectionError):
            await place.connect()
        client.h2.send_data(half, b"i", end_stream=True)
        client.flush()
        held.go.set()
        assert await client.body(whole) == await client.body(half) == "POST /x 2 hi None"
        await client.lost()
        await drained


async def test_a_server_that_ends_waits_whoever_left_before() -> None:
    held = Held()
    async with serving(Answers(held)) as place:
        gone = await place.connect()
        await gone.close()
        client = await place.connect()
        stream = client.ask()
        await held.entered.wait()
        drained = asyncio.create_task(place.server.drain(5))
        await client.until(lambda: client.last is not None)
        held.go.set()
        assert await client.body(stream) == "POST /x 2 hi None"
        await client.lost()
        await drained


async def test_a_server_that_ends_lets_a_large_answer_be_taken() -> None:
    held = Held()

    async def answer(request: HttpRequest) -> HttpResponse:
        await held(request)
        return await large(request)

    async with serving(Answers(answer)) as place:
        client = await place.connect(UNBOUND)
        client.h2.increment_flow_control_window(wire.LARGEST - wire.INITIAL_WINDOW_BYTES)
        client.grants = False
        stream = client.ask()
        await held.entered.wait()
        drained = asyncio.create_task(place.server.drain(5))
        held.go.set()
        assert len(await client.body(stream)) == LARGE * 10
        await drained


async def test_a_server_that_ends_waits_no_longer_than_it_may() -> None:
    held = Held()
    async with serving(Answers(held)) as place:
        client = await place.connect()
        client.ask()
        await held.entered.wait()
        await place.server.drain(0)
        await client.lost()
        await held.stopped.wait()


async def test_a_client_that_says_goodbye_has_its_answers_first() -> None:
    held = Held()
    async with serving(Answers(held)) as place:
        client = await place.connect()
        stream = client.ask()
        await held.entered.wait()
        client.write(wire.frame(wire.GOAWAY, 0, 0, bytes(8)))
        await client.settled()
        held.go.set()
        assert await client.body(stream) == "POST /x 2 hi None"
        await client.lost()


@dataclass(frozen=True)
class Request:
    """What a client may ask, and how."""

    talks: bool
    parts: list[bytes]
    value: str
    trailed: bool
    padding: int | None

    def sent(self, client: H2Connection) -> int:
        stream = client.get_next_available_stream_id()
        headers = [*POST[:-1], (":path", "/talk" if self.talks else "/x"), ("x-a", self.value)]
        client.send_headers(stream, headers, end_stream=not self.parts and not self.trailed)
        for left, part in zip(reversed(range(len(self.parts))), self.parts, strict=True):
            last = not left and not self.trailed
            client.send_data(stream, part, end_stream=last, pad_length=self.padding)
        if self.trailed:
            client.send_headers(stream, [("x-a", "trailer")], end_stream=True)
        return stream

    def answer(self) -> str:
        body = b"".join(self.parts)
        return body.decode() if self.talks else f"POST /x {len(body)} {body.decode()} {self.value}"


REQUESTS = st.builds(
    Request,
    talks=st.booleans(),
    parts=st.lists(st.sampled_from([b"", b"a", b"bb", b"0123456789"]), max_size=4),
    value=st.text("abc", min_size=1, max_size=200),
    trailed=st.booleans(),
    padding=st.none() | st.integers(0, 255),
)


@given(st.lists(REQUESTS, min_size=1, max_size=8), st.lists(st.integers(0), max_size=30))
@settings(deadline=None)
def test_each_request_has_its_answer_in_whatever_pieces_it_comes(requests: list[Request], cuts: list[int]) -> None:
    async def run() -> None:
        wire_to, client = Wire(Answers()), Client(None, None, raw=False)  # type: ignore[arg-type]
        client.grants = False
        client.h2.initiate_connection()
        asked = {request.sent(client.h2): request for request in requests}
        wire_to.hear(client.h2.data_to_send(), cuts)
        await wire_to.taken(client, lambda: all(client.said[stream].over for stream in asked))
        for stream, request in asked.items():
            assert client.said[stream].body.decode() == request.answer()
        assert not wire_to.aborted

    asyncio.run(run())
