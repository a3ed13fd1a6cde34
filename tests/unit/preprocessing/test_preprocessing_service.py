"""PreprocessingService through a real channel: what callers hear, and what they never do."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
from predmesh.preprocessing.v1 import preprocessing_service_pb2 as pb
from predmesh.preprocessing.v1.preprocessing_service_pb2_grpc import PreprocessingServiceStub
from predmesh.type.v1 import frame_pb2
from predmesh_bundle.schema import Bundle
from predmesh_bundle.store import Store, StoredBundle
from predmesh_frame import Column, DataType, Frame
from predmesh_frame.wire import frame_to_proto, tensor_from_proto
from predmesh_preprocessing.preprocessor import Preprocessor
from predmesh_preprocessing.settings import Settings
from predmesh_preprocessing.wiring import open_service
from predmesh_rpc.server import build
from predmesh_testing.refusals import refusal

if TYPE_CHECKING:
    from predmesh.preprocessing.v1.preprocessing_service_pb2_grpc import PreprocessingServiceAsyncStub

BUNDLE_ID = "sums-1-000000000000"
BROKEN = frame_pb2.Frame(rows=1, columns=[frame_pb2.Column()])
PLUGIN = """
import threading
import numpy as np

ENTERED, GO_ON = threading.Event(), threading.Event()

class Sums:
    def __init__(self, folder):
        pass

    def transform(self, frame):
        values = frame.columns["a"].values
        if values[0] == 13:
            raise RuntimeError("password=hunter2")
        if values[0] == 14:
            return {"x": np.zeros((1, 7), np.float32)}
        if values[0] == 15:
            ENTERED.set()
            GO_ON.wait(20)
        return {"x": values[:, np.newaxis].astype(np.float32)}
