"""Triton as a model server, over gRPC and its repository folder; works around what it does not recover from itself."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import grpc
import numpy as np
from predmesh_frame import FrameError
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

from predmesh_inference.devices import choose_backend
from predmesh_inference.domain import Fault, InferenceFailed, LoadFailed, Model, ServerUnsound, Tensors, same
from predmesh_inference.oip import from_response, to_request
from predmesh_inference.repository import CANARY, Repository
from predmesh_inference.stubs import listener_pid, stubs_of
from predmesh_inference.triton_errors import fault_of, load_reason

_log = logging.getLogger(__name__)

HEAVY = frozenset({"pytorch", "torchscript", "tensorflow"})
"""Frameworks whose import stalls a stub for long, so that one loads at a time."""

CONTROL_SECONDS = 10.0
"""Time for what Triton should answer at once."""

SETTLE_SECONDS = 3.0
"""Time for Triton to notice that a stub is dead; it looks once a second."""

READY, LOADING, UNLOADING = "READY", "LOADING", "UNLOADING"


@dataclass(frozen=True, kw_only=True)
class TritonLimits:
    """How long the agent waits for Triton."""

    load_seconds: float = 60.0
    """Time for a load: one during which the stub stalls would never end."""
    unload_seconds: float = 30.0
    """Time for the requests of a model that is unloaded to end."""


class TritonServer:
    """One Triton; its repository belongs to this object alone."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        address: str,
        repository: Repository,
        limits: TritonLimits,
        native_backends: Collection[str] = (),
    ) -> None:
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        self._address = address
        self._repository = repository
        self._limits = limits
        self._native = native_backends
        self._heavy = asyncio.Lock()
        self._sound = asyncio.Lock()

    async def start(self) -> None:
        """Check a fresh server with the canary; a server that passed before is not asked again."""
        async with self._sound:
            if not await self._state(CANARY):
                await asyncio.to_thread(self._repository.write_canary)
                await self._check_canary()

    async def load(self, model: Model) -> None:
        """Write the model's folder and have Triton load it; free Triton where the load stalls."""
        await self.start()
        await self._free(model.name)
        backend = choose_backend(model.inference, self._native)
        await asyncio.to_thread(self._repository.write, model, backend)
        try:
            async with self._turn(model):
                await self._load(model.name, self._limits.load_seconds)
        except (LoadFailed, InferenceFailed):
            if await self._settled(model.name, {LOADING}, SETTLE_SECONDS):
                await self._discard(model.name)
            raise

    async def reload(self, model: Model) -> None:
        """Kill what is left of the model's processes, then unload and load it."""
        await self._kill_stubs(model.name)
        # Not waited for: after a request to a dead stub the unload never ends, and the load comes through beside it.
        await self._begin_unload(model.name)
        await self.load(model)

    async def unload(self, name: str) -> None:
        """Unload a model and take it out of the repository."""
        await self._unload(name)
        await asyncio.to_thread(self._repository.remove, name)

    async def retain(self, names: Sequence[str]) -> None:
        """Unload what an earlier agent left behind."""
        for name in set(await asyncio.to_thread(self._repository.names)) - set(names):
            _log.info("a model was left behind", extra={"model": name})
            await self.unload(name)

    async def infer(self, name: str, tensors: Tensors, seconds: float) -> Tensors:
        """One real inference."""
        try:
            response = await self._stub.ModelInfer(to_request(name, tensors), timeout=seconds)
            return from_response(response)
        except grpc.aio.AioRpcError as error:
            raise InferenceFailed(fault_of(error.code(), error.details() or ""), error.details() or "") from None
        except FrameError as error:
            raise InferenceFailed(Fault.BROKEN, f"the answer is damaged: {error}") from None

    async def whole(self, model: Model) -> bool:
        """Whether each instance has its process; the server would go on with those that are left."""
        if model.inference.instances == 1 or choose_backend(model.inference, self._native) != "predmesh":
            return True
        alive = await asyncio.to_thread(stubs_of, self._repository.folder(model.name))
        return len(alive) >= model.inference.instances

    async def name(self) -> str:
        """Triton's name and version."""
        with contextlib.suppress(grpc.aio.AioRpcError):
            metadata = await self._stub.ServerMetadata(pb.ServerMetadataRequest(), timeout=CONTROL_SECONDS)
            return f"{metadata.name} {metadata.version}"
        return ""

    @asynccontextmanager
    async def _turn(self, model: Model) -> AsyncIterator[None]:
        async with self._heavy if model.inference.framework in HEAVY else contextlib.nullcontext():
            yield

    async def _check_canary(self) -> None:
        """Have the identity model hand back what it is sent: its Python may corrupt arrays without an error."""
        try:
            await self._load(CANARY, self._limits.load_seconds)
            problem = await self._ask_canary()
        except LoadFailed as error:
            problem = f"cannot run Python: {error}"
        if problem:
            await self._discard(CANARY)
            raise ServerUnsound(f"Triton {problem}; run `python -m predmesh_inference.install` and start Triton again")
        await self._begin_unload(CANARY)

    async def _ask_canary(self) -> str:
        """What the identity model changed; empty where nothing."""
        sent = np.arange(21, dtype=np.float32).reshape(7, 3)
        try:
            received = (await self.infer(CANARY, {"x": sent}, CONTROL_SECONDS)).get("y", np.empty(0))
        except InferenceFailed as error:
            if error.fault is Fault.SERVER_DOWN:
                raise
            return f"does not hand arrays over to Python unchanged: {error.detail}"
        return "" if same(sent, received) else "does not hand arrays over to Python unchanged"

    async def _load(self, name: str, seconds: float) -> None:
        try:
            await self._stub.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name=name), timeout=seconds)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                await self._kill_stubs(name)
                raise LoadFailed(f"the load did not end within {seconds:g} s and was ended") from None
            if error.code() is grpc.StatusCode.UNAVAILABLE:
                raise _down() from None
            raise LoadFailed(load_reason(error.details() or "")) from None

    async def _unload(self, name: str) -> None:
        """Unload, and wait for the model's last request: its folder must stay until then."""
        await self._begin_unload(name)
        if not await self._settled(name, {READY, LOADING, UNLOADING}, self._limits.unload_seconds):
            _log.warning("a model did not unload in time", extra={"model": name})
            await self._kill_stubs(name)

    async def _begin_unload(self, name: str) -> None:
        request = pb.RepositoryModelUnloadRequest(model_name=name)
        try:
            await self._stub.RepositoryModelUnload(request, timeout=CONTROL_SECONDS)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNAVAILABLE:
                raise _down() from None
            if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                await self._kill_stubs(name)

    async def _settled(self, name: str, states: Collection[str], seconds: float) -> bool:
        """Whether the model leaves *states* in time."""
        end = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < end:
            if await self._state(name) not in states:
                return True
            await asyncio.sleep(0.02)
        return False

    async def _free(self, name: str) -> None:
        """End a Triton that waits for ever for a stub that died before it spoke: no call frees the model's name."""
        alive = await asyncio.to_thread(stubs_of, self._repository.folder(name))
        if alive or await self._state(name) != LOADING:
            return
        if not await self._settled(name, {LOADING}, SETTLE_SECONDS):
            await self._end_server(f"a load of {name} hangs")

    async def _end_server(self, why: str) -> None:
        """Kill Triton; its supervisor starts a fresh one, into which the watch loads everything."""
        pid = await asyncio.to_thread(listener_pid, self._address)
        if pid is None:
            raise LoadFailed(f"{why}, and Triton cannot be ended from here: restart it")
        _log.error("ending Triton", extra={"reason": why, "triton_pid": pid})
        os.kill(pid, signal.SIGKILL)
        raise InferenceFailed(Fault.SERVER_DOWN, f"{why}; Triton was ended, and comes back")

    async def _discard(self, name: str) -> None:
        """Leave no trace of a model that could not be loaded."""
        with contextlib.suppress(InferenceFailed):
            await self._begin_unload(name)
        await asyncio.to_thread(self._repository.remove, name)

    async def _kill_stubs(self, name: str) -> None:
        for stub in await asyncio.to_thread(stubs_of, self._repository.folder(name)):
            _log.warning("ending a stub process", extra={"model": name, "stub_pid": stub.pid})
            stub.kill()

    async def _state(self, name: str) -> str:
        """What Triton calls the model; empty where it was never loaded."""
        return (await self._index()).get(name, "")

    async def _index(self) -> dict[str, str]:
        """State of every model in the repository; that of one never loaded is empty."""
        try:
            index = await self._stub.RepositoryIndex(pb.RepositoryIndexRequest(), timeout=CONTROL_SECONDS)
        except grpc.aio.AioRpcError:
            raise _down() from None
        return {item.name: item.state for item in index.models}


def _down() -> InferenceFailed:
    return InferenceFailed(Fault.SERVER_DOWN, "Triton does not answer")
