"""Channels to servers elsewhere: one name, or several addresses that take turns."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from google.protobuf.wrappers_pb2 import StringValue
from predmesh_rpc.addresses import AddressError
from predmesh_rpc.channels import connect
from predmesh_rpc.server import build
from predmesh_rpc.settings import ServiceSettings


@pytest.fixture
async def pair(echo_registration: tuple[Any, Any]) -> AsyncIterator[tuple[list[Any], str]]:
    """Two echoes and the address of both."""
    add_echo, echo = echo_registration
    echoes: list[Any] = [echo, type(echo)()]
    addresses = []
    async with AsyncExitStack() as stack:
        for echo in echoes:
            settings = ServiceSettings(address="127.0.0.1:0", grace_seconds=0)
            server = await stack.enter_async_context(build(settings, [(add_echo, echo)]))
            addresses.append(f"127.0.0.1:{server.port}")
        yield echoes, ",".join(addresses)


async def test_several_addresses_take_turns(pair: tuple[list[Any], str], stub_of: Any) -> None:
    echoes, address = pair
    async with connect(address) as channel:
        stub = stub_of(channel)
        # Turns begin once both are connected.
        while not all(echo.calls for echo in echoes):
            await stub.Unary(StringValue(value="a"), timeout=10)
        before = [echo.calls for echo in echoes]
        for _ in range(10):
            await stub.Unary(StringValue(value="a"), timeout=10)
    assert [echo.calls - calls for echo, calls in zip(echoes, before, strict=True)] == [5, 5]


@pytest.mark.parametrize("address", ["features-1:9000,features-2:9000", "127.0.0.1:1,features-2:9000"])
async def test_several_names_are_refused(address: str) -> None:
    with pytest.raises(AddressError, match="one may be a name"):
        connect(address)
