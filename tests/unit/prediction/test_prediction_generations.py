"""Live models: described, switched at once, and kept until their last request has ended."""

import asyncio

import grpc
import pytest
from google.protobuf import json_format
from predmesh.prediction.v1 import prediction_service_pb2 as pb
from predmesh_bundle.generation import Generation, LiveModel
from predmesh_prediction.catalogue import Catalogue
from predmesh_rpc import metrics
from predmesh_rpc.translate import translate

from tests.unit.prediction.prediction_fakes import DIGITS, FLIGHT, FLIGHTS, Mesh, changed, stored

SECOND = changed(FLIGHTS, version="2")


def request(version: str = "") -> pb.PredictRequest:
    made = pb.PredictRequest(model="flight-delay", version=version)
    made.instances.add().update(FLIGHT)
    return made


async def test_models_are_listed_by_name_and_version(mesh: Mesh) -> None:
    await mesh.deploy(DIGITS, FLIGHTS, SECOND)
    answer = await mesh.prediction.ListModels(pb.ListModelsRequest())
    found = [(each.name, each.version, each.default_version) for each in answer.models]
    assert found == [("digits", "1", True), ("flight-delay", "1", False), ("flight-delay", "2", True)]
    assert answer.generation == 2


async def test_a_model_is_described_as_its_bundle_declares_it(mesh: Mesh) -> None:
    answer = await mesh.prediction.GetModel(pb.GetModelRequest(model="flight-delay"))
    model = json_format.MessageToDict(answer.model)
    fields = {each["name"]: each for each in model["inputs"]}
    assert fields["distance_miles"] == {
        "name": "distance_miles",
        "type": "DATA_TYPE_DOUBLE",
        "unit": "mi",
        "required": True,
        "minimum": 0.0,
        "maximum": 10000.0,
        "example": 2475.0,
    }
    assert fields["carrier"]["categories"] == ["AA", "DL", "UA"]
    assert "required" not in fields["tailnum"]
    assert (model["explainable"], model["featureService"], model["budget"]) == (True, "flights_v1", "5s")
    assert model["deployTime"] == "2026-01-02T00:00:00Z"


async def test_outputs_are_described_with_their_shape(mesh: Mesh) -> None:
    answer = await mesh.prediction.GetModel(pb.GetModelRequest(model="digits"))
    found = {each.name: (list(each.row_shape), list(each.categories)) for each in answer.model.outputs}
    assert found == {"digit": ([], ["zero", "one", "two"]), "scores": ([3], [])}


async def test_every_example_of_a_description_can_be_predicted(mesh: Mesh) -> None:
    for name in ("flight-delay", "digits"):
        model = (await mesh.prediction.GetModel(pb.GetModelRequest(model=name))).model
        asked = pb.PredictRequest(model=name)
        row = asked.instances.add()
        for each in model.inputs:
            row.fields[each.name].CopyFrom(each.example)
        assert (await mesh.prediction.Predict(asked)).predictions


async def test_an_unknown_version_names_those_that_are_live(mesh: Mesh) -> None:
    await mesh.deploy(FLIGHTS, SECOND)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await mesh.prediction.Predict(request("9"))
    error = translate(caught.value, "")
    assert (error.reason, error.metadata["live"]) == ("ERROR_REASON_VERSION_UNKNOWN", "1, 2")


async def test_a_request_ends_on_the_generation_it_began_on(mesh: Mesh) -> None:
    mesh.inference.gate = asyncio.Event()
    began = asyncio.ensure_future(mesh.prediction.Predict(request()))
    await mesh.inference.entered.wait()
    await mesh.deploy(SECOND)
    unloading = asyncio.ensure_future(mesh.service.loader.unload("flight-delay-1-" + "0" * 12))
    later = asyncio.ensure_future(mesh.prediction.Predict(request()))
    mesh.inference.gate.set()
    assert [(await each).model_version for each in (began, later)] == ["1", "2"]
    await unloading


async def test_unloading_waits_for_the_last_request(mesh: Mesh) -> None:
    mesh.inference.gate = asyncio.Event()
    began = asyncio.ensure_future(mesh.prediction.Predict(request()))
    await mesh.inference.entered.wait()
    unloading = asyncio.ensure_future(mesh.service.loader.unload("flight-delay-1-" + "0" * 12))
    await asyncio.sleep(0)
    assert not unloading.done()
    mesh.inference.gate.set()
    await asyncio.gather(began, unloading)


async def test_what_is_unloaded_is_in_no_metric(mesh: Mesh) -> None:
    queue = {"batches": "flight-delay-1-" + "0" * 12}
    assert metrics.registry().get_sample_value("predmesh_prediction_queued_rows", queue) == 0
    await mesh.service.loader.unload(queue["batches"])
    assert metrics.registry().get_sample_value("predmesh_prediction_queued_rows", queue) is None


async def test_unloading_what_is_not_loaded_is_no_error(mesh: Mesh) -> None:
    await mesh.service.loader.unload("nothing-1-" + "0" * 12)


async def test_a_live_model_that_is_not_loaded_here_is_unavailable(mesh: Mesh) -> None:
    models = (LiveModel(name="new", version="1", bundle_id="new-1-" + "0" * 12, default=True),)
    await mesh.service.loader.flip(Generation(number=9, models=models))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await mesh.prediction.Predict(pb.PredictRequest(model="new"))
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_bundle_whose_tensors_cannot_be_made_is_refused(mesh: Mesh) -> None:
    inputs = [{"name": "image", "type": "float", "required": False, "example": 1}]
    inference = DIGITS.model_dump(mode="json")["inference"]
    inference["inputs"] = [{"name": "image", "datatype": "INT64"}]
    broken = changed(DIGITS, inputs=inputs, inference=inference)
    assert isinstance(mesh.service.loader, Catalogue)
    with pytest.raises(ValueError, match="give that input a default"):
        await mesh.service.loader.load(stored(broken, mesh.folder, "f" * 12))
