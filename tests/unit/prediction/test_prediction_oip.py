"""The Open Inference Protocol over gRPC: the graph under the model's name, the model alone under its `.raw` name."""

from typing import Any

import grpc
import numpy as np
import pytest
from predmesh_frame import oip
from predmesh_rpc.errors import InvalidInput
from predmesh_rpc.translate import translate
from tritonclient.grpc import service_pb2 as pb

from tests.unit.prediction.prediction_fakes import FLIGHT, Mesh

DATATYPES = {"distance_miles": "FP64"}


def values(name: str, rows: int) -> Any:
    value = FLIGHT[name]
    return np.array([value] * rows) if isinstance(value, float) else np.array([value.encode()] * rows, object)


def request(*, rows: int = 1, width: bool = False, **changes: Any) -> Any:
    made = pb.ModelInferRequest(model_name="flight-delay", id="7")
    for name in FLIGHT:
        array = changes.get(name, values(name, rows))
        if array is None:
            continue
        shape = [*array.shape, 1] if width else array.shape
        made.inputs.add(name=name, datatype=oip.datatype_of(array.dtype), shape=shape)
        made.raw_input_contents.append(oip.to_raw(array))
    return made


async def fault(call: Any) -> tuple[grpc.StatusCode, Any]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code(), translate(caught.value, "")


@pytest.mark.parametrize("width", [False, True], ids=["[rows]", "[rows, 1]"])
async def test_tensors_travel_the_whole_graph(mesh: Mesh, width: bool) -> None:
    answer = await mesh.oip.ModelInfer(request(rows=2, width=width))
    assert [(each.name, each.datatype, list(each.shape)) for each in answer.outputs] == [
        ("late_probability", "FP64", [2])
    ]
    assert oip.from_raw("FP64", [2], answer.raw_output_contents[0]) == pytest.approx([0.085, 0.085])
    assert (answer.model_name, answer.model_version, answer.id) == ("flight-delay", "1", "7")
    assert answer.parameters["bundle_id"].string_param.startswith("flight-delay-1-")


async def test_typed_contents_are_answered_in_kind(mesh: Mesh) -> None:
    made = pb.ModelInferRequest(model_name="flight-delay")
    for name, value in FLIGHT.items():
        number = isinstance(value, float)
        tensor = made.inputs.add(name=name, datatype="FP64" if number else "BYTES", shape=[1])
        (tensor.contents.fp64_contents if number else tensor.contents.bytes_contents).append(
            value if number else value.encode()
        )
    answer = await mesh.oip.ModelInfer(made)
    assert list(answer.outputs[0].contents.fp64_contents) == pytest.approx([0.085])
    assert not answer.raw_output_contents


async def test_an_optional_input_may_be_left_out(mesh: Mesh) -> None:
    assert (await mesh.oip.ModelInfer(request(tailnum=None))).outputs


@pytest.mark.parametrize(
    ("changes", "field", "text"),
    [
        pytest.param({"carrier": np.array([b"ZZ"], object)}, "inputs.carrier[0]", 'must be one of "AA"', id="category"),
        pytest.param({"carrier": np.array([b"\xff"], object)}, "inputs.carrier", "UTF-8", id="not text"),
        pytest.param({"distance_miles": np.array([-1.0])}, "inputs.distance_miles[0]", "at least 0", id="range"),
        pytest.param({"distance_miles": np.array([np.nan])}, "inputs.distance_miles[0]", "finite", id="NaN"),
        pytest.param({"distance_miles": np.array([1], "<u8")}, "inputs.distance_miles", "UINT64", id="type"),
        pytest.param({"distance_miles": np.array([1.0, 2.0])}, "inputs.distance_miles", "2 rows", id="rows"),
        pytest.param({"origin": None}, "inputs.origin", "required", id="missing"),
        pytest.param(
            {"scheduled_departure": np.array([b"noon"], object)}, "inputs.scheduled_departure[0]", "RFC 3339", id="time"
        ),
    ],
)
async def test_a_bad_tensor_is_named_with_its_rule(mesh: Mesh, changes: dict[str, Any], field: str, text: str) -> None:
    code, error = await fault(mesh.oip.ModelInfer(request(**changes)))
    assert code is grpc.StatusCode.INVALID_ARGUMENT and isinstance(error, InvalidInput)
    assert field in [each.field for each in error.violations]
    assert text in next(each.reason_text for each in error.violations if each.field == field)


async def test_unknown_inputs_and_outputs_offer_the_nearest(mesh: Mesh) -> None:
    made = request()
    made.inputs[0].name = "carier"
    _, error = await fault(mesh.oip.ModelInfer(made))
    assert "did you mean 'carrier'" in error.violations[0].reason_text
    made = request()
    made.outputs.add(name="late_probabilty")
    _, error = await fault(mesh.oip.ModelInfer(made))
    assert "did you mean 'late_probability'" in error.violations[0].reason_text


