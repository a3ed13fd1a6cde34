"""A model's own service: typed messages get what generic calls get, answers and refusals alike."""

import base64
from collections.abc import AsyncIterator, Mapping
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
from google.protobuf import json_format
from hypothesis import given
from predmesh.prediction.v1 import prediction_service_pb2 as pb
from predmesh_bundle.contract_names import value_name
from predmesh_bundle.schema import Bundle
from predmesh_compiler import contract
from predmesh_frame import DataType
from predmesh_prediction.typed_contract import TypedContract
from predmesh_prediction.validation import Validator
from predmesh_prediction.values import json_example
from predmesh_rpc.errors import NotFound, NotOffered
from predmesh_rpc.grpc_frames import framed
from predmesh_testing.refusals import refusal

from tests.unit.compiler.generated_bundles import bundles
from tests.unit.prediction.prediction_fakes import DIGITS, FLIGHT, FLIGHTS, Mesh, changed

SERVICE = "/predmesh.models.flight_delay.v1.FlightDelayService"
IMAGE = {"image": [[0, 1], [2, 3]]}


def typed(bundle: Bundle) -> TypedContract:
    return TypedContract(contract(bundle).files, bundle)


def filled(message: Any, bundle: Bundle, row: Mapping[str, Any]) -> Any:
    """*message*, an Inputs, with the values of a generic *row*."""
    for name, value in row.items():
        spec, field = bundle.input(name), message.DESCRIPTOR.fields_by_name[name]
        elements = [_element(spec, field, each) for each in np.array(value, dtype=object).ravel().tolist()]
        if spec.shape:
            getattr(message, name).extend(elements)
        elif spec.type is DataType.TIMESTAMP:
            getattr(message, name).FromJsonString(value)
        else:
            setattr(message, name, elements[0])
    return message


def _element(spec: Any, field: Any, value: Any) -> Any:
    if spec.enum:
        return field.enum_type.values_by_name[value_name(spec.name, value)].number
    if spec.type is DataType.TIMESTAMP:
        moment = field.message_type._concrete_class()
        moment.FromJsonString(value)
        return moment
    if spec.type is DataType.INT64:
        return int(value)
    return base64.b64decode(value) if spec.type is DataType.BYTES else value


async def asked(mesh: Mesh, method: str, request: Any, **options: Any) -> Any:
    return await mesh.channel.unary_unary(f"{SERVICE}/{method}")(request, **options)


def one(row: Mapping[str, Any], name: str = "PredictRequest", **rest: Any) -> Any:
    flights = typed(FLIGHTS)
    request = flights.message(name)(**rest)
    request.instance.SetInParent()
    filled(request.instance, FLIGHTS, row)
    return request


def generic(*rows: Mapping[str, Any]) -> pb.PredictRequest:
    request = pb.PredictRequest(model="flight-delay")
    for row in rows:
        request.instances.add().update(row)
    return request


async def test_a_row_is_answered_as_a_generic_call_is(mesh: Mesh) -> None:
    answer = await asked(mesh, "Predict", one(FLIGHT), metadata=(("x-request-id", "r"),))
    known = await mesh.prediction.Predict(generic(FLIGHT), metadata=(("x-request-id", "r"),))
    assert answer.prediction.late_probability == known.predictions[0]["late_probability"]
    assert answer.prediction_id == "r-0"
    about = answer.provenance
    assert (about.model, about.model_version, about.bundle_id, about.request_id) == (
        known.model,
        known.model_version,
        known.bundle_id,
        "r",
    )
    assert [each.stage for each in about.timings] == [each.stage for each in known.timings]


async def test_a_batch_is_answered_in_order(mesh: Mesh) -> None:
    rows = [FLIGHT | {"distance_miles": float(miles)} for miles in range(40)]
    request = typed(FLIGHTS).message("PredictBatchRequest")()
    for row in rows:
        filled(request.instances.add(), FLIGHTS, row)
    answer = await asked(mesh, "PredictBatch", request, metadata=(("x-request-id", "r"),))
    known = await mesh.prediction.Predict(generic(*rows))
    assert [each.late_probability for each in answer.predictions] == [
        each["late_probability"] for each in known.predictions
    ]
    assert list(answer.prediction_ids) == [f"r-{row}" for row in range(40)]


