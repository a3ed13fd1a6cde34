"""Requests that are answered in parts as they come."""

import asyncio
import socket
from dataclasses import dataclass

import pytest
from predmesh_rpc import h2_frames as wire
from predmesh_rpc.http_messages import HttpResponse
from predmesh_rpc.http_serving import Dialogue

from tests.unit.rpc.http2_clients import (
    GRPC,
    LARGE,
    UNBOUND,
    WINDOW_BYTES,
    Answers,
    echo,
    serving,
)


async def test_a_dialogue_goes_in_parts() -> None:
    async with serving() as place:
        client = await place.connect()
        stream = client.ask(None, path="/talk", ends=False)
        await client.until(lambda: bool(client.said[stream].headers))
        said = client.said[stream]
        assert said.headers == {":status": "200", "content-type": "application/grpc", "x-a": "b", "c-bin": "AP8="}
        for part in (b"one", b"two", b"three"):
            await client.send(stream, part)
            await client.until(lambda part=part: said.body.endswith(part))  # type: ignore[misc]
        assert not said.over
        client.h2.end_stream(stream)
        client.flush()
        await client.answer(stream)
        assert (said.trailers, client.resets()) == ({"grpc-status": "0"}, [])


@pytest.mark.parametrize("ends", ["with its head", "with its data", "with its trailers"])
async def test_a_dialogue_may_be_whole_at_once(ends: str) -> None:
    async with serving() as place:
        client = await place.connect()
        body = None if ends == "with its head" else b"hi"
        stream = client.ask(body, path="/talk", ends=ends != "with its trailers")
        if ends == "with its trailers":
            client.h2.send_headers(stream, [("x-a", "client")], end_stream=True)
            client.flush()
        assert await client.body(stream) == (body or b"").decode()


async def test_who_does_not_read_a_dialogue_holds_the_client_up() -> None:
    entered, go, sizes = asyncio.Event(), asyncio.Event(), []

    async def slow(dialogue: Dialogue) -> None:
        entered.set()
        await go.wait()
        sizes.extend([len(part) async for part in dialogue.parts()])
        dialogue.respond(HttpResponse(200, GRPC, b"", [("grpc-status", "0")]))

    async with serving(Answers(parts=slow)) as place:
        client = await place.connect()
        stream = client.ask(None, path="/talk", ends=False)
        await entered.wait()
        await client.send(stream, bytes(WINDOW_BYTES))
        await client.settled()
        assert client.h2.local_flow_control_window(stream) == 0
        go.set()
        await client.send(stream, bytes(LARGE), ends=True)
        await client.answer(stream)
    assert sum(sizes) == WINDOW_BYTES + LARGE


