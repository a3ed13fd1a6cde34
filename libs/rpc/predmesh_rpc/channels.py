"""Channels to other services: unix socket or TCP, with the deadline and ids of the request at hand on every call."""

from __future__ import annotations

import json
import math
import re
from collections.abc import AsyncIterator, Generator, Sequence
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import grpc

from predmesh_rpc import context, deadline
from predmesh_rpc.addresses import AddressError, host_and_port, socket_path
from predmesh_rpc.h2_channel import H2Channel
from predmesh_rpc.tracing import client_interceptors
from predmesh_rpc.translate import translate

__all__ = ["Channel", "MeshChannel", "connect", "translate"]

Channel = grpc.aio.Channel
"""Any channel that a generated stub takes: one of `connect`, or an `InProcessChannel`."""

H2_SCHEME = "h2+"
"""How the address of a gRPC server begins that is called by `predmesh_rpc.h2_channel`."""

LONGEST_MESSAGE_BYTES = 256 * 1024 * 1024
"""Longest answer taken from a service of the mesh."""


def connect(
    address: str,
    *,
    safe_to_retry: Sequence[str] = (),
    longest_message_bytes: int = LONGEST_MESSAGE_BYTES,
    traced: bool = False,
) -> grpc.aio.Channel:
    """A channel to *address*, for generated stubs; ``async with`` closes it. Needs a running loop.

    It connects when first used, and again, within a second, after the peer was gone. A call takes the time that is
    left of the ambient deadline (or its own ``timeout``, if that is less), the request id and the trace context.

    Args:
        address: ``unix:/path`` or ``host:port`` of a gRPC server, or ``ip:port`` of several with commas, which take
            turns, as do the addresses that one name stands for; ``h2+unix:/path`` of any gRPC server, called by a
            client of the mesh's own, which carries unary calls alone, at a part of what grpc.aio's costs. Several of
            these with commas are processes of one service: a call goes to the least busy one that is there.
        safe_to_retry: ``package.Service/Method`` or ``package.Service``; only these are retried, on UNAVAILABLE,
            up to three attempts within the deadline.
        longest_message_bytes: longest answer taken.
        traced: whether calls make spans, for when tracing is on.

    Raises:
        AddressError: the address is none.
    """
    if address.startswith(H2_SCHEME):
        return H2Channel(
            _processes(address),
            safe_to_retry=safe_to_retry,
            allowed=allowed,
            longest_message_bytes=longest_message_bytes,
            traced=traced,
        )
    path = socket_path(address)
    target = _tcp(address) if path is None else f"unix:{path.absolute()}"
    options = _options(service_config(safe_to_retry, balanced=path is None), longest_message_bytes)
    return MeshChannel(grpc.aio.insecure_channel(target, options=options, interceptors=client_interceptors(traced)))


def _processes(addresses: str) -> list[Path]:
    """The sockets of a service's processes; a comma within a path is none between them."""
    first, *rest = re.split(r",?h2\+(?=unix:)", addresses)
    paths = [socket_path(each) for each in rest]
    if first or None in paths:
        raise AddressError(f"{addresses!r} is no unix address; {H2_SCHEME}unix:/path is one, TCP needs no prefix")
    return [path.absolute() for path in paths if path is not None]


def _tcp(address: str) -> str:
    each = address.split(",")
    hosts = [host_and_port(one)[0] for one in each]
    if len(each) == 1:
        return address
    if not all(map(_is_ipv4, hosts)):
        raise AddressError(f"of several addresses each must be ip:port, not as in {address!r}; one may be a name")
    return f"ipv4:{address}"


def _is_ipv4(host: str) -> bool:
    try:
        IPv4Address(host)
    except ValueError:
        return False
    return True


