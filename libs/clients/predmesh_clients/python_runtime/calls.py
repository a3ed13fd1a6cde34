"""How a call reaches the mesh: channel, deadline, token and retries."""

from __future__ import annotations

import copy
import json
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import grpc
import grpc.aio

from .contracts import message_class
from .errors import from_call

Token = str | Callable[[], str] | None
"""What goes as `authorization: Bearer …`, or what gives it anew for each call; None sends none."""


class _Caller:
    """What both kinds of client share."""

    _SERVICE: str
    """Full name of the service."""

    def __init__(self, timeout: float, token: Token) -> None:
        self._timeout = timeout
        self._token = token

    def within(self, seconds: float) -> Self:
        """This client with another deadline; both use one channel."""
        other = copy.copy(self)
        other._timeout = seconds
        return other

    def _options(self, seconds: float | None) -> dict[str, Any]:
        token = self._token() if callable(self._token) else self._token
        metadata = () if token is None else (("authorization", f"Bearer {token}"),)
        return {"timeout": self._timeout if seconds is None else seconds, "metadata": metadata}

    def _method(self, name: str) -> tuple[str, Any, Any]:
        """Path of a method, what writes its request and what reads its response."""
        package = self._SERVICE.rpartition(".")[0]
        request, response = message_class(f"{package}.{name}Request"), message_class(f"{package}.{name}Response")
        return f"/{self._SERVICE}/{name}", request.SerializeToString, response.FromString


class Client(_Caller):
    """Calls one model's service; for threads, which may share it."""

    def __init__(
        self,
        target: str,
        *,
        token: Token = None,
        timeout: float = 1.0,
        attempts: int = 3,
        root_certificates: bytes | None = None,
    ) -> None:
        """Open a channel; it connects when it is first used.

        Args:
            target: the gateway, `https://mesh.example` or `http://127.0.0.1:8080`.
            token: sent as bearer token; a function is asked anew for each call.
            timeout: seconds that each call may take, retries included.
            attempts: how often a call is tried while the mesh is unavailable; 1 to 5.
            root_certificates: PEM of who may vouch for the gateway; by default who the system trusts.

        Raises:
            ValueError: the target is no such URL.
        """
        super().__init__(timeout, token)
        address, tls = _address(target)
        options = _channel_options(self._SERVICE, attempts)
        self._channel = (
            grpc.secure_channel(address, grpc.ssl_channel_credentials(root_certificates), options)
            if tls
            else grpc.insecure_channel(address, options)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the channel; calls under way end."""
        self._channel.close()

    def _unary(self, name: str, request: Any) -> Any:
        call: Any = self._channel.unary_unary(*self._method(name))
        try:
            return call(request, **self._options(None))
        except grpc.RpcError as error:
            raise from_call(error) from error

    def _stream(self, name: str, requests: Iterable[Any], seconds: float) -> Iterator[Any]:
        call: Any = self._channel.stream_stream(*self._method(name))
        answers = call(iter(requests), **self._options(seconds))
        try:
            yield from answers
        except grpc.RpcError as error:
            raise from_call(error) from error
        finally:
            answers.cancel()


class AsyncClient(_Caller):
    """Calls one model's service; for one event loop, in which it is made."""

    def __init__(
        self,
        target: str,
        *,
        token: Token = None,
        timeout: float = 1.0,
        attempts: int = 3,
        root_certificates: bytes | None = None,
    ) -> None:
        """Open a channel; it connects when it is first used.

        Args:
            target: the gateway, `https://mesh.example` or `http://127.0.0.1:8080`.
            token: sent as bearer token; a function is asked anew for each call.
            timeout: seconds that each call may take, retries included.
            attempts: how often a call is tried while the mesh is unavailable; 1 to 5.
            root_certificates: PEM of who may vouch for the gateway; by default who the system trusts.

        Raises:
            ValueError: the target is no such URL.
        """
        super().__init__(timeout, token)
        address, tls = _address(target)
        options = _channel_options(self._SERVICE, attempts)
        self._channel = (
            grpc.aio.secure_channel(address, grpc.ssl_channel_credentials(root_certificates), options)
            if tls
            else grpc.aio.insecure_channel(address, options)
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the channel; calls under way end."""
        await self._channel.close()

    async def _unary(self, name: str, request: Any) -> Any:
        call: Any = self._channel.unary_unary(*self._method(name))
        try:
            return await call(request, **self._options(None))
        except grpc.RpcError as error:
            raise from_call(error) from error

    async def _stream(self, name: str, requests: AsyncIterable[Any], seconds: float) -> AsyncIterator[Any]:
        call: Any = self._channel.stream_stream(*self._method(name))
        answers = call(requests, **self._options(seconds))
        try:
            async for each in answers:
                yield each
        except grpc.RpcError as error:
            raise from_call(error) from error
        finally:
            answers.cancel()


def _address(target: str) -> tuple[str, bool]:
    """Host and port of *target*, and whether it speaks TLS."""
    url = urlsplit(target)
    if url.scheme not in ("http", "https") or not url.netloc or url.path.strip("/"):
        raise ValueError(f"{target!r} is no gateway: write https://HOST[:PORT], or http://HOST[:PORT] without TLS")
    tls = url.scheme == "https"
    return (url.netloc if url.port else f"{url.netloc}:{443 if tls else 80}"), tls


def _channel_options(service: str, attempts: int) -> list[tuple[str, Any]]:
    """Retries of what is safe to retry: every method with one answer."""
    if attempts <= 1:
        return [("grpc.enable_retries", 0)]
    policy = {
        "maxAttempts": attempts,
        "initialBackoff": "0.05s",
        "maxBackoff": "1s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE"],
    }
    names = [{"service": service, "method": name} for name in ("Predict", "PredictBatch", "Explain")]
    # Retries stop while most calls fail, so that they do not multiply the trouble.
    throttling = {"maxTokens": 10, "tokenRatio": 0.1}
    config = {"methodConfig": [{"name": names, "retryPolicy": policy}], "retryThrottling": throttling}
    return [("grpc.service_config", json.dumps(config))]