async def test_padding_holds_no_client_up() -> None:
    async with serving() as place:
        client = await place.connect()
        stream = client.ask(None, path="/talk", ends=False)
        for _ in range(2 * WINDOW_BYTES // 256):
            await client.send(stream, b"x", padding=255)
        await client.send(stream, b"y", ends=True)
        assert len(await client.body(stream)) == 2 * WINDOW_BYTES // 256 + 1


@dataclass
class Talkative:
    """Sends more than anybody takes who does not read."""

    part: bytes
    parts: int
    sent: int = 0

    async def __call__(self, dialogue: Dialogue) -> None:
        dialogue.head(200, GRPC, ())
        for _ in range(self.parts):
            await dialogue.send(self.part)
            self.sent += 1
        dialogue.end([("grpc-status", "0")])


async def test_a_dialogue_waits_for_a_client_that_grants_nothing() -> None:
    talkative = Talkative(bytes(1000), 1000)
    async with serving(Answers(parts=talkative)) as place:
        client = await place.connect({wire.INITIAL_WINDOW_SIZE: 1000})
        client.grants = False
        stream = client.ask(None, path="/talk")
        await client.settled()
        assert talkative.sent <= 1 + 64 * 1024 // 1000
        client.grants = True
        client.h2.increment_flow_control_window(1000, stream)
        client.flush()
        assert len(await client.body(stream)) == 1_000_000
        assert client.said[stream].trailers == {"grpc-status": "0"}


async def test_a_dialogue_waits_for_a_client_that_reads_nothing() -> None:
    talkative = Talkative(bytes(100_000), 1000)
    async with serving(Answers(parts=talkative)) as place:
        other, client = await place.connect(), await place.connect(UNBOUND)
        client.h2.increment_flow_control_window(wire.LARGEST - wire.INITIAL_WINDOW_BYTES)
        client.grants = False
        connection: socket.socket = client.writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        stream = client.ask(None, path="/talk")
        for _ in range(50):
            await other.settled()
        assert 0 < talkative.sent < 1000
        assert len(await client.body(stream)) == 100_000_000
        assert client.said[stream].trailers == {"grpc-status": "0"}


async def test_a_dialogue_may_end_before_the_client_does() -> None:
    async def short(dialogue: Dialogue) -> None:
        dialogue.head(200, GRPC, ())
        async for part in dialogue.parts():
            await dialogue.send(part)
            break
        dialogue.end([("grpc-status", "8")])

    async with serving(Answers(parts=short)) as place:
        client = await place.connect()
        stream = client.ask(b"one", path="/talk", ends=False)
        said = await client.answer(stream)
        assert (bytes(said.body), said.trailers) == (b"one", {"grpc-status": "8"})
        await client.until(lambda: bool(client.resets()))
        assert client.resets() == [(stream, wire.NO_ERROR)]
        assert client.seen[-1][0] == wire.RST_STREAM
        assert await client.body(client.ask()) == "POST /x 2 hi None"


async def test_a_dialogue_may_be_answered_at_once() -> None:
    async def refuse(dialogue: Dialogue) -> None:
        dialogue.respond(HttpResponse(200, GRPC, b"", [("grpc-status", "12")]))

    async with serving(Answers(parts=refuse)) as place:
        client = await place.connect()
        stream = client.ask(None, path="/talk", ends=False)
        said = await client.answer(stream)
        assert (said.headers["grpc-status"], said.whole) == ("12", True)
        await client.until(lambda: client.resets() == [(stream, wire.NO_ERROR)])


@pytest.mark.parametrize("leaves", [False, True], ids=["takes it back", "leaves"])
async def test_a_dialogue_stops_when_its_client(leaves: bool) -> None:
    stopped = asyncio.Event()

    async def listen(dialogue: Dialogue) -> None:
        try:
            await echo(dialogue)
        except asyncio.CancelledError:
            stopped.set()
            raise

    async with serving(Answers(parts=listen)) as place:
        client = await place.connect()
        stream = client.ask(b"one", path="/talk", ends=False)
        await client.until(lambda: client.said[stream].body == b"one")
        if leaves:
            await client.close()
        else:
            client.h2.reset_stream(stream)
            client.flush()
        await stopped.wait()


async def test_a_fault_in_a_dialogue_resets_it(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(dialogue: Dialogue) -> None:
        dialogue.head(200, GRPC, ())
        raise RuntimeError

    async with serving(Answers(parts=broken)) as place:
        client = await place.connect()
        said = await client.answer(client.ask(None, path="/talk", ends=False))
        assert (said.code, said.headers[":status"]) == (wire.INTERNAL_ERROR, "200")
        assert await client.body(client.ask()) == "POST /x 2 hi None"
    assert caplog.messages == ["a request was left without an answer"]


async def test_one_that_is_left_without_an_end_is_reset(caplog: pytest.LogCaptureFixture) -> None:
    async def half(dialogue: Dialogue) -> None:
        dialogue.head(200, GRPC, ())

    async with serving(Answers(parts=half)) as place:
        client = await place.connect()
        said = await client.answer(client.ask(None, path="/talk", ends=False))
        assert said.code == wire.INTERNAL_ERROR
    assert caplog.messages == ["a request was left without an answer"]