class MeshChannel(grpc.aio.Channel):
    """A channel whose calls take the ambient deadline and ids along.

    It wraps the channel's callables once a stub, for an interceptor of grpc.aio costs a task a call.
    """

    def __init__(self, inner: grpc.aio.Channel) -> None:
        self._inner = inner

    def unary_unary(self, *args: Any, **kwargs: Any) -> Any:
        """Callable of a method with one request and one answer."""
        return _Outgoing(self._inner.unary_unary(*args, **kwargs))

    def unary_stream(self, *args: Any, **kwargs: Any) -> Any:
        """Callable of a method with one request and a stream of answers."""
        return _Outgoing(self._inner.unary_stream(*args, **kwargs))

    def stream_unary(self, *args: Any, **kwargs: Any) -> Any:
        """Callable of a method with a stream of requests and one answer."""
        return _Outgoing(self._inner.stream_unary(*args, **kwargs))

    def stream_stream(self, *args: Any, **kwargs: Any) -> Any:
        """Callable of a method with a stream of requests and a stream of answers."""
        return _Outgoing(self._inner.stream_stream(*args, **kwargs))

    async def close(self, grace: float | None = None) -> None:
        """End the channel and, after *grace* seconds, its calls."""
        await self._inner.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """The state of the connection."""
        return self._inner.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Return once the state is another one."""
        await self._inner.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """Return once the peer is connected."""
        await self._inner.channel_ready()

    async def __aenter__(self) -> MeshChannel:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def allowed(timeout: float | None) -> float | None:
    """Seconds a call may take: the least of *timeout* and the ambient deadline; None if neither is set."""
    left = deadline.remaining()
    if timeout is None:
        return None if left == math.inf else left
    return min(timeout, left)


class _Outgoing:
    __slots__ = ("_inner",)

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __call__(self, *args: Any, timeout: float | None = None, metadata: Any = None, **rest: Any) -> Any:
        seconds = allowed(timeout)
        if seconds is not None and seconds <= 0:
            return _ExpiredCall()  # gRPC rounds a timeout of 0 up on the wire, and the peer would begin
        return self._inner(*args, timeout=seconds, metadata=context.joined(metadata), **rest)


class _ExpiredCall:
    """A call that was not made, because no time is left; every way to its answer raises."""

    def __init__(self) -> None:
        self._error = grpc.aio.AioRpcError(
            grpc.StatusCode.DEADLINE_EXCEEDED, grpc.aio.Metadata(), grpc.aio.Metadata(), "no time is left for the call"
        )

    def __await__(self) -> Generator[Any, None, Any]:
        raise self._error
        yield

    async def __aiter__(self) -> AsyncIterator[Any]:
        raise self._error
        yield

    async def read(self) -> Any:
        raise self._error

    async def write(self, request: Any) -> None:
        raise self._error

    async def done_writing(self) -> None:
        raise self._error

    async def code(self) -> grpc.StatusCode:
        return self._error.code()

    async def details(self) -> str:
        return self._error.details() or ""

    async def initial_metadata(self) -> grpc.aio.Metadata:
        return self._error.initial_metadata()

    async def trailing_metadata(self) -> grpc.aio.Metadata:
        return self._error.trailing_metadata()

    async def wait_for_connection(self) -> None:
        raise self._error

    def cancel(self) -> bool:
        return False

    def cancelled(self) -> bool:
        return False

    def done(self) -> bool:
        return True


def _options(config: str, longest_message_bytes: int) -> list[tuple[str, int | str]]:
    return [
        ("grpc.max_receive_message_length", longest_message_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_metadata_size", 64 * 1024),
        ("grpc.enable_http_proxy", 0),
        ("grpc.keepalive_time_ms", 20_000),
        ("grpc.keepalive_timeout_ms", 5_000),
        ("grpc.initial_reconnect_backoff_ms", 50),
        ("grpc.min_reconnect_backoff_ms", 1_000),
        ("grpc.max_reconnect_backoff_ms", 1_000),
        ("grpc.service_config", config),
    ]


def service_config(safe_to_retry: Sequence[str], *, balanced: bool = False) -> str:
    """The gRPC service config, as JSON.

    Args:
        safe_to_retry: the methods, or services, that are retried; no others are.
        balanced: whether calls go to all addresses of the server by turns, rather than to the first that answers.
    """
    config: dict[str, Any] = {"loadBalancingConfig": [{"round_robin": {}}]} if balanced else {}
    if not safe_to_retry:
        return json.dumps(config)
    policy = {
        "maxAttempts": 3,
        "initialBackoff": "0.02s",
        "maxBackoff": "0.2s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE"],
    }
    names = [dict(zip(("service", "method"), name.split("/"), strict=False)) for name in safe_to_retry]
    throttling = {"maxTokens": 100, "tokenRatio": 0.1}
    return json.dumps(
        config | {"methodConfig": [{"name": names, "retryPolicy": policy}], "retryThrottling": throttling}
    )
