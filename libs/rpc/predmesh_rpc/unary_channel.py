"""What channels of unary calls have in common, whatever carries them: a call, its errors, its metadata."""

from __future__ import annotations

import asyncio
import base64
from abc import abstractmethod
from collections.abc import Callable, Coroutine, Generator, Mapping, Sequence
from typing import Any, Self

import grpc

from predmesh_rpc import context
from predmesh_rpc.status import DETAILS_KEY
from predmesh_rpc.tracing import client_span, injected

ATTEMPTS, BACKOFF_SECONDS = 3, 0.02
"""How often a call is made where that is safe, and the time between."""

_TRAILING = (context.REQUEST_ID, DETAILS_KEY)
_HTTP_ONLY = (
    *(":status", "content-type", "content-length", "accept-encoding"),
    *("grpc-status", "grpc-message", "grpc-accept-encoding", "grpc-encoding"),
)

Answer = tuple[dict[str, str], bytes]
"""Headers and body of a response."""


class UnaryChannel(grpc.aio.Channel):
    """Calls with one request and one answer, for generated stubs; the ids of the request at hand go along.

    A kind of channel says what goes before the headers of a method's calls, and makes a call.
    """

    def __init__(
        self, *, safe_to_retry: Sequence[str], allowed: Callable[[float | None], float | None], traced: bool = False
    ) -> None:
        self._traced = traced
        self._safe = frozenset(safe_to_retry)
        self._allowed = allowed

    @abstractmethod
    def _head(self, method: str) -> bytes:
        """What all calls of a method begin with."""

    @abstractmethod
    async def _call(self, head: bytes, payload: bytes, seconds: float | None, metadata: Any, *, safe: bool) -> Answer:
        """Make a call. Raises AioRpcError."""

    def unary_unary(
        self, method: str, request_serializer: Any = None, response_deserializer: Any = None, *_: Any, **__: Any
    ) -> Any:
        """Callable of a method with one request and one answer."""
        service = method.lstrip("/")
        safe = service in self._safe or service.partition("/")[0] in self._safe
        head = self._head(method)

        def call(request: Any, *, timeout: float | None = None, metadata: Any = None, **_: Any) -> UnaryCall:
            seconds, pairs = self._allowed(timeout), context.joined(metadata)
            answer = self._spanned(method, head, request_serializer(request), seconds, pairs, safe=safe)
            return UnaryCall(answer, response_deserializer)

        return call

    def unary_stream(self, *_: Any, **__: Any) -> Any:
        """Refused when called: streams go over gRPC."""
        return _no_streams

    stream_unary = unary_stream
    stream_stream = unary_stream

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Not offered: connections come and go with calls."""
        raise grpc.aio.UsageError("a channel of unary calls has no state to wait for")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _spanned(
        self, method: str, head: bytes, payload: bytes, seconds: float | None, metadata: Any, *, safe: bool
    ) -> Answer:
        with client_span(self._traced, method):
            return await self._call(head, payload, seconds, injected(self._traced, metadata), safe=safe)


class UnaryCall:
    """One call under way, seen as grpc.aio's unary calls are.

    Who awaits it at once carries it: a task of its own would take two more turns of a loop that may be busy.
    """

    def __init__(self, answer: Coroutine[Any, Any, Answer], parse: Callable[[bytes], Any]) -> None:
        self._answer = answer
        self._parse = parse
        self._ended: asyncio.Future[Answer] | None = None
        self._carrier: asyncio.Task[Any] | None = None
        self._later = asyncio.get_running_loop().call_soon(self._begun)

    def __await__(self) -> Generator[Any, None, Any]:
        if self._ended is not None:
            _, body = yield from asyncio.shield(self._ended)
            return self._parse(body)
        self._later.cancel()
        ended = self._ended = asyncio.get_running_loop().create_future()
        self._carrier = asyncio.current_task()
        try:
            answer = yield from self._answer.__await__()
        except Exception as error:
            ended.set_exception(error)
            ended.exception()  # so that nobody need ask for it again
            raise
        except BaseException:
            ended.cancel()
            raise
        ended.set_result(answer)
        return self._parse(answer[1])

    def cancel(self) -> bool:
        """Stop the call and the work behind it; False if it had ended."""
        return not self._begun().done() and self._carrier is not None and self._carrier.cancel()

    def cancelled(self) -> bool:
        """Whether it was stopped."""
        return self._begun().cancelled()

    def done(self) -> bool:
        """Whether it has ended."""
        return self._begun().done()

    async def initial_metadata(self) -> grpc.aio.Metadata:
        """What the servicer set for its answer."""
        error, headers = await self._outcome()
        return _initial(headers) if error is None else error.initial_metadata()

    async def trailing_metadata(self) -> grpc.aio.Metadata:
        """The request id, and the Status of an error."""
        error, headers = await self._outcome()
        return _trailing(headers) if error is None else error.trailing_metadata()

    async def code(self) -> grpc.StatusCode:
        """How it ended."""
        error, _ = await self._outcome()
        return grpc.StatusCode.OK if error is None else error.code()

    async def details(self) -> str:
        """What was said of an error."""
        error, _ = await self._outcome()
        return "" if error is None else error.details() or ""

    def _begun(self) -> asyncio.Future[Answer]:
        if self._ended is None:
            self._later.cancel()
            self._ended = self._carrier = asyncio.get_running_loop().create_task(self._answer)
        return self._ended

    async def _outcome(self) -> tuple[grpc.aio.AioRpcError | None, dict[str, str]]:
        ended = self._begun()
        await asyncio.wait([ended])
        if ended.cancelled():
            return call_error(grpc.StatusCode.CANCELLED, "the caller cancelled the call"), {}
        error = ended.exception()
        if isinstance(error, grpc.aio.AioRpcError):
            return error, {}
        return None, ended.result()[0]


def call_error(code: grpc.StatusCode, text: str, headers: Mapping[str, str] | None = None) -> grpc.aio.AioRpcError:
    """The error of a call, with what came in *headers*."""
    return grpc.aio.AioRpcError(code, _initial(headers or {}), _trailing(headers or {}), text)


def _initial(headers: Mapping[str, str]) -> grpc.aio.Metadata:
    return grpc.aio.Metadata(*(pair for pair in headers.items() if pair[0] not in (*_TRAILING, *_HTTP_ONLY)))


def _trailing(headers: Mapping[str, str]) -> grpc.aio.Metadata:
    found: list[tuple[str, str | bytes]] = []
    if id := headers.get(context.REQUEST_ID):
        found.append((context.REQUEST_ID, id))
    if details := headers.get(DETAILS_KEY):
        found.append((DETAILS_KEY, base64.b64decode(details)))
    return grpc.aio.Metadata(*found)


def _no_streams(*_: Any, **__: Any) -> Any:
    raise grpc.aio.UsageError("this channel carries unary calls; connect to the gRPC address for streams")
