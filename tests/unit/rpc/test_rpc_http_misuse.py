"""What the server of HTTP/2 does with clients that break the protocol, or misuse it."""

import asyncio

import hpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from predmesh_rpc import h2_frames as wire
from predmesh_rpc import h2_serving

from tests.unit.rpc.broken_frames import ON_EITHER_SIDE
from tests.unit.rpc.http2_clients import (
    ASK,
    HELLO,
    POST,
    WINDOW_BYTES,
    Answers,
    Client,
    Held,
    Wire,
    serving,
)


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param(POST[:-1], id="no path"),
        pytest.param([*POST, (":path", "/y")], id="two paths"),
        pytest.param([*POST, ("a", "b"), (":method", "GET")], id="a method after headers"),
        pytest.param([*POST, ("A", "b")], id="upper case"),
        pytest.param([*POST, ("a", "b\r\nx-predmesh-scopes: admin")], id="a line break"),
        pytest.param([*POST, ("a\nb", "c")], id="a line break in a name"),
        pytest.param([*POST[:-1], (":path", "/x\0")], id="a zero in the path"),
    ],
)
async def test_a_malformed_request_is_reset(headers: list[tuple[str, str]]) -> None:
    async with serving() as place:
        client = await place.connect(raw=True)
        client.write(
            wire.header_frames(1, wire.literals(headers)),
            wire.frame(wire.DATA, wire.END_STREAM, 1, b"hi"),
            wire.header_frames(3, ASK, ends=True),
        )
        await client.until(lambda: wire.DATA in client.kinds())
        assert client.resets() == [(1, wire.PROTOCOL_ERROR)]


