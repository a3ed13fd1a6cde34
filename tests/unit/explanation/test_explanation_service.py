"""ExplanationService through a real channel, over a fake model that counts and waits."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
from predmesh.explanation.v1 import explanation_service_pb2 as pb
from predmesh.explanation.v1.explanation_service_pb2_grpc import (
    ExplanationServiceStub,
    add_ExplanationServiceServicer_to_server,
)
from predmesh.type.v1.tensor_pb2 import Tensor
from predmesh_bundle.schema import Bundle
from predmesh_bundle.store import StoredBundle
from predmesh_explanation.domain import Attributions, Expired, Method, OutOfTime, Space, chunks, invalid
from predmesh_explanation.explaining import Explanations, Question
from predmesh_explanation.servicer import ExplanationServicer
from predmesh_explanation.settings import Settings
from predmesh_frame.columns import Array
from predmesh_frame.wire import tensor_to_proto
from predmesh_rpc.errors import NotFound
from predmesh_rpc.server import build
from predmesh_rpc.workers import Workers
from predmesh_testing.refusals import refusal

if TYPE_CHECKING:
    from predmesh.explanation.v1.explanation_service_pb2_grpc import ExplanationServiceAsyncStub


class FakeExplainer:
    """Explains x as x; waits on rows of 15 until it is told that the time is up."""

    method = Method.TREE_SHAP

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.ended = threading.Event()
        self.rows = 0

    def table(self, tensors: dict[str, Array]) -> Array:
        return tensors["x"]

    def check_output(self, index: int) -> None:
        if index > 2:
            raise invalid("output_index", "is too large")

    def explain(self, table: Array, output_index: int, expired: Expired) -> Attributions:
        if table.size and table[0, 0] == 13:
            raise RuntimeError("password=hunter2")
        self.entered.set()
        self._wait(table, expired)
        self.rows += len(table)
        return Attributions(
            method=self.method,
            space=Space.LOGIT,
            feature_names=("a", "b"),
            base_values=np.full(len(table), float(output_index)),
            contributions=table.astype(np.float64),
            max_additivity_error=0.25,
        )

    def _wait(self, table: Array, expired: Expired) -> None:
        pause = threading.Event()
        while table[0, 0] == 15:
            if expired():
                self.ended.set()
                raise OutOfTime
            pause.wait(0.005)


def stored(bundle_id: str, folder: Path) -> StoredBundle:
    return StoredBundle(bundle_id, folder, Bundle.model_construct(), datetime(2026, 1, 1, tzinfo=UTC), bundle_id)


@asynccontextmanager
async def serving(folder: Path, **settings: float) -> AsyncIterator[tuple[ExplanationServiceAsyncStub, FakeExplainer]]:
    given = Settings.model_validate(
        {"service": "explanation", "home": folder, "address": "127.0.0.1:0", "grace_seconds": 0} | settings
    )
    explainer = FakeExplainer()
    async with AsyncExitStack() as stack:
        workers = await stack.enter_async_context(Workers("explanation", limit_rows=given.limit_rows))
        explanations = Explanations(workers, lambda bundle: explainer if bundle.bundle_id == "model" else None)
        for bundle_id in ("model", "plain"):
            await explanations.load(stored(bundle_id, folder))
        servicers = [(add_ExplanationServiceServicer_to_server, ExplanationServicer(explanations))]
        server = await stack.enter_async_context(build(given, servicers))
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{server.port}"))
        yield ExplanationServiceStub(channel), explainer


@pytest.fixture
async def stub(tmp_path: Path) -> AsyncIterator[ExplanationServiceAsyncStub]:
    async with serving(tmp_path) as (found, _):
        yield found


def request(first: float = 1.0, *, rows: int = 2, bundle_id: str = "model", **more: Any) -> pb.ExplainRequest:
    x = np.full((rows, 2), first, np.float32)
    return pb.ExplainRequest(bundle_id=bundle_id, tensors=[tensor_to_proto("x", x)], **more)


async def test_attributions_come_row_by_row_as_binary64(stub: ExplanationServiceAsyncStub):
    answer = await stub.Explain(request(2.0, rows=3, output_index=1), timeout=5)
    assert np.frombuffer(answer.contributions, "<f8").reshape(3, 2).tolist() == [[2.0, 2.0]] * 3
    assert (list(answer.base_values), list(answer.feature_names)) == ([1.0] * 3, ["a", "b"])
    assert (answer.method, answer.space) == (pb.EXPLANATION_METHOD_TREE_SHAP, pb.ATTRIBUTION_SPACE_LOGIT)
    assert (answer.max_additivity_error, answer.evaluations, answer.standard_errors) == (0.25, 0, b"")


@pytest.mark.parametrize(
    ("asked", "code", "reason"),
    [
        pytest.param(
            request(bundle_id="other"), grpc.StatusCode.NOT_FOUND, "ERROR_REASON_BUNDLE_UNKNOWN", id="unknown bundle"
        ),
        pytest.param(
            request(bundle_id="plain"),
            grpc.StatusCode.FAILED_PRECONDITION,
            "ERROR_REASON_NOT_EXPLAINABLE",
            id="no explanation",
        ),
        pytest.param(
            request(method=pb.EXPLANATION_METHOD_LIME),
            grpc.StatusCode.FAILED_PRECONDITION,
            "ERROR_REASON_NOT_EXPLAINABLE",
            id="other method",
        ),
        pytest.param(
            request(output_index=3), grpc.StatusCode.INVALID_ARGUMENT, "ERROR_REASON_INVALID_REQUEST", id="no output"
        ),
        pytest.param(request(rows=0), grpc.StatusCode.INVALID_ARGUMENT, "ERROR_REASON_INVALID_REQUEST", id="no rows"),
        pytest.param(
            request(rows=10_001), grpc.StatusCode.INVALID_ARGUMENT, "ERROR_REASON_INVALID_REQUEST", id="many rows"
        ),
        pytest.param(
            pb.ExplainRequest(bundle_id="model", tensors=[Tensor(name="x", datatype="FP32", shape=[3])]),
            grpc.StatusCode.INVALID_ARGUMENT,
            "ERROR_REASON_INVALID_REQUEST",
            id="broken tensor",
        ),
        pytest.param(
            request(13.0), grpc.StatusCode.FAILED_PRECONDITION, "ERROR_REASON_MODEL_FAILED", id="library fails"
        ),
        pytest.param(
            request(15.0, budget={"nanos": 50_000_000}),
            grpc.StatusCode.DEADLINE_EXCEEDED,
            "ERROR_REASON_DEADLINE",
            id="budget",
        ),
        pytest.param(
            request(1.0, budget={"nanos": 0}), grpc.StatusCode.DEADLINE_EXCEEDED, "ERROR_REASON_DEADLINE", id="nothing"
        ),
    ],
)
async def test_what_cannot_be_explained_says_why(
    stub: ExplanationServiceAsyncStub, asked: pb.ExplainRequest, code: grpc.StatusCode, reason: str
):
    found, error = await refusal(stub.Explain(asked))
    assert (found, error.reason) == (code, reason)
    assert "hunter2" not in str(error)


async def test_a_method_asked_for_by_its_name_is_given(stub: ExplanationServiceAsyncStub):
    answer = await stub.Explain(request(method=pb.EXPLANATION_METHOD_TREE_SHAP), timeout=5)
    assert answer.method == pb.EXPLANATION_METHOD_TREE_SHAP


async def test_a_spent_budget_ends_the_work_itself(tmp_path: Path):
    async with serving(tmp_path) as (stub, explainer):
        await refusal(stub.Explain(request(15.0, budget={"nanos": 100_000_000})))
        assert explainer.ended.wait(10)


async def test_a_callers_cancel_ends_the_work_itself(tmp_path: Path):
    async with serving(tmp_path, default_deadline_seconds=60) as (stub, explainer):
        call = stub.Explain(request(15.0))
        await _until(explainer.entered)
        call.cancel()
        await _until(explainer.ended)


async def test_more_rows_than_may_wait_are_refused(tmp_path: Path):
    async with serving(tmp_path, limit_rows=3, default_deadline_seconds=60) as (stub, explainer):
        call = stub.Explain(request(15.0))
        await _until(explainer.entered)
        code, error = await refusal(stub.Explain(request(rows=2)))
        assert (code, error.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "ERROR_REASON_OVERLOADED")
        assert error.metadata == {"queuedRows": "2", "limitRows": "3"}
        call.cancel()
        await _until(explainer.ended)


async def test_an_unloaded_bundle_is_unknown(tmp_path: Path):
    async with Workers("explanation") as workers:
        explanations = Explanations(workers)
        await explanations.unload("model")
        with pytest.raises(NotFound):
            await explanations.explain(Question(bundle_id="model", tensors={}))


@pytest.mark.parametrize(("rows", "sizes"), [(1, [1]), (8, [8]), (9, [8, 1]), (17, [8, 8, 1])])
def test_pieces_cover_every_row_once(rows: int, sizes: list[int]):
    pieces = chunks(rows, 8)
    assert [piece.stop - piece.start for piece in pieces] == sizes
    assert [row for piece in pieces for row in range(piece.start, piece.stop)] == list(range(rows))


async def _until(event: threading.Event) -> None:
    assert await asyncio.to_thread(event.wait, 10)
