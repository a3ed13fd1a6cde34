"""What trouble of a stage means for the answer, by the bundle's policy."""

import asyncio
from typing import Any

import grpc
import pytest
from predmesh.prediction.v1 import prediction_service_pb2 as pb
from predmesh_rpc.errors import PredmeshError
from predmesh_rpc.translate import translate

from tests.unit.prediction.prediction_fakes import FLIGHT, FLIGHTS, Mesh, changed


def request(*rows: dict[str, Any]) -> pb.PredictRequest:
    made = pb.PredictRequest(model="flight-delay")
    for row in rows or (FLIGHT,):
        made.instances.add().update(row)
    return made


async def failure(call: Any) -> tuple[grpc.StatusCode, PredmeshError]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code(), translate(caught.value, "prediction")


def chances(answer: pb.PredictResponse) -> list[Any]:
    return [row["late_probability"] for row in answer.predictions]


async def test_features_down_fails_the_request_by_default(mesh: Mesh) -> None:
    mesh.features.down = True
    code, error = await failure(mesh.prediction.Predict(request()))
    assert (code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "ERROR_REASON_STORE_DOWN")


@pytest.mark.parametrize("trouble", ["down", "unavailable", "silent"])
async def test_features_down_may_mean_their_defaults(mesh: Mesh, trouble: str) -> None:
    await mesh.deploy(changed(FLIGHTS, policies={"features": "defaults"}, budget="400ms"))
    setattr(mesh.features, trouble, True)
    answer = await mesh.prediction.Predict(request())
    assert chances(answer) == pytest.approx([0.05])
    (degraded,) = answer.degraded
    reason = "ERROR_REASON_DEADLINE" if trouble == "silent" else "ERROR_REASON_STORE_DOWN"
    assert (degraded.stage, degraded.policy, degraded.reason) == ("features", "defaults", reason)


async def test_features_down_may_mean_what_was_last_known(mesh: Mesh) -> None:
    await mesh.deploy(changed(FLIGHTS, policies={"features": "last_known"}))
    await mesh.prediction.Predict(request())
    mesh.features.down = True
    answer = await mesh.prediction.Predict(request(FLIGHT, FLIGHT | {"dest": "SFO"}, FLIGHT | {"origin": "EWR"}))
    # Wind at JFK was 7 and the delay to LAX 1.5; the delay to SFO was never seen, nor anything of EWR.
    assert chances(answer) == pytest.approx([0.085, 0.07, 0.05])
    assert [each.policy for each in answer.degraded] == ["last_known"]


@pytest.mark.parametrize("policy", ["fail", "last_known"])
async def test_a_feature_that_does_not_come_back_is_the_stages_fault(mesh: Mesh, policy: str) -> None:
    await mesh.deploy(changed(FLIGHTS, policies={"features": policy}))
    mesh.features.forgetful = True
    if policy == "fail":
        code, error = await failure(mesh.prediction.Predict(request()))
        assert (code, error.metadata["stage"]) == (grpc.StatusCode.UNAVAILABLE, "features")
    else:
        assert (await mesh.prediction.Predict(request())).degraded[0].reason == "ERROR_REASON_STAGE_DOWN"


async def test_a_feature_that_cannot_be_read_is_the_stages_fault(mesh: Mesh) -> None:
    await mesh.deploy(changed(FLIGHTS, policies={"features": "last_known"}))
    mesh.features.broken = True
    assert (await mesh.prediction.Predict(request())).degraded[0].reason == "ERROR_REASON_STAGE_DOWN"


async def test_a_stage_that_refuses_what_the_graph_made_is_no_mistake_of_the_callers(mesh: Mesh) -> None:
    mesh.features.broken = True
    code, error = await failure(mesh.prediction.Predict(request()))
    assert (code, error.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "ERROR_REASON_MODEL_FAILED")
    assert error.metadata["stage"] == "preprocessing"


async def test_the_entity_keys_go_out_under_their_join_keys(mesh: Mesh) -> None:
    await mesh.prediction.Predict(request())
    sent = mesh.features.requests[0]
    assert sent.bundle_id == "flight-delay-1-" + "0" * 12
    assert {column.name for column in sent.entity_keys.columns} == {"carrier", "origin", "dest", "tailnum"}


async def test_preprocessing_gets_inputs_and_features_by_name(mesh: Mesh) -> None:
    await mesh.prediction.Predict(request())
    assert set(mesh.preprocessing.frames[0].columns) == {*FLIGHT, "wind", "delay"}


async def test_a_stage_that_has_not_loaded_the_bundle_is_down(mesh: Mesh) -> None:
    mesh.preprocessing.unknown = True
    code, error = await failure(mesh.prediction.Predict(request()))
    assert (code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "ERROR_REASON_STAGE_DOWN")
    assert error.metadata["stage"] == "preprocessing"


async def test_a_model_server_that_is_down_is_unavailable(mesh: Mesh) -> None:
    mesh.inference.failing = "down"
    code, error = await failure(mesh.prediction.Predict(request()))
    assert (code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "ERROR_REASON_MODEL_SERVER_DOWN")


async def test_a_model_that_fails_is_a_failed_precondition(mesh: Mesh) -> None:
    mesh.inference.failing = "the model's code failed"
    code, error = await failure(mesh.prediction.Predict(request()))
    assert (code, error.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "ERROR_REASON_MODEL_FAILED")


async def test_the_budget_of_the_bundle_ends_a_request(mesh: Mesh) -> None:
    await mesh.deploy(changed(FLIGHTS, budget="50ms"))
    mesh.inference.gate = asyncio.Event()
    code, error = await failure(mesh.prediction.Predict(request()))
    assert (code, error.metadata["budgetSeconds"]) == (grpc.StatusCode.DEADLINE_EXCEEDED, "0.05")


async def test_a_callers_deadline_reaches_the_stages(mesh: Mesh) -> None:
    await mesh.prediction.Predict(request(), timeout=2)
    assert 0 < mesh.features.seconds[0] <= 2


async def test_a_callers_cancel_stops_the_work(mesh: Mesh) -> None:
    mesh.inference.gate = asyncio.Event()
    call = mesh.prediction.Predict(request())
    await mesh.inference.entered.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await mesh.inference.cancelled.wait()


async def test_requests_that_come_together_travel_together(mesh: Mesh) -> None:
    mesh.inference.gate = asyncio.Event()
    first = asyncio.ensure_future(mesh.prediction.Predict(request()))
    await mesh.inference.entered.wait()
    others = [asyncio.ensure_future(mesh.prediction.Predict(request())) for _ in range(5)]
    await asyncio.sleep(0)
    mesh.inference.gate.set()
    await asyncio.gather(first, *others)
    assert sum(mesh.inference.batches) == 6
    assert len(mesh.inference.batches) <= 3


async def test_a_request_larger_than_a_batch_is_split_and_answered_whole(mesh: Mesh) -> None:
    answer = await mesh.prediction.Predict(request(*[FLIGHT] * 150))
    assert len(answer.predictions) == len(set(answer.prediction_ids)) == 150
    assert mesh.inference.batches == [64, 64, 22]
    assert [each.stage for each in answer.timings] == ["queue", "features", "preprocessing", "inference"]
