"""A model server that does as it is told, and bundles for it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from predmesh_bundle.schema import Bundle
from predmesh_bundle.store import StoredBundle
from predmesh_inference.domain import Fault, InferenceFailed, Model, Tensors
from predmesh_rpc import deadline

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def bundle(name: str = "doubling", **inference: Any) -> Bundle:
    """A bundle of one number in and one out."""
    section = {
        "framework": "onnx",
        "file": "model.onnx",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": (1,)}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": (1,)}],
    }
    return Bundle.model_validate(
        {
            "name": name,
            "version": "1",
            "owner": "tests",
            "description": "Doubles",
            "inputs": [{"name": "x", "type": "float", "example": 3.0}],
            "inference": section | inference,
            "outputs": [{"name": "y", "type": "float", "tensor": "y", "index": 0}],
        }
    )


def stored(
    name: str = "doubling", folder: Path = Path("/bundles/doubling"), *, version: str = "1", **inference: Any
) -> StoredBundle:
    """The bundle as if it lay in the store; its versions share a model."""
    bundle_id = f"{name}-{version}-{'0' * 12}"
    return StoredBundle(bundle_id, folder, bundle(name, **inference), NOW, f"{name}-{'0' * 16}")


class FakeServer:
    """Doubles; fails as `faults` say, one an inference; counts what it is asked for."""

    def __init__(self) -> None:
        self.loaded: set[str] = set()
        self.calls: list[str] = []
        self.faults: list[Fault | None] = []
        self.load_error: Exception | None = None
        self.is_whole = True
        self.time_left: list[float] = []
        self.may_load = asyncio.Event()
        self.may_load.set()
        self.may_unload = asyncio.Event()
        self.may_unload.set()

    async def start(self) -> None:
        """It is always ready."""

    async def load(self, model: Model) -> None:
        self.calls.append(f"load {model.name}")
        await self.may_load.wait()
        if self.load_error is not None:
            raise self.load_error
        self.loaded.add(model.name)

    async def reload(self, model: Model) -> None:
        self.calls.append(f"reload {model.name}")
        await self.may_load.wait()
        if self.load_error is not None:
            raise self.load_error
        self.loaded.add(model.name)

    async def unload(self, name: str) -> None:
        self.calls.append(f"unload {name}")
        await self.may_unload.wait()
        self.loaded.discard(name)

    async def retain(self, names: Sequence[str]) -> None:
        self.calls.append(f"retain {' '.join(names)}")

    async def infer(self, name: str, tensors: Tensors, seconds: float) -> Tensors:
        fault = self.faults.pop(0) if self.faults else None
        self.time_left.append(deadline.remaining())
        if fault is not None:
            raise InferenceFailed(fault, fault.name.lower())
        return {"y": np.asarray(tensors["x"]) * 2}

    async def whole(self, model: Model) -> bool:
        return self.is_whole

    async def name(self) -> str:
        return "fake 1.0"
