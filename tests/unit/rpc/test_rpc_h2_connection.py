"""What a connection does with what a peer may send; no sockets."""

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from predmesh_rpc import h2_frames as h2
from predmesh_rpc.h2_connection import Connection, UnsentError

from tests.unit.rpc.broken_frames import ON_EITHER_SIDE

LONGEST = 100_000
HEAD = h2.request_head("/p.S/M")
SETTINGS = h2.settings_frame({})
RESPONSE = h2.literals([(":status", "200"), ("content-type", "application/grpc")])


class Wire:
    """A connection and what it has sent."""

    def __init__(self) -> None:
        self.connection = Connection(LONGEST)
        self.aborted = False
        self._sent = bytearray()
        self.connection.connection_made(self)  # type: ignore[arg-type]

    def write(self, data: bytes) -> None:
        self._sent += data

    def abort(self) -> None:
        if not self.aborted:
            asyncio.get_running_loop().call_soon(self.connection.connection_lost, None)
        self.aborted = True

    def sent(self) -> list[tuple[int, int, int, bytes]]:
        """Frames since the last time: kind, flags, stream, payload."""
        data = bytes(self._sent).removeprefix(h2.PREFACE)
        self._sent.clear()
        found = []
        while data:
            size = int.from_bytes(data[:3])
            found.append((data[3], data[4], int.from_bytes(data[5:9]), data[9 : 9 + size]))
            data = data[9 + size :]
        return found

    def data(self) -> dict[int, bytes]:
        """Bytes of each request since the last time."""
        found: dict[int, bytes] = {}
        for kind, _, stream, payload in self.sent():
            if kind == h2.DATA:
                found[stream] = found.get(stream, b"") + payload
        return found

    def resets(self) -> list[tuple[int, int]]:
        """Streams that were reset since the last time, and why."""
        return [(stream, int.from_bytes(code)) for kind, _, stream, code in self.sent() if kind == h2.RST_STREAM]

    def hear(self, *frames: bytes) -> None:
        self.connection.data_received(b"".join(frames))

    async def ask(self, message: bytes = b"question", seconds: float | None = 5) -> "asyncio.Task[Any]":
        """A call that has been sent, as far as the peer takes it."""
        expiry = None if seconds is None else asyncio.get_running_loop().time() + seconds
        call = asyncio.create_task(self.connection.exchange(HEAD, message, expiry))
        await asyncio.sleep(0)
        return call


@pytest.fixture
async def wire() -> Wire:
    """A connection whose peer has said that it wants nothing special."""
    wire = Wire()
    wire.hear(SETTINGS)
    return wire


def answer(stream: int, body: bytes = b"answer", **trailers: str) -> bytes:
    """A whole answer."""
    said = h2.literals([("grpc-status", "0"), *trailers.items()])
    return (
        h2.frame(h2.HEADERS, h2.END_HEADERS, stream, RESPONSE)
        + h2.frame(h2.DATA, 0, stream, body)
        + h2.frame(h2.HEADERS, h2.END_HEADERS | h2.END_STREAM, stream, said)
    )


async def test_it_says_what_it_wants_and_takes_what_the_peer_wants(wire: Wire) -> None:
    (kind, _, _, wanted), (grown, _, on, _), acknowledged = wire.sent()
    assert kind == h2.SETTINGS
    assert dict(h2.settings_of(wanted)) == {
        h2.ENABLE_PUSH: 0,
        h2.INITIAL_WINDOW_SIZE: h2.LARGEST,
    }
    assert (grown, on) == (h2.WINDOW_UPDATE, 0)
    assert acknowledged == (h2.SETTINGS, h2.ACK, 0, b"")


async def test_a_call_is_headers_and_data_and_gives_both_back(wire: Wire) -> None:
    wire.sent()
    call = await wire.ask()
    assert wire.sent() == [
        (h2.HEADERS, h2.END_HEADERS, 1, h2.NO_TABLE + HEAD),
        (h2.DATA, h2.END_STREAM, 1, b"question"),
    ]
    wire.hear(answer(1, k="v"))
    headers, body = await call
    assert (headers["content-type"], headers["grpc-status"], headers["k"]) == ("application/grpc", "0", "v")
    assert body == b"answer"
    assert wire.sent() == []