async def test_who_sends_more_than_was_granted_is_reset() -> None:
    held = Held()
    async with serving(Answers(held)) as place:
        client = await place.connect(raw=True)
        client.write(wire.header_frames(1, ASK, ends=True), wire.header_frames(3, ASK))
        data = wire.frame(wire.DATA, 0, 3, bytes(wire.FRAME_BYTES))
        client.write(data * (WINDOW_BYTES // wire.FRAME_BYTES))
        await client.settled()
        assert client.resets() == []
        client.write(data)
        await held.stopped.wait()
        await client.settled()
        assert client.resets() == [(3, wire.FLOW_CONTROL_ERROR)]
        held.go.set()
        await client.until(lambda: wire.DATA in client.kinds())


async def test_more_streams_than_are_allowed_are_refused() -> None:
    held = Held()
    most, streams = 1024, range(1, 2 * 1030, 2)
    async with serving(Answers(held)) as place:
        client = await place.connect(raw=True)
        client.write(*[wire.header_frames(stream, ASK, ends=True) for stream in streams])
        await client.until(lambda: len(client.resets()) == len(streams) - most)
        assert client.resets() == [(stream, wire.REFUSED_STREAM) for stream in streams[most:]]
        held.go.set()
        await client.until(lambda: client.kinds().count(wire.DATA) == most)
        assert dict(wire.settings_of(client.seen[0][3]))[wire.MAX_CONCURRENT_STREAMS] == most


async def test_what_is_taken_back_before_its_turn_is_not_begun() -> None:
    held = Held()
    async with serving(Answers(held)) as place:
        client = await place.connect(raw=True)
        streams = range(1, 41, 2)
        client.write(
            *[wire.header_frames(stream, ASK, ends=True) for stream in streams],
            *[wire.numbered(wire.RST_STREAM, stream, wire.CANCEL) for stream in streams],
        )
        await client.settled()
        assert held.begun <= 4


def taken_back(stream: int) -> bytes:
    return wire.header_frames(stream, ASK, ends=True) + wire.numbered(wire.RST_STREAM, stream, wire.CANCEL)


async def test_a_client_that_takes_back_all_it_asks_is_left() -> None:
    async with serving(Answers(Held())) as place:
        client = await place.connect(raw=True)
        client.write(*map(taken_back, range(1, 2001, 2)))
        await client.settled()
        client.write(taken_back(2001))
        await client.lost()
        assert client.kinds().count(wire.PING) == 2


async def test_a_client_that_takes_back_some_of_what_it_asks_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(h2_serving, "_MOST_TAKEN_BACK", 3)
    async with serving() as place:
        client = await place.connect(raw=True)
        for stream in range(1, 81, 4):
            client.write(taken_back(stream), wire.header_frames(stream + 2, ASK, ends=True))
            seen = client.kinds().count(wire.DATA)
            await client.until(lambda seen=seen: client.kinds().count(wire.DATA) > seen)  # type: ignore[misc]
        assert not client.gone


@pytest.mark.parametrize("pieces", [(b"GET / HTTP/1.1\r\n\r\n",), (wire.PREFACE[:10], b"GET /")], ids=["other", "late"])
async def test_who_does_not_speak_http2_is_left(pieces: tuple[bytes, ...]) -> None:
    wire_to = Wire(Answers())
    for piece in pieces:
        wire_to.serving.data_received(piece)
    assert wire_to.aborted
    async with serving() as place:
        client = await place.connect(raw=True, says=b"".join(pieces))
        await client.lost()
        assert await place.asked() == "POST /x 2 hi None"


END = wire.END_STREAM
OPEN = wire.header_frames(3, ASK)
BROKEN = {
    "headers of no stream": wire.header_frames(0, ASK),
    "headers of the server's": wire.header_frames(2, ASK),
    "an even stream further on": wire.header_frames(4, ASK),
    "headers again": wire.header_frames(1, ASK, ends=True),
    "headers amid": OPEN * 2,
    "headers that cannot be read": wire.header_frames(3, b"\x80"),
    "a table that is too large": wire.header_frames(3, b"\x3f\xe2\x1f" + ASK),
    "headers that are too large": wire.header_frames(3, wire.literal("a", "b" * wire.BLOCK_BYTES)),
    "headers that are cut off": wire.frame(wire.HEADERS, 0, 3, ASK) + wire.frame(wire.PING, 0, 0, bytes(8)),
    "a continuation of another's": wire.frame(wire.HEADERS, 0, 3, ASK) + wire.frame(wire.CONTINUATION, 4, 5, b""),
    "a continuation of nothing": wire.frame(wire.CONTINUATION, 4, 3, b""),
    "more padding than frame": wire.frame(wire.HEADERS, wire.PADDED | wire.END_HEADERS, 3, b"\xff" + ASK),
    "data of no stream": wire.frame(wire.DATA, 0, 0, b"x"),
    "data of a stream not begun": wire.frame(wire.DATA, 0, 5, b"x"),
    "data of the server's": wire.frame(wire.DATA, 0, 2, b"x"),
    "data after the end": wire.frame(wire.DATA, END, 1, b"x"),
    "a frame that is too long": b"\0\x40\x01" + bytes(6),
    "a reset of a stream not begun": wire.numbered(wire.RST_STREAM, 5, wire.CANCEL),
    "a ping of a stream": wire.frame(wire.PING, 0, 1, bytes(8)),
    "growth of a stream not begun": wire.numbered(wire.WINDOW_UPDATE, 5, 1),
    **ON_EITHER_SIDE,
}


@pytest.mark.parametrize("frames", BROKEN.values(), ids=BROKEN)
async def test_a_client_that_breaks_the_protocol_loses_its_connection_alone(frames: bytes) -> None:
    held = Held()
    async with serving(Answers(held)) as place:
        other, client = await place.connect(), await place.connect(raw=True)
        client.write(wire.header_frames(1, ASK, ends=True))
        await held.entered.wait()
        client.write(frames)
        await client.lost()
        await held.stopped.wait()
        held.go.set()
        assert await other.body(other.ask()) == "POST /x 2 hi None"


async def test_a_client_says_what_it_wants_first() -> None:
    async with serving() as place:
        client = await place.connect(raw=True, says=wire.PREFACE + wire.header_frames(1, ASK, ends=True))
        await client.lost()
        assert wire.HEADERS not in client.kinds()


async def test_what_comes_late_of_a_stream_that_is_over_changes_nothing() -> None:
    async with serving() as place:
        client = await place.connect(raw=True)
        client.write(wire.header_frames(1, ASK, ends=True))
        await client.until(lambda: wire.DATA in client.kinds())
        client.write(
            wire.header_frames(1, wire.literal("a", "b"), ends=True),
            wire.frame(wire.DATA, END, 1, b"x"),
            wire.numbered(wire.WINDOW_UPDATE, 1, 1),
            wire.numbered(wire.RST_STREAM, 1, wire.CANCEL),
        )
        await client.settled()
        assert not client.gone


STREAM = st.sampled_from([0, 1, 2, 3, 5, 7, wire.LARGEST])
BLOCK = st.sampled_from([ASK, wire.literals(POST[:-1]), hpack.Encoder().encode(POST), b"\x80"]) | st.binary(max_size=30)
FRAME = st.builds(
    wire.frame,
    st.integers(0, 10),
    st.sampled_from([0, 1, 4, 5]) | st.integers(0, 255),
    STREAM,
    st.binary(max_size=40) | st.sampled_from([bytes(3) + b"\1", bytes(8), bytes(600)]),
)
HEAD = st.builds(wire.header_frames, STREAM, BLOCK, ends=st.booleans())
GARBAGE = st.lists(st.one_of(HEAD, FRAME, st.binary(max_size=50)), max_size=12).map(b"".join)


@given(st.sampled_from([b"", wire.PREFACE, HELLO, HELLO]), GARBAGE, st.lists(st.integers(0), max_size=10))
@settings(deadline=None)
def test_whatever_comes_others_are_answered(begin: bytes, garbage: bytes, cuts: list[int]) -> None:
    async def run() -> None:
        answers = Answers()
        broken = Wire(answers)
        broken.hear(begin + garbage, cuts)
        broken.serving.watch(1e12)
        broken.serving.connection_lost(None)
        wire_to, client = Wire(answers), Client(None, None, raw=False)  # type: ignore[arg-type]
        client.grants = False
        client.h2.initiate_connection()
        client.h2.send_headers(1, POST, end_stream=True)
        wire_to.hear(client.h2.data_to_send(), cuts)
        await wire_to.taken(client, lambda: client.said[1].over)
        assert client.said[1].body == b"POST /x 0  None"

    asyncio.run(run())
