"""The lean gRPC client against grpcio's server, and against peers that misbehave."""

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue
from predmesh_rpc import h2_frames as h2
from predmesh_rpc.addresses import AddressError
from predmesh_rpc.channels import connect
from predmesh_rpc.server import build
from predmesh_rpc.settings import ServiceSettings

A = StringValue(value="a")
UNARY = "predmesh.test.v1.EchoService/Unary"
LARGE = StringValue(value="0123456789" * 300_000)
Code = grpc.StatusCode


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
def address(tmp_path: Path) -> str:
    return f"unix:{tmp_path}/echo.sock"


@pytest.fixture
async def channel(address: str, stack: AsyncExitStack) -> Any:
    return await stack.enter_async_context(connect(f"h2+{address}"))


@pytest.fixture
def stub(channel: Any, stub_of: Any) -> Any:
    return stub_of(channel)


@pytest.fixture
async def safe_stub(address: str, stack: AsyncExitStack, stub_of: Any) -> Any:
    return stub_of(await stack.enter_async_context(connect(f"h2+{address}", safe_to_retry=[UNARY])))


@pytest.fixture
def serving(address: str, echo_registration: Any) -> Callable[[], Any]:
    """Starts grpcio's server."""
    return lambda: build(ServiceSettings(address=address, grace_seconds=0), [echo_registration])


async def code_of(call: Any) -> grpc.StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    return raised.value.code()


async def test_long_messages_go_both_ways(serving: Any, stub: Any) -> None:
    async with serving():
        answers = await asyncio.gather(*(stub.Unary(LARGE, timeout=20) for _ in range(4)))
    assert answers == [LARGE] * 4


async def test_many_calls_are_open_at_once(serving: Any, stub: Any, echo: Any) -> None:
    everybody = asyncio.Event()

    async def behave(text: str) -> str:
        if echo.calls == 200:
            everybody.set()
        await everybody.wait()
        return text

    echo.behave = behave
    texts = [str(number) * number for number in range(200)]
    async with serving():
        answers = await asyncio.gather(*(stub.Unary(StringValue(value=text), timeout=20) for text in texts))
    assert [answer.value for answer in answers] == texts


async def test_a_server_that_comes_back_is_called_again(serving: Any, stub: Any) -> None:
    for _ in range(2):
        async with serving():
            assert await stub.Unary(A, timeout=5) == A


async def test_calls_go_on_while_a_server_drains(address: str, echo_registration: Any, echo: Any, stub: Any) -> None:
    leave = asyncio.Event()

    async def behave(text: str) -> str:
        await leave.wait()
        return text

    echo.behave = behave
    async with build(ServiceSettings(address=address, grace_seconds=5), [echo_registration]):
        call = asyncio.ensure_future(stub.Unary(A, timeout=5))
        await asyncio.wait_for(echo.entered.wait(), 5)
        asyncio.get_running_loop().call_soon(leave.set)
    assert await call == A


@pytest.mark.parametrize("seconds", [None, 1e9], ids=["none", "31 years"])
async def test_any_time_may_be_allowed(serving: Any, stub: Any, seconds: float | None) -> None:
    async with serving():
        assert await stub.Unary(A, timeout=seconds) == A


async def test_many_headers_arrive(serving: Any, stub: Any) -> None:
    metadata = [(f"k{number}", "v" * 100) for number in range(50)] + [("k-bin", b"\0\xff")]
    async with serving():
        assert await stub.Unary(A, metadata=metadata, timeout=5) == A


async def test_an_answer_that_is_too_long_is_told(
    serving: Any, address: str, stack: AsyncExitStack, stub_of: Any
) -> None:
    narrow = stub_of(await stack.enter_async_context(connect(f"h2+{address}", longest_message_bytes=100)))
    async with serving():
        assert await code_of(narrow.Unary(StringValue(value="a" * 101), timeout=5)) is Code.RESOURCE_EXHAUSTED
        assert await narrow.Unary(StringValue(value="a" * 90), timeout=5)


async def test_nobody_listens(stub: Any, safe_stub: Any) -> None:
    assert await code_of(stub.Unary(A, timeout=5)) is Code.UNAVAILABLE
    assert await code_of(safe_stub.Unary(A, timeout=5)) is Code.UNAVAILABLE
    assert await code_of(stub.Unary(A, timeout=0.001)) is Code.DEADLINE_EXCEEDED