async def test_an_explanation_is_the_generic_one(mesh: Mesh) -> None:
    answer = await asked(mesh, "Explain", one(FLIGHT, "ExplainRequest", top=2))
    known = await mesh.prediction.Explain(
        pb.ExplainRequest(model="flight-delay", instances=generic(FLIGHT).instances, top=2)
    )
    assert json_format.MessageToDict(answer.explanation) == json_format.MessageToDict(known.explanations[0])
    assert (answer.method, answer.space, answer.output) == (known.method, known.space, known.output)
    assert answer.prediction.prediction.late_probability == known.prediction.predictions[0]["late_probability"]


async def test_what_was_degraded_is_told(mesh: Mesh) -> None:
    await mesh.deploy(changed(FLIGHTS, policies={"features": "defaults"}))
    mesh.features.down = True
    answer = await asked(mesh, "Predict", one(FLIGHT))
    assert [each.policy for each in answer.provenance.degraded] == ["defaults"]


@pytest.mark.parametrize(
    "change",
    [
        {"carrier": "AB"},
        {"carrier": ""},
        {"distance_miles": -1.0},
        {"distance_miles": float("nan")},
        {"origin": "JFX", "distance_miles": 1e9},
    ],
)
async def test_a_refusal_has_the_words_of_a_generic_call(mesh: Mesh, change: dict[str, Any]) -> None:
    code, mine = await refusal(asked(mesh, "Predict", one(FLIGHT | change)))
    _, known = await refusal(mesh.prediction.Predict(generic(FLIGHT | change)))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert mine.message == known.message.replace("instances[0]", "instance", 1)
    assert [(each.field, each.description, each.nearest) for each in mine.violations] == [
        (each.field.replace("instances[0]", "instance", 1), each.description, each.nearest) for each in known.violations
    ]


async def test_a_forgotten_number_is_missing_and_not_zero(mesh: Mesh) -> None:
    row = {name: value for name, value in FLIGHT.items() if name != "distance_miles"}
    _, told = await refusal(asked(mesh, "Predict", one(row)))
    assert [(each.field, each.description) for each in told.violations] == [
        ("instance.distance_miles", "is required and missing")
    ]


async def test_a_request_without_its_row_is_refused(mesh: Mesh) -> None:
    _, told = await refusal(asked(mesh, "Predict", typed(FLIGHTS).message("PredictRequest")()))
    assert [each.field for each in told.violations] == ["instance"]


async def test_a_batch_names_the_row(mesh: Mesh) -> None:
    request = typed(FLIGHTS).message("PredictBatchRequest")()
    for row in (FLIGHT, FLIGHT | {"carrier": "AB"}):
        filled(request.instances.add(), FLIGHTS, row)
    _, told = await refusal(asked(mesh, "PredictBatch", request))
    assert [each.field for each in told.violations] == ["instances[1].carrier"]
    _, told = await refusal(asked(mesh, "PredictBatch", typed(FLIGHTS).message("PredictBatchRequest")()))
    assert [each.field for each in told.violations] == ["instances"]


async def test_a_stream_goes_on_after_a_bad_row(mesh: Mesh) -> None:
    async def requests() -> AsyncIterator[Any]:
        for row in (FLIGHT, FLIGHT | {"carrier": "AB"}, FLIGHT):
            yield one(row, "StreamPredictRequest")

    call: Any = mesh.channel.stream_stream(f"{SERVICE}/StreamPredict")(requests(), metadata=(("x-request-id", "s"),))
    answers = [answer async for answer in call]
    assert [each.index for each in answers] == [0, 1, 2]
    assert [each.WhichOneof("outcome") for each in answers] == ["response", "error", "response"]
    assert answers[1].error.reason == "ERROR_REASON_INVALID_REQUEST"
    assert answers[1].error.message.startswith("instance.carrier")
    assert answers[2].response.prediction_id == "s-2-0"


