"""PredictionService over real stubs, with the other services faked."""

from typing import Any

import grpc
import pytest
from google.protobuf import json_format
from predmesh.prediction.v1 import prediction_service_pb2 as pb
from predmesh_rpc.translate import translate

from tests.unit.prediction.prediction_fakes import FLIGHT, Mesh


def request(*rows: dict[str, Any], model: str = "flight-delay", version: str = "") -> pb.PredictRequest:
    made = pb.PredictRequest(model=model, version=version)
    for row in rows:
        made.instances.add().update(row)
    return made


async def test_rows_as_objects_travel_the_whole_graph(mesh: Mesh) -> None:
    answer = await mesh.prediction.Predict(request(FLIGHT, FLIGHT | {"origin": "EWR"}))
    assert [row["late_probability"] for row in answer.predictions] == pytest.approx([0.085, 0.07])
    assert (answer.model, answer.model_version, answer.bundle_id) == ("flight-delay", "1", "flight-delay-1-" + "0" * 12)
    assert [timing.stage for timing in answer.timings] == ["queue", "features", "preprocessing", "inference"]
    assert not answer.degraded


async def test_prediction_ids_come_from_the_request_id(mesh: Mesh) -> None:
    metadata = (("x-request-id", "r-7"),)
    answer = await mesh.prediction.Predict(request(FLIGHT, FLIGHT), metadata=metadata)
    assert (answer.request_id, list(answer.prediction_ids)) == ("r-7", ["r-7-0", "r-7-1"])


async def test_an_unknown_model_is_not_found_with_the_nearest(mesh: Mesh) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await mesh.prediction.Predict(request(FLIGHT, model="flight-dela"))
    told = translate(caught.value, "prediction")
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert (told.reason, told.metadata["nearest"]) == ("ERROR_REASON_MODEL_UNKNOWN", "flight-delay")


async def test_a_bundle_without_features_or_preprocessing_answers(mesh: Mesh) -> None:
    answer = await mesh.prediction.Predict(request({"image": [[1, 9], [3, 4]]}, model="digits"))
    document = json_format.MessageToDict(answer)
    assert document["predictions"] == [{"digit": "one", "scores": [1, 9, 3]}]