async def test_calls_fail_when_the_channel_closes_and_none_begins_after(
    serving: Any, channel: Any, stub: Any, echo: Any
) -> None:
    echo.behave = echo.forever
    async with serving():
        call = stub.Unary(A, timeout=5)
        await asyncio.wait_for(echo.entered.wait(), 5)
        await channel.close()
        assert await code_of(call) is Code.UNAVAILABLE
        await asyncio.wait_for(echo.stopped.wait(), 5)
    with pytest.raises(grpc.aio.UsageError):
        await stub.Unary(A, timeout=5)


async def test_a_closing_channel_may_wait_for_its_calls(serving: Any, channel: Any, stub: Any, echo: Any) -> None:
    leave = asyncio.Event()

    async def behave(text: str) -> str:
        await leave.wait()
        return text

    echo.behave = behave
    async with serving():
        call = stub.Unary(A, timeout=5)
        await asyncio.wait_for(echo.entered.wait(), 5)
        closing = asyncio.create_task(channel.close(grace=5))
        await asyncio.sleep(0)
        leave.set()
        assert await call == A
        await closing


async def test_a_channel_tells_whether_it_is_connected(serving: Any, channel: Any) -> None:
    assert channel.get_state() is grpc.ChannelConnectivity.IDLE
    with pytest.raises(ConnectionError):
        await channel.channel_ready()
    async with serving():
        await channel.channel_ready()
        assert channel.get_state() is grpc.ChannelConnectivity.READY


async def test_streams_and_tcp_are_refused(channel: Any, stub: Any) -> None:
    with pytest.raises(grpc.aio.UsageError):
        stub.Down(A)
    with pytest.raises(AddressError, match="TCP needs no prefix"):
        connect("h2+127.0.0.1:9000")


Script = Callable[["Peer", int], bytes | None]
"""What a peer sends to a call's stream; None hangs up."""


class Peer:
    """Answers calls by a script, the last line again and again."""

    def __init__(self, *script: Script) -> None:
        self.script = list(script)
        self.connections = 0
        self.calls = 0
        self.heard = asyncio.Event()
        self._open: dict[asyncio.StreamWriter, asyncio.Task[Any] | None] = {}

    @asynccontextmanager
    async def listening(self, path: Path) -> AsyncIterator[None]:
        server = await asyncio.start_unix_server(self, path)
        yield
        server.close()
        for writer in self._open:
            writer.transport.abort()
        await asyncio.gather(*filter(None, self._open.values()), return_exceptions=True)

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._open[writer] = asyncio.current_task()
        frames = h2.Frames()
        writer.write(h2.settings_frame({}))
        await reader.readexactly(len(h2.PREFACE))
        while data := await reader.read(1 << 16):
            for frame in frames.fed(data):
                if frame.kind == h2.HEADERS:
                    self.heard.set()
                    said = self._line()(self, frame.stream)
                    if said is None:
                        writer.transport.abort()
                        return
                    writer.write(said)
        writer.close()

    def _line(self) -> Script:
        self.calls += 1
        return self.script[min(self.calls, len(self.script)) - 1]


@pytest.fixture
def peer(tmp_path: Path, stack: AsyncExitStack) -> Callable[..., Any]:
    """Serves a script."""

    async def peer(*script: Script) -> Peer:
        found = Peer(*script)
        await stack.enter_async_context(found.listening(tmp_path / "echo.sock"))
        return found

    return peer


def headers(stream: int, *pairs: tuple[str, str], flags: int = 0) -> bytes:
    return h2.frame(h2.HEADERS, h2.END_HEADERS | flags, stream, h2.literals(pairs))


def data(stream: int, body: bytes) -> bytes:
    return h2.frame(h2.DATA, 0, stream, body)


def framed(message: bytes, flag: int = 0) -> bytes:
    return bytes([flag]) + len(message).to_bytes(4) + message


BODY = framed(A.SerializeToString())


def answering(body: bytes, *trailers: tuple[str, str]) -> Script:
    return lambda _, stream: (
        headers(stream, (":status", "200"))
        + data(stream, body)
        + headers(stream, *(trailers or (("grpc-status", "0"),)), flags=h2.END_STREAM)
    )


def failing(*trailers: tuple[str, str]) -> Script:
    return lambda _, stream: headers(stream, (":status", "200"), *trailers, flags=h2.END_STREAM)


well = answering(BODY)


def dying(_: Peer, stream: int) -> bytes | None:
    return None


def silent(_: Peer, stream: int) -> bytes:
    return b""


def garbled(_: Peer, stream: int) -> bytes:
    return headers(stream, (":status", "200")) + b"\xff" * 20


def refusing(_: Peer, stream: int) -> bytes:
    return h2.numbered(h2.RST_STREAM, stream, h2.REFUSED_STREAM)