async def test_a_tensor_of_another_length_is_refused(mesh: Mesh) -> None:
    made = request()
    made.raw_input_contents[-1] = b"123"
    _, error = await fault(mesh.oip.ModelInfer(made))
    assert "holds 3 bytes" in error.violations[0].reason_text
    made.raw_input_contents.append(b"")
    _, error = await fault(mesh.oip.ModelInfer(made))
    assert error.violations[0].field == "raw_input_contents"


@pytest.mark.parametrize("side", ["inputs", "outputs"])
async def test_shared_memory_is_refused(mesh: Mesh, side: str) -> None:
    made = request()
    tensor = made.inputs[0] if side == "inputs" else made.outputs.add(name="late_probability")
    tensor.parameters["shared_memory_region"].string_param = "region"
    code, error = await fault(mesh.oip.ModelInfer(made))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "shared_memory_region" in error.violations[0].field
    assert mesh.inference.batches == []


async def test_the_raw_name_means_the_models_own_tensors(mesh: Mesh) -> None:
    made = pb.ModelInferRequest(model_name="flight-delay.raw")
    array = np.array([[1, 20, 5]], np.float32)
    made.inputs.add(name="x", datatype="FP32", shape=[1, 3])
    made.raw_input_contents.append(oip.to_raw(array))
    answer = await mesh.oip.ModelInfer(made)
    assert [each.name for each in answer.outputs] == ["probabilities"]
    assert oip.from_raw("FP32", [1, 2], answer.raw_output_contents[0]) == pytest.approx(np.array([[0.75, 0.25]]))
    assert mesh.inference.bundle_ids == ["flight-delay-1-" + "0" * 12]


async def test_bad_raw_tensors_are_listed(mesh: Mesh) -> None:
    made = pb.ModelInferRequest(model_name="flight-delay.raw")
    made.inputs.add(name="y", datatype="FP32", shape=[1, 3])
    made.inputs.add(name="x", datatype="FP32", shape=[1, 2])
    made.raw_input_contents.extend([bytes(12), bytes(8)])
    _, error = await fault(mesh.oip.ModelInfer(made))
    assert [each.field for each in error.violations] == ["inputs.y", "inputs.x"]


async def test_metadata_describes_graph_and_model(mesh: Mesh) -> None:
    graph = await mesh.oip.ModelMetadata(pb.ModelMetadataRequest(name="flight-delay"))
    assert {each.name: (each.datatype, list(each.shape)) for each in graph.inputs}["distance_miles"] == ("FP64", [-1])
    assert (graph.platform, list(graph.versions)) == ("predmesh", ["1"])
    raw = await mesh.oip.ModelMetadata(pb.ModelMetadataRequest(name="flight-delay.raw"))
    assert [(each.name, each.datatype, list(each.shape)) for each in raw.inputs] == [("x", "FP32", [-1, 3])]


async def test_server_and_models_say_whether_they_are_ready(mesh: Mesh) -> None:
    assert (await mesh.oip.ServerLive(pb.ServerLiveRequest())).live
    assert (await mesh.oip.ServerReady(pb.ServerReadyRequest())).ready
    assert (await mesh.oip.ModelReady(pb.ModelReadyRequest(name="digits"))).ready
    assert (await mesh.oip.ServerMetadata(pb.ServerMetadataRequest())).name == "predmesh"
    mesh.inference.is_ready = False
    assert not (await mesh.oip.ServerReady(pb.ServerReadyRequest())).ready


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("SystemSharedMemoryRegister", pb.SystemSharedMemoryRegisterRequest(name="a", key="/a", byte_size=8)),
        ("ModelConfig", pb.ModelConfigRequest(name="digits")),
        ("LogSettings", pb.LogSettingsRequest()),
    ],
)
async def test_what_is_the_operators_is_not_offered(mesh: Mesh, method: str, message: Any) -> None:
    code, error = await fault(getattr(mesh.oip, method)(message))
    assert (code, error.reason) == (grpc.StatusCode.UNIMPLEMENTED, "ERROR_REASON_NOT_OFFERED")


async def test_a_stream_is_answered_in_order_and_its_errors_in_band(mesh: Mesh) -> None:
    asked = [request(), request(origin=None), request(rows=2), pb.ModelInferRequest(model_name="flight-dela", id="8")]

    async def requests() -> Any:
        for each in asked:
            yield each

    answers = [answer async for answer in mesh.oip.ModelStreamInfer(requests())]
    assert [answer.infer_response.id for answer in answers] == ["7", "7", "7", "8"]
    assert [len(answer.infer_response.outputs) for answer in answers] == [1, 0, 1, 0]
    assert [bool(answer.error_message) for answer in answers] == [False, True, False, True]
    assert answers[1].error_message == "inputs.origin: is required and missing"
    assert "did you mean 'flight-delay'" in answers[3].error_message
