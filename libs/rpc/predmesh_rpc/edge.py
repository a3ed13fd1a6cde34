"""The edge of every server: deadlines, ids, errors and metrics around a servicer's methods, whatever the transport."""

from __future__ import annotations

import asyncio
import logging
import math
from time import perf_counter
from types import TracebackType
from typing import Any

import grpc
from google.rpc import status_pb2
from prometheus_client import Histogram

from predmesh_rpc import context, deadline, metrics
from predmesh_rpc.errors import DeadlineExceeded, PredmeshError
from predmesh_rpc.status import NUMBERS, to_status
from predmesh_rpc.translate import translate

_log = logging.getLogger(__name__)


class Failed(Exception):
    """A call has failed; `status` is all that its caller may know."""

    def __init__(self, status: status_pb2.Status, request_id: str) -> None:
        super().__init__(status.message)
        self.status = status
        self.request_id = request_id


class Method:
    """One method as the edge sees it: what it is called, what it may take, and how it fared.

    Attributes:
        path: as on the wire, ``/package.Service/Method``.
        in_flight: calls being answered.
    """

    __slots__ = ("_by_code", "_seconds", "default_seconds", "in_flight", "labels", "path")

    def __init__(self, path: str, default_seconds: float, *, seconds: Histogram | None = None) -> None:
        _, service, method = path.rsplit("/", 2)
        self.path = path
        self.default_seconds = default_seconds
        self.in_flight = 0
        self.labels = (service, method)
        self._seconds = seconds or metrics.rpc_seconds()
        self._by_code: dict[str, Histogram] = {}

    def calls(self) -> int:
        """Calls being answered; what the gauge asks."""
        return self.in_flight

    def observe(self, code: str, seconds: float) -> None:
        """Count one call that ended with the gRPC *code*."""
        child = self._by_code.get(code)
        if child is None:
            child = self._by_code[code] = self._seconds.labels(*self.labels, code)
        child.observe(seconds)

    def call(self, metadata: context.Metadata, seconds: float | None) -> Call:
        """Guard of one call that came with *metadata* and *seconds* to live; None for the default."""
        return Call(self, metadata, self.default_seconds if seconds is None else seconds)


class Call:
    """Guard around the work of one call; every way out of it but success and cancellation is `Failed`.

    Its timer is its own, because `asyncio.timeout` costs three times as much, on every call.

    Attributes:
        request: the ambient request of the work inside.
    """

    __slots__ = ("_late", "_method", "_seconds", "_started", "_task", "_timer", "request")

    def __init__(self, method: Method, metadata: context.Metadata, seconds: float) -> None:
        self._method = method
        self._seconds = seconds
        self._started = perf_counter()
        self._late = False
        self._task: asyncio.Task[Any] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.request = context.Request(metadata)

    async def __aenter__(self) -> context.Request:
        context.enter(self.request)
        self._method.in_flight += 1
        if self._seconds <= 0:
            self._late = True
            await self.__aexit__(None, None, None)
        loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        expiry = loop.time() + self._seconds
        deadline.set_expiry(expiry)
        if expiry < math.inf:
            self._timer = loop.call_at(expiry, self._expire)
        return self.request

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._method.in_flight -= 1
        code = "OK"
        try:
            if error is None and not self._late:
                return
            outcome = self._outcome(error)
            if isinstance(outcome, grpc.aio.AbortError):
                code = "ABORT"
                return
            if not isinstance(outcome, Exception):
                code = "CANCELLED"
                return
            status = self._told(outcome)
            code = NUMBERS[status.code].name
            let_go(error)
            del trace
            raise Failed(status, self.request.id) from None
        finally:
            self._method.observe(code, perf_counter() - self._started)

    def _expire(self) -> None:
        self._late = True
        if self._task is not None:
            self._task.cancel()

    def _outcome(self, error: BaseException | None) -> BaseException | None:
        if not self._late:
            return _explained(unwrapped(error))
        if self._task is not None and self._task.uncancel() > 0:
            return error or asyncio.CancelledError()  # the caller has gone too
        return DeadlineExceeded(
            "ERROR_REASON_DEADLINE",
            f"the call did not end within its {self._seconds:.3g} seconds; allow it more, or ask for less",
            budget_seconds=f"{self._seconds:.3g}",
        )

    def _told(self, error: Exception) -> status_pb2.Status:
        if isinstance(error, grpc.RpcError):
            error = translate(error, "dependency")
        if isinstance(error, TimeoutError) and deadline.remaining() <= 0:
            error = DeadlineExceeded("ERROR_REASON_DEADLINE", "the call did not end within its time")
        if isinstance(error, PredmeshError):
            return to_status(error, self.request.id)
        _log.error("a call failed unexpectedly", exc_info=error, extra={"method": self._method.path})
        return to_status(internal(self.request.id), self.request.id)


def internal(request_id: str) -> PredmeshError:
    """What a caller is told of an unexpected error: where to look, and nothing else."""
    return PredmeshError(
        "ERROR_REASON_INTERNAL",
        "an internal error; the service's log has the rest under the request id",
        request_id=request_id,
    )


def let_go(error: BaseException | None) -> None:
    """Free the frames that *error* came through; they hold it, and until the next collection all that was asked too."""
    left = [error]
    while left:
        each = left.pop()
        if each is not None and each.__traceback__ is not None:
            each.__traceback__ = None
            left += [each.__cause__, each.__context__]
            left += each.exceptions if isinstance(each, BaseExceptionGroup) else ()


def unwrapped(error: BaseException | None) -> BaseException | None:
    """The one error to tell out of an ExceptionGroup: an unexpected one before an expected one, the first of equals."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    leaves = [leaf for leaf in map(unwrapped, error.exceptions) if leaf is not None]
    return min(leaves, key=_rank)


def _explained(error: BaseException | None) -> BaseException | None:
    """A cancellation that nobody asked of this task (a stub of a server that ends, say) is a failure like others."""
    task = asyncio.current_task()
    if isinstance(error, asyncio.CancelledError) and task is not None and not task.cancelling():
        return RuntimeError("something that the call waited for was cancelled")
    return error


def _rank(error: BaseException) -> int:
    if not isinstance(error, Exception):
        return 2
    expected = isinstance(error, PredmeshError | grpc.RpcError | grpc.aio.AbortError | TimeoutError)
    return 1 if expected else 0
