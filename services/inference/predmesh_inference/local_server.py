"""This process as a model server: the runtime where the call is, or on a thread a model with a bounded queue."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from time import thread_time

from predmesh_rpc import deadline
from predmesh_rpc.errors import DeadlineExceeded, PredmeshError
from predmesh_rpc.workers import Workers
from predmesh_runtime import InputError, LoadError, ModelError
from predmesh_runtime import Model as LoadedModel
from predmesh_runtime import load as open_model

from predmesh_inference.domain import Array, Fault, InferenceFailed, LoadFailed, Model, Tensors
from predmesh_inference.pace import Pace
from predmesh_inference.trouble import STAGE, model_failed, refused, unknown_bundle


class Running:
    """One loaded model, and the thread that runs what is not quick."""

    def __init__(self, model: Model, loaded: LoadedModel, limit_rows: int) -> None:
        self.limit_rows = model.inference.max_batch_rows
        self.loaded = loaded
        self.workers = Workers(STAGE, limit_rows=limit_rows)
        self._pace = Pace()
        # Code of a bundle may block or hang, however quick it was before.
        self._foreign = model.inference.framework == "python"

    async def answer(self, tensors: Tensors, rows: int) -> dict[str, Array]:
        """The model's outputs. Raises what the model raises, and as `Workers.run`."""
        # A model is not for two threads at once, so that what comes while one works waits behind it.
        if self._foreign or self.workers.queued_rows or not self._pace.quick(rows):
            return await self.workers.run(lambda: self._run(tensors, rows), rows=rows)
        return self._run(tensors, rows)

    def _run(self, tensors: Tensors, rows: int) -> dict[str, Array]:
        # The thread's own time: on a busy machine the clock on the wall says more of others than of the model.
        began = thread_time()
        answer = self.loaded.infer(tensors)
        self._pace.took(rows, thread_time() - began)
        return answer


class LocalServer:
    """Models in this process, one instance each, on the CPU."""

    def __init__(self, *, limit_rows: int = 20_000) -> None:
        self._limit_rows = limit_rows
        self._models: dict[str, Running] = {}

    async def start(self) -> None:
        """There is nothing to start."""

    async def load(self, model: Model) -> None:
        """Open the model in a thread."""
        if model.name in self._models:
            return
        inference = model.inference.model_dump(mode="json")
        try:
            loaded = await asyncio.to_thread(open_model, model.folder, inference)
        except LoadError as error:
            raise LoadFailed(_why(error)) from None
        self._models[model.name] = Running(model, loaded, self._limit_rows)

    async def reload(self, model: Model) -> None:
        """Open the model anew."""
        await self.unload(model.name)
        await self.load(model)

    async def unload(self, name: str) -> None:
        """Drop the model; a row being computed is finished."""
        running = self._models.pop(name, None)
        if running is not None:
            running.workers.close()

    async def retain(self, names: Sequence[str]) -> None:
        """Nothing outlives the process."""

    async def infer(self, name: str, tensors: Tensors, seconds: float) -> Tensors:
        """The model's outputs, for the agent."""
        try:
            with deadline.within(seconds):
                return await self.answer(name, tensors)
        except PredmeshError as error:
            raise InferenceFailed(_fault(error), error.message) from None

    async def answer(self, name: str, tensors: Tensors) -> dict[str, Array]:
        """The model's outputs, for callers of the Open Inference Protocol.

        Raises:
            NotFound: the model is not loaded here.
            InvalidInput: the tensors are none the model takes.
            FailedPrecondition: the model failed.
            TooMuch: too many rows wait.
            DeadlineExceeded: the caller's time ran out.
        """
        running = self._models.get(name)
        if running is None:
            raise unknown_bundle(name)
        rows = max((len(array) for array in tensors.values() if array.ndim), default=0)
        if rows > running.limit_rows:
            raise refused(name, f"{rows} rows are more than the {running.limit_rows} that the model takes at once")
        try:
            return await running.answer(tensors, max(rows, 1))
        except InputError as error:
            raise refused(name, str(error)) from None
        except ModelError as error:
            raise model_failed(name, str(error)) from None

    def loaded(self, name: str) -> LoadedModel:
        """The model, for its description. Raises NotFound."""
        if name not in self._models:
            raise unknown_bundle(name)
        return self._models[name].loaded

    def names(self) -> list[str]:
        """What is loaded."""
        return sorted(self._models)

    async def whole(self, model: Model) -> bool:
        """There is one instance, and it is this process."""
        return True

    async def name(self) -> str:
        """What the contract calls it."""
        return "in-process"

    def close(self) -> None:
        """Drop every model."""
        for running in self._models.values():
            running.workers.close()
        self._models.clear()


def _why(error: LoadError) -> str:
    cause = error.__cause__
    if not isinstance(cause, ModuleNotFoundError):
        return str(error)
    return (
        f"the model needs {cause.name}, which is not installed in this process's environment: install it there, "
        "or have the model server run the model (`stages: {inference: local}`)"
    )


def _fault(error: PredmeshError) -> Fault:
    if error.reason == "ERROR_REASON_BUNDLE_UNKNOWN":
        return Fault.ABSENT
    if isinstance(error, DeadlineExceeded) or error.reason == "ERROR_REASON_OVERLOADED":
        return Fault.LATE
    return Fault.REFUSED if error.reason == "ERROR_REASON_MODEL_FAILED" else Fault.BROKEN