async def test_answers_come_in_any_order(wire: Wire) -> None:
    calls = [await wire.ask() for _ in range(3)]
    wire.hear(answer(5, b"c"), answer(1, b"a"), answer(3, b"b"))
    assert [(await call)[1] for call in calls] == [b"a", b"b", b"c"]
    assert wire.connection.calls == []


CHATTER = [
    h2.frame(h2.PING, 0, 0, bytes(8)),
    h2.frame(h2.WINDOW_UPDATE, 0, 0, (100).to_bytes(4)),
    h2.frame(h2.PRIORITY, 0, 1, bytes(5)),
    h2.frame(99, 0, 0, b"of a later version"),
    h2.settings_frame({h2.INITIAL_WINDOW_SIZE: 70_000, 99: 1}),
]


@given(st.lists(st.sampled_from(CHATTER), max_size=5), st.lists(st.integers(0), max_size=20))
@settings(deadline=None)
def test_the_answer_is_the_same_in_whatever_pieces_it_comes(chatter: list[bytes], cuts: list[int]) -> None:
    async def run() -> tuple[Any, Any]:
        wire = Wire()
        call, other = await wire.ask(), await wire.ask()
        data = b"".join((SETTINGS, *chatter, answer(3, b"x" * 50), answer(1)))
        edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
        for begin, end in itertools.pairwise(edges):
            wire.hear(data[begin:end])
        assert not wire.aborted
        return (await call)[1], (await other)[1]

    assert asyncio.run(run()) == (b"answer", b"x" * 50)


@given(st.lists(st.binary(max_size=50), max_size=5), st.booleans())
@settings(deadline=None)
def test_whatever_a_peer_sends_a_call_ends(chunks: list[bytes], settled: bool) -> None:
    async def run() -> None:
        wire = Wire()
        if settled:
            wire.hear(SETTINGS)
        call = await wire.ask(seconds=0.001)
        wire.hear(*chunks)
        await asyncio.wait([call], timeout=5)
        assert call.done()
        call.exception()

    asyncio.run(run())


BROKEN = {
    "HTTP/1.1": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "a stream not begun": answer(3),
    "a stream of the peer's": answer(2),
    "no stream": h2.frame(h2.DATA, 0, 0, b""),
    "data first": h2.frame(h2.DATA, 0, 1, b"x"),
    "headers amid": h2.frame(h2.HEADERS, h2.END_HEADERS, 1, RESPONSE) * 2,
    "a table": h2.frame(h2.HEADERS, h2.END_HEADERS, 1, b"\xbe"),
    **ON_EITHER_SIDE,
}


@pytest.mark.parametrize("frames", BROKEN.values(), ids=BROKEN)
async def test_a_peer_that_breaks_the_protocol_loses_the_connection(wire: Wire, frames: bytes) -> None:
    call = await wire.ask()
    wire.hear(frames)
    with pytest.raises(ConnectionResetError):
        await call
    assert wire.aborted and not wire.connection.usable


async def test_a_peer_says_what_it_wants_first() -> None:
    wire = Wire()
    call = await wire.ask()
    wire.hear(answer(1))
    with pytest.raises(ConnectionResetError):
        await call


async def test_pings_and_settings_are_answered(wire: Wire) -> None:
    wire.sent()
    wire.hear(h2.frame(h2.PING, 0, 0, b"12345678"), SETTINGS, h2.frame(h2.PING, h2.ACK, 0, bytes(8)))
    assert wire.sent() == [(h2.PING, h2.ACK, 0, b"12345678"), (h2.SETTINGS, h2.ACK, 0, b"")]


async def test_a_peer_that_asks_and_does_not_read_loses_the_connection(wire: Wire) -> None:
    ping = h2.frame(h2.PING, 0, 0, bytes(8))
    wire.connection.pause_writing()
    wire.hear(ping * 1000)
    assert not wire.aborted
    wire.connection.resume_writing()
    wire.hear(ping * 1000)
    wire.connection.pause_writing()
    wire.hear(ping * 1001)
    assert wire.aborted