def leaving(_: Peer, stream: int) -> bytes:
    return h2.frame(h2.GOAWAY, 0, 0, bytes(8))


async def test_all_calls_share_a_connection(peer: Any, stub: Any) -> None:
    found = await peer(well)
    await asyncio.gather(*(stub.Unary(A, timeout=5) for _ in range(200)))
    assert (found.connections, found.calls) == (1, 200)


@pytest.mark.parametrize("trouble", [dying, garbled], ids=["dies", "sends garbage"])
async def test_a_call_that_may_have_begun_is_asked_again_where_that_is_safe(
    peer: Any, stub: Any, safe_stub: Any, trouble: Script
) -> None:
    found = await peer(trouble, trouble, well)
    assert await code_of(stub.Unary(A, timeout=5)) is Code.UNAVAILABLE
    assert await safe_stub.Unary(A, timeout=5) == A
    assert found.connections == 3


@pytest.mark.parametrize("trouble", [refusing, leaving], ids=["refuses", "is leaving"])
async def test_a_call_that_was_not_begun_is_asked_again_whatever_the_method(
    peer: Any, stub: Any, trouble: Script
) -> None:
    found = await peer(trouble, trouble, well)
    assert await stub.Unary(A, timeout=5) == A
    assert found.calls == 3


async def test_attempts_have_an_end(peer: Any, stub: Any, safe_stub: Any) -> None:
    found = await peer(refusing)
    assert await code_of(stub.Unary(A, timeout=5)) is Code.UNAVAILABLE
    assert await code_of(safe_stub.Unary(A, timeout=5)) is Code.UNAVAILABLE
    assert found.calls == 6


async def test_a_peer_that_says_unavailable_is_asked_again_where_that_is_safe(
    peer: Any, stub: Any, safe_stub: Any
) -> None:
    busy = failing(("grpc-status", "14"), ("grpc-message", "50%25 busy"))
    found = await peer(busy, busy, well)
    call = stub.Unary(A, timeout=5)
    assert await code_of(call) is Code.UNAVAILABLE
    assert await call.details() == "50% busy"
    assert await safe_stub.Unary(A, timeout=5) == A
    assert found.connections == 2


async def test_a_peer_that_does_not_answer_is_late_and_called_anew(peer: Any, stub: Any) -> None:
    found = await peer(well, silent, well)
    assert await stub.Unary(A, timeout=5) == A
    assert await code_of(stub.Unary(A, timeout=0.05)) is Code.DEADLINE_EXCEEDED
    assert await stub.Unary(A, timeout=5) == A
    assert found.connections == 2


async def test_a_cancelled_call_leaves_the_others_alone(peer: Any, stub: Any) -> None:
    found = await peer(silent, well)
    call = asyncio.ensure_future(stub.Unary(A, timeout=5))
    await asyncio.wait_for(found.heard.wait(), 5)
    call.cancel()
    assert await stub.Unary(A, timeout=5) == A
    assert found.connections == 1


@pytest.mark.parametrize(
    ("script", "code"),
    [
        pytest.param(answering(b""), Code.INTERNAL, id="no message"),
        pytest.param(answering(BODY * 2), Code.INTERNAL, id="two messages"),
        pytest.param(answering(BODY[:-1]), Code.INTERNAL, id="part of one"),
        pytest.param(answering(framed(b"", 1)), Code.INTERNAL, id="compressed"),
        pytest.param(answering(BODY, ("k", "v")), Code.UNKNOWN, id="no status"),
        pytest.param(answering(BODY, ("grpc-status", "x")), Code.UNKNOWN, id="status no number"),
        pytest.param(answering(BODY, ("grpc-status", "99")), Code.UNKNOWN, id="unknown status"),
        pytest.param(answering(b"", ("grpc-status", "5")), Code.NOT_FOUND, id="failed"),
        pytest.param(failing(("grpc-status", "5")), Code.NOT_FOUND, id="failed at once"),
    ],
)
async def test_an_answer_that_is_none_is_told(peer: Any, stub: Any, script: Script, code: grpc.StatusCode) -> None:
    await peer(script)
    assert await code_of(stub.Unary(A, timeout=5)) is code


async def test_details_come_as_grpc_sends_them_and_nothing_of_the_transport(peer: Any, stub: Any) -> None:
    bare = base64.b64encode(b"d").decode().rstrip("=")
    await peer(failing(("grpc-status", "5"), ("k", "v"), ("grpc-status-details-bin", bare)))
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await stub.Unary(A, timeout=5)
    assert dict(raised.value.trailing_metadata()) == {"grpc-status-details-bin": b"d"}
    assert dict(raised.value.initial_metadata()) == {"k": "v"}