"""


def stored(folder: Path, *, plugin: bool = True, bundle_id: str = BUNDLE_ID) -> StoredBundle:
    (folder / "sums.py").write_text(PLUGIN)
    document = {
        "name": "sums",
        "version": "1",
        "owner": "tests",
        "description": "Tests the service.",
        "inputs": [{"name": "a", "type": "double", "example": 1.0}],
        "inference": {
            "framework": "onnx",
            "file": "model.onnx",
            "inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "feature_names": ["a"]}],
            "outputs": [{"name": "y", "datatype": "FP32"}],
        },
        "outputs": [{"name": "y", "type": "double", "tensor": "y"}],
    } | ({"preprocessing": {"plugin": "sums:Sums"}} if plugin else {})
    bundle = Bundle.model_validate(document)
    return StoredBundle(bundle_id, folder, bundle, datetime(2026, 1, 1, tzinfo=UTC), bundle_id)


@asynccontextmanager
async def serving(folder: Path, **settings: float) -> AsyncIterator[tuple[PreprocessingServiceAsyncStub, Preprocessor]]:
    given = Settings.model_validate(
        {"service": "preprocessing", "home": folder, "address": "127.0.0.1:0", "grace_seconds": 0} | settings
    )
    async with AsyncExitStack() as stack:
        service = await stack.enter_async_context(open_service(given, Store(folder / "store")))
        server = await stack.enter_async_context(build(given, service.servicers, service.health))
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{server.port}"))
        yield PreprocessingServiceStub(channel), service.loader


@pytest.fixture
async def stub(tmp_path: Path) -> AsyncIterator[PreprocessingServiceAsyncStub]:
    async with serving(tmp_path) as (found, loader):
        await loader.load(stored(tmp_path))
        yield found


def request(*values: float, name: str = "a", type: DataType = DataType.DOUBLE) -> pb.TransformRequest:
    frame = Frame(len(values), {name: Column.of(type, list(values))})
    return pb.TransformRequest(bundle_id=BUNDLE_ID, frame=frame_to_proto(frame))


def module(name: str) -> Any:
    return sys.modules[f"predmesh_plugin_sums_1_000000000000.{name}"]


async def test_rows_come_back_as_the_models_tensor(stub: PreprocessingServiceAsyncStub):
    answer = await stub.Transform(request(1, 2, 3), timeout=5)
    name, x = tensor_from_proto(answer.tensors[0])
    assert (name, x.tolist(), x.dtype) == ("x", [[1.0], [2.0], [3.0]], np.dtype(np.float32))


async def test_an_unknown_bundle_is_not_found(stub: PreprocessingServiceAsyncStub):
    code, error = await refusal(stub.Transform(pb.TransformRequest(bundle_id="other-1-000000000000")))
    assert (code, error.reason) == (grpc.StatusCode.NOT_FOUND, "ERROR_REASON_BUNDLE_UNKNOWN")


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        pytest.param(request(1, name="b"), "a", id="missing"),
        pytest.param(request(1, type=DataType.INT64), "a", id="type"),
        pytest.param(request(), "frame.rows", id="empty"),
        pytest.param(request(*range(10_001)), "frame.rows", id="oversized"),
        pytest.param(pb.TransformRequest(bundle_id=BUNDLE_ID, frame=BROKEN), "frame", id="broken"),
    ],
)
async def test_a_frame_that_does_not_fit_is_refused_by_field(
    stub: PreprocessingServiceAsyncStub, asked: pb.TransformRequest, field: str
):
    code, error = await refusal(stub.Transform(asked))
    assert (code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "ERROR_REASON_INVALID_REQUEST")
    assert field in [violation.field for violation in error.violations]


@pytest.mark.parametrize("value", [13, 14], ids=["raises", "gives another shape"])
async def test_a_plugin_that_fails_tells_the_caller_its_kind_alone(stub: PreprocessingServiceAsyncStub, value: float):
    code, error = await refusal(stub.Transform(request(value)))
    assert (code, error.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "ERROR_REASON_MODEL_FAILED")
    assert error.metadata == {"bundleId": BUNDLE_ID, "stage": "preprocessing"}
    assert "hunter2" not in error.message


async def test_a_plugin_that_hangs_costs_its_caller_the_deadline_and_others_nothing(tmp_path: Path):
    async with serving(tmp_path, default_deadline_seconds=1.0) as (stub, loader):
        await loader.load(stored(tmp_path))
        await loader.load(stored(tmp_path, bundle_id="other-1-000000000000"))
        waiting = asyncio.create_task(refusal(stub.Transform(request(15))))
        events = module("sums")
        try:
            await asyncio.to_thread(events.ENTERED.wait, 10)
            other = request(7)
            other.bundle_id = "other-1-000000000000"
            assert (await stub.Transform(other, timeout=5)).tensors
            code, error = await waiting
            assert (code, error.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "ERROR_REASON_DEADLINE")
        finally:
            events.GO_ON.set()


async def test_more_rows_than_may_wait_are_refused(tmp_path: Path):
    async with serving(tmp_path, limit_rows=2) as (stub, loader):
        await loader.load(stored(tmp_path))
        first = stub.Transform(request(15), timeout=10)
        events = module("sums")
        try:
            await asyncio.to_thread(events.ENTERED.wait, 10)
            code, error = await refusal(stub.Transform(request(1, 2)))
            assert (code, error.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "ERROR_REASON_OVERLOADED")
            assert error.retry_after_seconds > 0
        finally:
            events.GO_ON.set()
        assert (await first).tensors


async def test_an_unloaded_bundle_is_unknown_and_its_modules_are_gone(tmp_path: Path):
    async with serving(tmp_path) as (stub, loader):
        await loader.load(stored(tmp_path))
        await loader.unload(BUNDLE_ID)
        await loader.unload(BUNDLE_ID)
        assert (await refusal(stub.Transform(request(1))))[0] == grpc.StatusCode.NOT_FOUND
        with pytest.raises(KeyError):
            module("sums")


async def test_a_bundle_without_preprocessing_is_told_so(tmp_path: Path):
    async with serving(tmp_path) as (stub, loader):
        await loader.load(stored(tmp_path, plugin=False))
        code, error = await refusal(stub.Transform(request(1)))
        assert (code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "ERROR_REASON_INVALID_REQUEST")
        assert "no preprocessing" in error.message


async def test_loading_twice_changes_nothing(tmp_path: Path):
    async with serving(tmp_path) as (stub, loader):
        await loader.load(stored(tmp_path))
        before = module("sums")
        await loader.load(stored(tmp_path))
        assert module("sums") is before
        assert (await stub.Transform(request(1), timeout=5)).tensors


async def test_no_thread_is_left_when_the_service_ends(tmp_path: Path):
    async with serving(tmp_path) as (stub, loader):
        await loader.load(stored(tmp_path))
        await stub.Transform(request(1), timeout=5)
        mine = [thread for thread in threading.enumerate() if thread.name.startswith("predmesh-preprocessing")]
        assert mine
    for thread in mine:
        await asyncio.to_thread(thread.join, 10)
    assert not any(thread.is_alive() for thread in mine)