async def test_no_more_is_sent_than_a_stream_takes() -> None:
    wire = Wire()
    wire.hear(h2.settings_frame({h2.INITIAL_WINDOW_SIZE: 3}))
    call = await wire.ask(b"0123456789")
    assert wire.data() == {1: b"012"}
    wire.hear(h2.numbered(h2.WINDOW_UPDATE, 1, 2))
    assert wire.data() == {1: b"34"}
    wire.hear(h2.settings_frame({h2.INITIAL_WINDOW_SIZE: 1}))  # two less: what it may send is then below nothing
    wire.hear(h2.numbered(h2.WINDOW_UPDATE, 1, 2))
    assert wire.data() == {}
    wire.hear(h2.settings_frame({h2.INITIAL_WINDOW_SIZE: 100}))
    assert wire.data() == {1: b"56789"}
    wire.hear(answer(1))
    await call


async def test_no_more_is_sent_than_the_connection_takes(wire: Wire) -> None:
    wire.hear(h2.settings_frame({h2.INITIAL_WINDOW_SIZE: 1 << 20}))
    calls = [await wire.ask(bytes(50_000)) for _ in range(2)]
    assert {stream: len(data) for stream, data in wire.data().items()} == {1: 50_000, 3: 15_535}
    wire.hear(h2.numbered(h2.WINDOW_UPDATE, 0, 1 << 20))
    assert {stream: len(data) for stream, data in wire.data().items()} == {3: 34_465}
    wire.hear(answer(1), answer(3))
    await asyncio.gather(*calls)


async def test_frames_are_as_long_as_the_peer_takes_them(wire: Wire) -> None:
    wire.sent()
    await wire.ask(bytes(20_000))
    wire.hear(h2.settings_frame({h2.MAX_FRAME_SIZE: 20_000}))
    await wire.ask(bytes(20_000))
    data = [(stream, len(payload), flags) for kind, flags, stream, payload in wire.sent() if kind == h2.DATA]
    assert data == [(1, 16_384, 0), (1, 3_616, h2.END_STREAM), (3, 20_000, h2.END_STREAM)]
    wire.connection.close()


async def test_no_more_calls_are_open_than_the_peer_takes(wire: Wire) -> None:
    wire.hear(h2.settings_frame({h2.MAX_CONCURRENT_STREAMS: 2}))
    calls = [await wire.ask() for _ in range(5)]
    asked = 0
    while not all(call.done() for call in calls):
        begun = list(wire.data())
        asked += len(begun)
        assert len(wire.connection.calls) <= 2
        wire.hear(*map(answer, begun))
        await asyncio.sleep(0)
    assert asked == 5


async def test_a_call_that_finds_no_room_in_time_is_late(wire: Wire) -> None:
    wire.hear(h2.settings_frame({h2.MAX_CONCURRENT_STREAMS: 0}))
    with pytest.raises(TimeoutError):
        await wire.connection.exchange(HEAD, b"", asyncio.get_running_loop().time() + 0.01)


async def test_a_call_that_waits_for_room_is_unsent_when_the_connection_ends(wire: Wire) -> None:
    wire.hear(h2.settings_frame({h2.MAX_CONCURRENT_STREAMS: 0}))
    call = await wire.ask()
    wire.connection.close()
    with pytest.raises(UnsentError):
        await call


async def test_a_cancelled_call_frees_its_stream(wire: Wire) -> None:
    call = await wire.ask()
    wire.sent()
    call.cancel()
    await asyncio.wait([call])
    assert wire.resets() == [(1, h2.CANCEL)]
    assert wire.connection.calls == []
    wire.hear(answer(1))  # it was on its way
    assert not wire.aborted


async def test_a_late_call_is_reset_and_a_peer_that_was_silent_left(wire: Wire) -> None:
    call, other = await wire.ask(seconds=0.001), await wire.ask()
    with pytest.raises(TimeoutError):
        await call
    assert (1, h2.CANCEL) in wire.resets()
    assert not wire.connection.usable
    wire.hear(answer(3))
    assert (await other)[1] == b"answer"
    assert wire.aborted


async def test_a_late_call_of_a_peer_that_talks_changes_nothing_for_others(wire: Wire) -> None:
    call = await wire.ask(seconds=0.001)
    wire.hear(h2.frame(h2.PING, 0, 0, bytes(8)))
    with pytest.raises(TimeoutError):
        await call
    assert wire.connection.usable


