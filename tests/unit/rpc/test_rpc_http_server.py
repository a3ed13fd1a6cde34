"""Connections of the HTTP/1.1 front: what one may cost, and how it ends."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from predmesh_rpc.http_server import HttpLimits, HttpRequest, HttpServer, header_lines, response

ASK = b"POST /x HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nhi"
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def said_back(request: HttpRequest) -> bytes:
    told = f"{request.verb} {request.target} {request.size} {request.body.decode()} {dict(request.headers).get('x-a')}"
    return response(200, b"text/plain", told.encode())


@asynccontextmanager
async def serving(
    answer: Callable[[HttpRequest], Awaitable[bytes]] = said_back, *, grace_seconds: float = 5, **limits: Any
) -> AsyncIterator[Callable[[], Awaitable[Streams]]]:
    """Gives what opens a connection."""
    server = HttpServer(answer, HttpLimits(**{"kept_bytes": 100, "most_bytes": 1000, **limits}))
    async with server.listening("127.0.0.1:0", grace_seconds=grace_seconds) as port:
        yield lambda: asyncio.open_connection("127.0.0.1", port)


async def everything(connection: Streams) -> bytes:
    """What comes until the connection ends."""
    async with asyncio.timeout(10):
        found = await connection[0].read()
    connection[1].close()
    return found


@pytest.mark.parametrize("sent", [b"", b"POST /x HT", b"POST /x HTTP/1.1\r\ncontent-length: 9\r\n\r\nhal", ASK])
async def test_a_connection_on_which_no_whole_request_comes_is_ended(sent: bytes) -> None:
    async with serving(idle_seconds=0.05) as connect:
        connection = await connect()
        connection[1].write(sent)
        assert (await everything(connection)).endswith(b"2 hi None" if sent == ASK else b"")


async def test_an_answer_takes_its_time() -> None:
    asked, ready = asyncio.Event(), asyncio.Event()

    async def slow(request: HttpRequest) -> bytes:
        if request.verb == "GET":
            asked.set()
            await ready.wait()
        return await said_back(request)

    async with serving(slow, idle_seconds=0.05) as connect:
        held, idle = await connect(), await connect()
        held[1].write(b"GET /x HTTP/1.1\r\n\r\n")
        await asked.wait()
        await everything(idle)  # has waited for as long as was allowed
        ready.set()
        assert b"GET /x" in await everything(held)


async def test_of_a_crowd_a_few_begin_in_each_turn_of_the_loop() -> None:
    turn, begun = 0, []

    def count() -> None:
        nonlocal turn
        turn += 1
        asyncio.get_running_loop().call_soon(count)

    async def answer(request: HttpRequest) -> bytes:
        begun.append(turn)
        return await said_back(request)

    async with serving(answer) as connect:
        connections = [await connect() for _ in range(40)]
        count()
        for _, writer in connections:
            writer.write(ASK)
        for reader, _ in connections:
            await reader.readuntil(b"None")
        for connection in connections:
            connection[1].close()
    assert len(begun) == 40
    assert max(begun.count(each) for each in set(begun)) <= 4


async def test_of_a_long_body_nothing_is_kept() -> None:
    async with serving() as connect:
        connection = await connect()
        connection[1].write(b"POST /x HTTP/1.1\r\nconnection: close\r\ncontent-length: 101\r\n\r\n" + b"a" * 101)
        assert (await everything(connection)).endswith(b"POST /x 101  None")


async def test_a_body_without_end_is_answered_before_it_ends() -> None:
    async with serving() as connect:
        connection = await connect()
        connection[1].write(
            b"POST /x HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n" + b"64\r\n" + b"a" * 100 + b"\r\n"
        )
        for _ in range(10):
            connection[1].write(b"64\r\n" + b"a" * 100 + b"\r\n")
        said = await everything(connection)
        assert b"connection: close\r\n" in said
        assert said.endswith(b"POST /x 1100  None")


async def test_a_head_without_end_is_refused() -> None:
    async with serving() as connect:
        connection = await connect()
        connection[1].write(b"POST /x HTTP/1.1\r\n" + b"a: b\r\n" * 20_000)
        assert (await everything(connection)).startswith(b"HTTP/1.1 431 ")


async def test_a_connection_carries_any_number_of_requests() -> None:
    ask = b"POST /x HTTP/1.1\r\na: " + b"b" * 4096 + b"\r\ncontent-length: 2\r\n\r\nhi"
    async with serving() as connect, asyncio.timeout(10):
        reader, writer = await connect()
        for _ in range(64):  # together four times what one head may have
            writer.write(ask)
            assert await reader.readuntil(b"2 hi None") == response(200, b"text/plain", b"POST /x 2 hi None")
        writer.close()


async def test_a_client_that_wants_the_end_gets_it() -> None:
    async with serving() as connect:
        connection = await connect()
        connection[1].write(ASK.replace(b"host: x", b"connection: close") + ASK)
        said = await everything(connection)
        assert said.count(b"HTTP/1.1 200") == said.count(b"connection: close") == 1


async def test_what_comes_after_a_body_is_no_header() -> None:
    async with serving() as connect:
        connection = await connect()
        head = (
            b"POST /x HTTP/1.1\r\nx-a: gateway\r\nconnection: close\r\ntransfer-encoding: chunked\r\ntrailer: x-a\r\n"
        )
        connection[1].write(head + b"\r\n2\r\nhi\r\n0\r\nx-a: client\r\n\r\n")
        assert (await everything(connection)).endswith(b"2 hi gateway")


async def test_a_fault_ends_the_connection_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(request: HttpRequest) -> bytes:
        return response(200, b"text/plain", b"", [("x", "a\r\nset-cookie: b")])

    async with serving(broken) as connect:
        connection = await connect()
        connection[1].write(ASK)
        assert await everything(connection) == b""
    assert caplog.messages == ["a request was left without an answer"]


async def test_a_client_that_takes_no_answer_is_left() -> None:
    begun = asyncio.Event()

    async def large(request: HttpRequest) -> bytes:
        begun.set()
        return response(200, b"text/plain", b"x" * 50_000_000)

    async with serving(large, idle_seconds=0.1, grace_seconds=0) as connect:
        reader, writer = await connect()
        writer.write(ASK)
        await begun.wait()
        other = await connect()
        await everything(other)  # has waited for as long as was allowed
        async with asyncio.timeout(10):
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await reader.readexactly(50_000_000)
        writer.close()


async def test_a_server_that_ends_answers_what_has_begun_to_come() -> None:
    async with asyncio.timeout(10):
        async with serving() as connect:
            idle, begun = await connect(), await connect()
            begun[1].write(ASK + ASK[:30])
            await begun[0].readuntil(b"hi None")
            finish = asyncio.create_task(everything(idle))
            finish.add_done_callback(lambda _: begun[1].write(ASK[30:]))
        assert b"connection: close" in await everything(begun)
        assert await finish == b""


@pytest.mark.parametrize("value", ["a\nb", "a\rb", "a\r\nb: c", "\u2028\u3042"])
def test_a_value_that_is_no_header_is_refused(value: str) -> None:
    with pytest.raises(ValueError):
        header_lines([("a", value)])


def test_bytes_go_in_base64() -> None:
    assert header_lines([("a", "b"), ("c-bin", b"\0\xff")]) == b"a: b\r\nc-bin: AP8=\r\n"