@pytest.mark.parametrize(
    ("path", "code", "text"),
    [
        ("/predmesh.models.flight_dela.v1.FlightDelaService/Predict", "NOT_FOUND", "did you mean 'flight-delay'?"),
        ("/predmesh.models.flight_delay.v7.FlightDelayService/Predict", "NOT_FOUND", "live: 1"),
        (f"{SERVICE}/Predicts", "UNIMPLEMENTED", "not offered"),
        ("/predmesh.models.flight_delay.v1.FlightsService/Predict", "UNIMPLEMENTED", "not offered"),
        ("/predmesh.models.digits.v1.DigitsService/Explain", "UNIMPLEMENTED", "not offered"),
    ],
)
async def test_what_is_not_served_is_told(mesh: Mesh, path: str, code: str, text: str) -> None:
    found, told = await refusal(mesh.channel.unary_unary(path)(one(FLIGHT)))
    assert found is grpc.StatusCode[code]
    assert isinstance(told, NotFound | NotOffered)
    assert text in told.message


async def test_a_changed_contract_is_served_at_once(mesh: Mesh) -> None:
    inputs = [each.model_dump(mode="json", by_alias=True) for each in FLIGHTS.inputs]
    wider = changed(FLIGHTS, inputs=[*inputs, {"name": "seats", "type": "int32", "required": False, "example": 100}])
    await asked(mesh, "Predict", one(FLIGHT))
    await mesh.deploy(wider)
    request = typed(wider).message("PredictRequest")()
    filled(request.instance, wider, FLIGHT | {"seats": 180})
    answer = await asked(mesh, "Predict", request)
    assert answer.provenance.bundle_id.endswith("000000000001")
    await mesh.deploy(DIGITS)
    code, _ = await refusal(asked(mesh, "Predict", request))
    assert code is grpc.StatusCode.NOT_FOUND


async def test_versions_live_beside_each_other(mesh: Mesh) -> None:
    await mesh.deploy(FLIGHTS, changed(FLIGHTS, version="2"))
    for version in ("1", "2"):
        call: Any = mesh.channel.unary_unary(f"{SERVICE.replace('v1', f'v{version}')}/Predict")
        assert (await call(one(FLIGHT))).provenance.model_version == version


async def test_arrays_come_row_by_row_and_labels_are_text(mesh: Mesh) -> None:
    request = typed(DIGITS).message("PredictRequest")()
    filled(request.instance, DIGITS, IMAGE)
    path = "/predmesh.models.digits.v1.DigitsService/Predict"
    call: Any = mesh.channel.unary_unary(path)
    answer = await call(request)
    known = pb.PredictRequest(model="digits")
    known.instances.add().update(IMAGE)
    record = (await mesh.prediction.Predict(known)).predictions[0]
    assert answer.prediction.digit == record["digit"]
    assert list(answer.prediction.scores) == list(record["scores"])
    request.instance.image.append(5)
    _, told = await refusal(call(request))
    assert [(each.field, each.description) for each in told.violations] == [
        ("instance.image", "must have shape [2, 2], not [5]")
    ]


def test_an_output_that_is_not_finite_is_no_null() -> None:
    numbers = {"scores": np.array([np.nan, np.inf, -np.inf])}
    told = typed(DIGITS).outputs({"digit": "one", "scores": [None, None, None]}, numbers.__getitem__)
    assert [repr(each) for each in told.scores] == ["nan", "inf", "-inf"]


async def test_it_is_served_over_http(front: httpx.AsyncClient) -> None:
    flights = typed(FLIGHTS)
    headers = {"content-type": "application/grpc"}
    answer = await front.post(f"{SERVICE}/Predict", content=framed(one(FLIGHT).SerializeToString()), headers=headers)
    assert 0 < flights.message("PredictResponse").FromString(answer.content[5:]).prediction.late_probability < 1
    path = "/predmesh.models.flight_dela.v1.FlightDelaService/Predict"
    answer = await front.post(path, content=framed(b""), headers=headers)
    assert answer.headers["grpc-status"] == str(grpc.StatusCode.NOT_FOUND.value[0])


@given(bundle=bundles())
def test_a_typed_row_reads_as_the_generic_one(bundle: Bundle) -> None:
    row = {each.name: json_example(each.example, integer=each.type is DataType.INT64) for each in bundle.inputs}
    messages = typed(bundle)
    read = messages.row(filled(messages.message("Inputs")(), bundle, row))
    validator = Validator(bundle)
    known, mine = validator.of_instances([row]), validator.of_instances([read])
    assert list(known.columns) == list(mine.columns)
    for name, column in known.columns.items():
        assert column.values.tolist() == mine.columns[name].values.tolist(), name