async def test_calls_that_the_peer_did_not_begin_before_its_goodbye_are_unsent(wire: Wire) -> None:
    first, second = await wire.ask(), await wire.ask()
    wire.hear(h2.frame(h2.GOAWAY, 0, 0, (1).to_bytes(4) + bytes(4) + b"bye"))
    with pytest.raises(UnsentError):
        await second
    with pytest.raises(UnsentError):
        await wire.connection.exchange(HEAD, b"", None)
    assert not wire.aborted
    wire.hear(answer(1))
    assert (await first)[1] == b"answer"
    assert wire.aborted


@pytest.mark.parametrize(("code", "status"), [(h2.CANCEL, "1"), (h2.ENHANCE_YOUR_CALM, "8"), (2, "13")])
async def test_a_call_that_the_peer_breaks_off_has_a_status(wire: Wire, code: int, status: str) -> None:
    call = await wire.ask()
    wire.hear(h2.numbered(h2.RST_STREAM, 1, code))
    assert (await call)[0]["grpc-status"] == status
    assert wire.connection.usable


async def test_a_call_that_the_peer_refuses_is_unsent(wire: Wire) -> None:
    call = await wire.ask()
    wire.hear(h2.numbered(h2.RST_STREAM, 1, h2.REFUSED_STREAM))
    with pytest.raises(UnsentError):
        await call


async def test_an_answer_that_is_too_long_is_reset(wire: Wire) -> None:
    call, other = await wire.ask(), await wire.ask()
    wire.sent()
    wire.hear(h2.frame(h2.HEADERS, h2.END_HEADERS, 1, RESPONSE))
    wire.hear(*[h2.frame(h2.DATA, 0, 1, bytes(h2.FRAME_BYTES))] * 8, answer(3))
    assert (await call)[0]["grpc-status"] == "8"
    assert wire.resets() == [(1, h2.CANCEL)]
    assert (await other)[1] == b"answer"


async def test_an_answer_to_half_a_request_ends_both() -> None:
    wire = Wire()
    wire.hear(h2.settings_frame({h2.INITIAL_WINDOW_SIZE: 3}))
    call = await wire.ask()
    wire.sent()
    wire.hear(h2.frame(h2.HEADERS, h2.END_HEADERS | h2.END_STREAM, 1, h2.literal("grpc-status", "8")))
    assert (await call)[0] == {"grpc-status": "8"}
    assert wire.resets() == [(1, h2.CANCEL)]
    wire.hear(h2.numbered(h2.WINDOW_UPDATE, 1, 100))
    assert wire.data() == {}


async def test_what_comes_before_the_headers_proper_is_passed_over(wire: Wire) -> None:
    call = await wire.ask()
    wire.hear(h2.frame(h2.HEADERS, h2.END_HEADERS, 1, h2.literal(":status", "103")), answer(1))
    assert (await call)[0][":status"] == "200"


async def test_the_peer_may_go_on_sending_for_ever(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire.connection, "_granted", h2.LARGEST // 2 + 3)
    call = await wire.ask()
    wire.sent()
    wire.hear(answer(1))
    await call
    (grown,) = wire.sent()
    assert grown == (h2.WINDOW_UPDATE, 0, 0, (h2.LARGEST - h2.LARGEST // 2 + 3).to_bytes(4))


async def test_the_last_number_of_a_stream_is_the_last_call(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire.connection, "_next", h2.LARGEST)
    call = await wire.ask()
    assert not wire.connection.usable
    wire.hear(answer(h2.LARGEST))
    assert (await call)[1] == b"answer"
    assert wire.aborted


@pytest.mark.parametrize("end", [Connection.close, Connection.retire], ids=["closed", "retired"])
async def test_a_connection_that_ends_takes_no_call(wire: Wire, end: Callable[[Connection], None]) -> None:
    end(wire.connection)
    with pytest.raises(UnsentError):
        await wire.connection.exchange(HEAD, b"", None)
    assert wire.aborted


@pytest.mark.parametrize(
    ("value", "kept"), [("AAE", "AAE="), ("AAE=", "AAE="), ("A", None)], ids=["bare", "whole", "none"]
)
async def test_binary_values_are_padded_and_those_that_are_none_left_out(
    wire: Wire, value: str, kept: str | None
) -> None:
    call = await wire.ask()
    trailers = h2.literals([("grpc-status", "0"), ("k-bin", value)])
    wire.hear(h2.frame(h2.HEADERS, h2.END_HEADERS | h2.END_STREAM, 1, RESPONSE + trailers))
    headers, _ = await call
    assert headers.get("k-bin") == kept
