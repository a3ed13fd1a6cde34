"""The life of models: what they are, how they fare, and what to do when a real inference fails; no I/O."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from predmesh_bundle.schema import Inference

Array = NDArray[Any]
Tensors = Mapping[str, Array]
Device = Literal["cpu", "gpu"]

LATE_BEFORE_RELOAD = 3
"""A model that is merely slow under load must not be torn down; one that stays silent must."""

LONGEST_PAUSE_SECONDS = 30.0


class State(enum.Enum):
    """Where a bundle is in its life."""

    LOADING = enum.auto()
    READY = enum.auto()
    RECOVERING = enum.auto()
    FAILED = enum.auto()
    UNLOADING = enum.auto()


class Fault(enum.Enum):
    """How a real inference failed."""

    SERVER_DOWN = enum.auto()
    """The model server does not answer."""
    ABSENT = enum.auto()
    """The model server answers and does not know the model: it is a fresh one."""
    REFUSED = enum.auto()
    """The model's own code refused the values, so it is alive."""
    LATE = enum.auto()
    """There was no answer in time."""
    BROKEN = enum.auto()
    """The model cannot answer."""


class Step(enum.Enum):
    """What the watch does next."""

    READY = enum.auto()
    WAIT = enum.auto()
    RELOAD = enum.auto()


class InferenceFailed(Exception):
    """A real inference failed."""

    def __init__(self, fault: Fault, detail: str) -> None:
        super().__init__(detail)
        self.fault = fault
        self.detail = detail


class LoadFailed(Exception):
    """The model server could not load a model; the text says why."""


class ServerUnsound(Exception):
    """The model server answers, and must not be used; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Model:
    """A bundle as it is to run."""

    name: str
    """What the model server calls it; bundles that agree in all that it is made of share it."""
    bundle_id: str
    folder: Path
    """The stored bundle."""
    inference: Inference
    device: Device
    probes: tuple[Tensors, ...]
    """Rows to warm up with; the first one watches."""
    exact: bool
    """Whether the probes are true examples, which the model must not refuse."""


@dataclass(frozen=True, slots=True)
class Status:
    """How one bundle fares, as the last real inference showed."""

    bundle_id: str
    state: State
    detail: str = ""
    """Why it is not ready."""
    last_success_time: datetime | None = None
    recoveries: int = 0
    """Times it was reloaded because an inference failed."""
    device: Device = "cpu"
    instances: int = 1
    model: str = ""
    """What the model server calls its model."""


class ModelServer(Protocol):
    """What runs models: Triton, or this process."""

    async def start(self) -> None:
        """Get ready to load. Raises ServerUnsound, InferenceFailed(SERVER_DOWN)."""
        ...

    async def load(self, model: Model) -> None:
        """Load *model*; a loaded one stays as it is. Raises LoadFailed, InferenceFailed, ServerUnsound."""
        ...

    async def reload(self, model: Model) -> None:
        """Load *model* anew, whatever state it is in. Raises as `load`."""
        ...

    async def unload(self, name: str) -> None:
        """Unload, once its requests have ended; an unknown model is no error. Raises InferenceFailed."""
        ...

    async def retain(self, names: Sequence[str]) -> None:
        """Unload every model but these, left behind by an earlier agent, say. Raises InferenceFailed."""
        ...

    async def infer(self, name: str, tensors: Tensors, seconds: float) -> Tensors:
        """The model's own outputs. Raises InferenceFailed."""
        ...

    async def whole(self, model: Model) -> bool:
        """Whether every instance of *model* is alive, also those that the last inference did not reach."""
        ...

    async def name(self) -> str:
        """Name and version, e.g. `triton 2.51.0`; empty where it does not answer."""
        ...


def next_step(fault: Fault | None, *, late: int, exact: bool) -> Step:
    """What follows a real inference.

    Args:
        fault: how it failed; None where it did not.
        late: inferences in a row, this one included, without an answer in time.
        exact: whether it asked with a true example.
    """
    if fault is None or (fault is Fault.REFUSED and not exact):
        return Step.READY
    if fault is Fault.SERVER_DOWN or (fault is Fault.LATE and late < LATE_BEFORE_RELOAD):
        return Step.WAIT
    return Step.RELOAD


def pause_seconds(interval_seconds: float, failed_reloads: int) -> float:
    """Time until the next watch: the interval, and longer the more reloads in a row did not help."""
    return min(interval_seconds * 2.0 ** min(failed_reloads, 10), max(interval_seconds, LONGEST_PAUSE_SECONDS))


def wrong_answer(model: Model, asked: Tensors, answer: Tensors) -> str | None:
    """Why *answer* is none that the bundle promises; None where it is. Corrupted arrays come back with no bytes."""
    rows = len(next(iter(asked.values())))
    for spec in model.inference.outputs:
        if spec.name not in answer:
            return f"the answer has no {spec.name}"
        shape = answer[spec.name].shape
        fits = len(shape) == 1 + len(spec.shape) and all(
            want in (-1, have) for have, want in zip(shape[1:], spec.shape, strict=True)
        )
        if shape[:1] != (rows,) or not fits:
            return f"{spec.name} has shape {list(shape)}; the bundle says [{rows}, {', '.join(map(str, spec.shape))}]"
    return None


def used(name: str, models: Iterable[Model]) -> bool:
    """Whether one of *models*, which are those of all bundles that are to stay, is called *name* on the server."""
    return any(model.name == name for model in models)


def same(sent: Array, received: Array) -> bool:
    """Whether an identity model gave back what it was sent."""
    return sent.shape == received.shape and bool(np.array_equal(sent, received))
