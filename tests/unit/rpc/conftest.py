"""An echo service of all four call shapes, behind every way there is to reach a servicer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue
from predmesh_rpc.channels import connect
from predmesh_rpc.inprocess import InProcessChannel, InProcessServer
from predmesh_rpc.server import build
from predmesh_rpc.settings import ServiceSettings
from predmesh_rpc.table import Limits

SERVICE = "predmesh.test.v1.EchoService"


@dataclass
class Echo:
    """Answers every message by `behave`, which a test sets."""

    behave: Callable[[str], Awaitable[str]] | None = None
    entered: asyncio.Event = field(default_factory=asyncio.Event)
    stopped: asyncio.Event = field(default_factory=asyncio.Event)
    calls: int = 0

    async def one(self, text: str) -> StringValue:
        self.calls += 1
        self.entered.set()
        try:
            return StringValue(value=await self.behave(text) if self.behave else text)
        except asyncio.CancelledError:
            self.stopped.set()
            raise

    async def forever(self, text: str) -> str:
        await asyncio.Event().wait()
        return text

    async def Unary(self, request: StringValue, context: Any) -> StringValue:
        if request.value == "abort":
            await context.abort(grpc.StatusCode.DATA_LOSS, "gone")
        return await self.one(request.value)

    async def Up(self, requests: AsyncIterator[StringValue], context: object) -> StringValue:
        return await self.one("".join([request.value async for request in requests]))

    async def Down(self, request: StringValue, context: object) -> AsyncIterator[StringValue]:
        for letter in request.value:
            yield await self.one(letter)

    async def Both(self, requests: AsyncIterator[StringValue], context: object) -> AsyncIterator[StringValue]:
        async for request in requests:
            yield await self.one(request.value)


def add_echo(servicer: Echo, server: Any) -> None:
    """What generated code would be."""
    coding: dict[str, Any] = {
        "request_deserializer": StringValue.FromString,
        "response_serializer": StringValue.SerializeToString,
    }
    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        "Unary": grpc.unary_unary_rpc_method_handler(servicer.Unary, **coding),
        "Up": grpc.stream_unary_rpc_method_handler(servicer.Up, **coding),
        "Down": grpc.unary_stream_rpc_method_handler(servicer.Down, **coding),
        "Both": grpc.stream_stream_rpc_method_handler(servicer.Both, **coding),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    server.add_registered_method_handlers(SERVICE, handlers)


class EchoStub:
    """What generated code would be."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        coding: dict[str, Any] = {
            "request_serializer": StringValue.SerializeToString,
            "response_deserializer": StringValue.FromString,
            "_registered_method": True,
        }
        self.Unary: Any = channel.unary_unary(f"/{SERVICE}/Unary", **coding)
        self.Up: Any = channel.stream_unary(f"/{SERVICE}/Up", **coding)
        self.Down: Any = channel.unary_stream(f"/{SERVICE}/Down", **coding)
        self.Both: Any = channel.stream_stream(f"/{SERVICE}/Both", **coding)
        self.Unknown: Any = channel.unary_unary(f"/{SERVICE}/Unknown", **coding)


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
def settings(tmp_path: Path) -> ServiceSettings:
    return ServiceSettings(
        service="echo",
        instance="echo-1",
        home=tmp_path,
        address=f"unix:{tmp_path}/echo.sock",
        grace_seconds=1,
        max_message_bytes=4 * 1024 * 1024,
    )


@pytest.fixture
def opened(tmp_path: Path) -> Callable[..., contextlib.AbstractAsyncContextManager[EchoStub]]:
    """Opens a stub of an echo, by way and default deadline."""

    @contextlib.asynccontextmanager
    async def opened(way: str, echo: Echo, default_seconds: float = 5.0) -> AsyncIterator[EchoStub]:
        if way == "in-process":
            inner = InProcessServer([(add_echo, echo)], Limits(default_seconds, default_seconds))
            yield EchoStub(InProcessChannel(inner))
            await inner.stop()
            return
        address = "127.0.0.1:0" if way == "tcp" else f"unix:{tmp_path}/echo.sock"
        settings = ServiceSettings(
            address=address,
            default_deadline_seconds=default_seconds,
            stream_deadline_seconds=default_seconds,
            grace_seconds=0,
        )
        async with (
            build(settings, [(add_echo, echo)]) as server,
            connect(f"127.0.0.1:{server.port}" if server.port else address) as channel,
            connect(f"h2+unix:{tmp_path}/echo.sock") as lean,
        ):
            stub = EchoStub(channel)
            if way == "h2":  # it carries no streams
                unary = EchoStub(lean)
                stub.Unary, stub.Unknown = unary.Unary, unary.Unknown
            yield stub

    return opened


@pytest.fixture(params=["in-process", "unix", "tcp", "h2"])
async def stub(request: pytest.FixtureRequest, echo: Echo, opened: Any) -> AsyncIterator[EchoStub]:
    async with opened(request.param, echo) as stub:
        yield stub


@pytest.fixture(params=["in-process", "unix", "h2"])
async def hasty_stub(request: pytest.FixtureRequest, echo: Echo, opened: Any) -> AsyncIterator[EchoStub]:
    """A stub of a server whose default deadline is short."""
    async with opened(request.param, echo, 0.05) as stub:
        yield stub


@pytest.fixture
def echo_registration(echo: Echo) -> tuple[Any, Echo]:
    return add_echo, echo


@pytest.fixture
def stub_of() -> type[EchoStub]:
    return EchoStub
