"""REST documents are those of gRPC, and so are the errors."""

from typing import Any

import grpc
import numpy as np
import orjson
import pytest
from google.api import httpbody_pb2
from google.protobuf import descriptor_pb2, json_format
from google.rpc import error_details_pb2, status_pb2
from predmesh.prediction.v1 import prediction_http_service_pb2 as http_pb
from predmesh.prediction.v1 import prediction_service_pb2 as pb
from predmesh.type.v1 import frame_pb2
from predmesh_frame import Column, DataType, Frame
from predmesh_frame.blocks import ColumnBlock
from predmesh_frame.wire import frame_to_proto
from predmesh_rpc.translate import status_of

from tests.unit.prediction.prediction_fakes import FLIGHT, Mesh

ID = (("x-request-id", "r-1"),)


def body(document: Any, content_type: str = "application/json") -> httpbody_pb2.HttpBody:
    data = document if isinstance(document, bytes) else orjson.dumps(document)
    return httpbody_pb2.HttpBody(content_type=content_type, data=data)


async def post(mesh: Mesh, document: Any, model: str = "flight-delay", **more: Any) -> dict[str, Any]:
    request = http_pb.PredictHttpRequest(model=model, body=body(document, **more))
    answer = await mesh.http.PredictHttp(request, metadata=ID)
    assert answer.content_type == "application/json"
    return dict(orjson.loads(answer.data))


def struct_request(rows: list[Any], model: str = "flight-delay") -> pb.PredictRequest:
    request = pb.PredictRequest(model=model)
    for row in rows:
        request.instances.add().update(row)
    return request


def without_timings(document: dict[str, Any]) -> dict[str, Any]:
    timings = [each["stage"] for each in document["timings"]]
    assert all(each["duration"].endswith("s") for each in document["timings"])
    return document | {"timings": timings}


@pytest.mark.parametrize(
    ("model", "rows"),
    [
        pytest.param("flight-delay", [FLIGHT, FLIGHT | {"origin": "LGA"}], id="flights"),
        pytest.param("digits", [{"image": [[0, 1.5], [2, 3]]}], id="digits"),
    ],
)
async def test_rows_get_the_json_form_of_the_grpc_answer(mesh: Mesh, model: str, rows: list[Any]) -> None:
    rest = await post(mesh, {"instances": rows}, model)
    answer = await mesh.prediction.Predict(struct_request(rows, model), metadata=ID)
    assert without_timings(rest) == without_timings(json_format.MessageToDict(answer))


@pytest.mark.parametrize("readable", [True, False])
async def test_columns_get_the_json_form_of_the_grpc_answer(mesh: Mesh, readable: bool) -> None:
    values = {name: Column.of(DataType.STRING, [FLIGHT[name]]) for name in ("carrier", "origin", "dest")}
    values["scheduled_departure"] = Column.of(DataType.TIMESTAMP, [1_388_534_400_000_000])
    values["distance_miles"] = Column.of(DataType.DOUBLE, [2475.0])
    frame = frame_to_proto(Frame.of(values), readable=readable)
    rest = await post(mesh, {"columns": json_format.MessageToDict(frame)})
    answer = await mesh.prediction.Predict(pb.PredictRequest(model="flight-delay", columns=frame), metadata=ID)
    assert without_timings(rest) == without_timings(json_format.MessageToDict(answer))
    kind = answer.columns.columns[0].WhichOneof("values")
    assert kind == ("doubles" if readable else "packed")


async def test_inputs_may_come_as_a_block_and_are_answered_packed(mesh: Mesh) -> None:
    texts = {name: Column.of(DataType.STRING, [FLIGHT[name]]) for name in ("carrier", "origin", "dest")}
    blocks = [
        ColumnBlock(("scheduled_departure",), DataType.TIMESTAMP, np.array([[1_388_534_400_000_000]])),
        ColumnBlock(("distance_miles",), DataType.DOUBLE, np.array([[2475.0]])),
    ]
    frame = frame_to_proto(Frame.of_blocks(1, texts, blocks))
    answer = await mesh.prediction.Predict(pb.PredictRequest(model="flight-delay", columns=frame), metadata=ID)
    assert answer.columns.columns[0].WhichOneof("values") == "packed"


async def test_a_degraded_answer_says_so_in_both(mesh: Mesh) -> None:
    from tests.unit.prediction.prediction_fakes import FLIGHTS, changed

    await mesh.deploy(changed(FLIGHTS, policies={"features": "defaults"}))
    mesh.features.down = True
    rest = await post(mesh, {"instances": [FLIGHT]})
    answer = await mesh.prediction.Predict(struct_request([FLIGHT]), metadata=ID)
    assert without_timings(rest) == without_timings(json_format.MessageToDict(answer))
    assert rest["degraded"][0]["stage"] == "features"


async def test_how_long_ago_features_were_read_is_said_in_both_unless_it_was_now(mesh: Mesh) -> None:
    assert "featuresReadAge" not in await post(mesh, {"instances": [FLIGHT]})
    mesh.features.read_ages = [0.0, 2.25]
    rest = await post(mesh, {"instances": [FLIGHT]})
    answer = await mesh.prediction.Predict(struct_request([FLIGHT]), metadata=ID)
    assert rest["featuresReadAge"] == json_format.MessageToDict(answer)["featuresReadAge"] == "2.250s"


async def test_a_version_can_be_named(mesh: Mesh) -> None:
    request = http_pb.PredictHttpRequest(model="flight-delay", version="1", body=body({"instances": [FLIGHT]}, ""))
    assert orjson.loads((await mesh.http.PredictHttp(request)).data)["modelVersion"] == "1"


async def told(call: Any) -> tuple[grpc.StatusCode, list[Any]]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    status = status_of(caught.value)
    assert status is not None
    return caught.value.code(), _details(status)


def _details(status: status_pb2.Status) -> list[Any]:
    kinds = (error_details_pb2.ErrorInfo, error_details_pb2.BadRequest)
    found: list[Any] = [status.message]
    for detail in status.details:
        for kind in kinds:
            message = kind()
            if detail.Unpack(message):
                found.append(json_format.MessageToDict(message))
    return found


BAD_ROWS = [
    pytest.param([], id="none"),
    pytest.param([FLIGHT | {"carrier": 7, "odd": 1}, {}], id="several"),
    pytest.param([FLIGHT | {"distance_miles": "far"}], id="text for a number"),
    pytest.param([FLIGHT | {"distance_miles": 10_001}], id="range"),
    pytest.param([FLIGHT | {"tailnum": [1, {"a": 2**60}]}], id="nested"),
    pytest.param([FLIGHT | {"scheduled_departure": "noon"}], id="time"),
    pytest.param([FLIGHT] * 10_001, id="too many"),
]


@pytest.mark.parametrize("rows", BAD_ROWS)
async def test_bad_rows_get_the_same_error_over_rest_and_grpc(mesh: Mesh, rows: list[Any]) -> None:
    over_rest = await told(
        mesh.http.PredictHttp(http_pb.PredictHttpRequest(model="flight-delay", body=body({"instances": rows})))
    )
    over_grpc = await told(mesh.prediction.Predict(struct_request(rows)))
    assert over_rest == over_grpc
    assert over_rest[0] is grpc.StatusCode.INVALID_ARGUMENT


BAD_BODIES = [
    pytest.param({"instances": 7}, "instances", id="instances no array"),
    pytest.param({"instances": [FLIGHT], "columns": {"rows": 1}}, "instances", id="both"),
    pytest.param({}, "instances", id="neither"),
    pytest.param({"instances": None}, "instances", id="null"),
    pytest.param({"columns": {"rowz": 1}}, "columns", id="columns no frame"),
    pytest.param({"columns": 7}, "columns", id="columns no object"),
    pytest.param(
        {"columns": {"rows": 2, "columns": [{"name": "carrier", "type": "DATA_TYPE_STRING"}]}},
        "columns.carrier",
        id="column without values",
    ),
    pytest.param({"instances": [FLIGHT], "signature_name": "x"}, "signature_name", id="unknown key"),
    pytest.param(b'{"instances": [{"carrier": "AA", "carrier": "DL"}]}', "instances[0].carrier", id="twice"),
]


@pytest.mark.parametrize(("document", "field"), BAD_BODIES)
async def test_a_bad_body_is_told_where(mesh: Mesh, document: Any, field: str) -> None:
    code, (_, info, bad) = await told(
        mesh.http.PredictHttp(http_pb.PredictHttpRequest(model="flight-delay", body=body(document)))
    )
    assert (code, info["reason"]) == (grpc.StatusCode.INVALID_ARGUMENT, "ERROR_REASON_INVALID_REQUEST")
    assert bad["fieldViolations"][0]["field"] == field


async def test_both_ways_at_once_is_told_alike_over_grpc(mesh: Mesh) -> None:
    request = struct_request([FLIGHT])
    request.columns.CopyFrom(frame_pb2.Frame(rows=1))
    document = {"instances": [FLIGHT], "columns": {"rows": 1}}
    over_rest = await told(mesh.http.PredictHttp(http_pb.PredictHttpRequest(model="flight-delay", body=body(document))))
    assert await told(mesh.prediction.Predict(request)) == over_rest


async def test_another_content_type_is_refused(mesh: Mesh) -> None:
    request = http_pb.PredictHttpRequest(model="flight-delay", body=body(b"a=b", "text/csv"))
    _, (_, info) = await told(mesh.http.PredictHttp(request))
    assert info["reason"] == "ERROR_REASON_CONTENT_TYPE"


async def test_an_unknown_model_is_told_before_a_bad_body(mesh: Mesh) -> None:
    code, (_, info) = await told(mesh.http.PredictHttp(http_pb.PredictHttpRequest(model="digit", body=body(b"["))))
    assert (code, info["metadata"]["nearest"]) == (grpc.StatusCode.NOT_FOUND, "digits")


@pytest.mark.parametrize("rows", [1, 3])
async def test_a_message_of_more_than_four_mebibytes_is_refused(mesh: Mesh, rows: int) -> None:
    request = struct_request([FLIGHT | {"tailnum": "x" * (1500 << 10)}] * rows)
    if rows == 1:
        assert (await mesh.prediction.Predict(request)).predictions
    else:
        _, (_, info) = await told(mesh.prediction.Predict(request))
        assert info["reason"] == "ERROR_REASON_TOO_LARGE"


async def test_the_home_page_shows_models_and_calls_and_escapes_them(mesh: Mesh) -> None:
    page = await mesh.http.GetHomePage(http_pb.GetHomePageRequest())
    text = page.data.decode()
    assert page.content_type.startswith("text/html")
    assert "Whether a flight &lt;arrives&gt; late" in text and "<arrives>" not in text
    for part in (
        "curl -s http://127.0.0.1:8080/v1/models/flight-delay/versions/1:predict",
        "grpcurl",
        ":explain",
        "digits",
    ):
        assert part in text


async def test_the_home_pages_calls_go_where_the_reader_came_from(mesh: Mesh) -> None:
    came = (("x-predmesh-origin", "mesh.example:9090<b>"),)
    page = await mesh.http.GetHomePage(http_pb.GetHomePageRequest(), metadata=came)
    assert b"http://mesh.example:9090&lt;b&gt;/v1/models/flight-delay" in page.data


async def test_the_home_page_of_an_empty_mesh_says_how_to_begin(mesh: Mesh) -> None:
    await mesh.deploy()
    page = await mesh.http.GetHomePage(http_pb.GetHomePageRequest())
    assert b"predmesh deploy" in page.data


async def typed(mesh: Mesh, method: str, document: Any, model: str = "flight-delay") -> dict[str, Any]:
    asks = {"Predict": http_pb.PredictTypedHttpRequest, "PredictBatch": http_pb.PredictBatchTypedHttpRequest}
    ask = asks.get(method, http_pb.ExplainTypedHttpRequest)
    call = getattr(mesh.http, f"{method}TypedHttp")
    return dict(orjson.loads((await call(ask(model=model, version="1", body=body(document)), metadata=ID)).data))


def parted(document: dict[str, Any]) -> dict[str, Any]:
    """A generic document in the parts of a typed one; timings, which differ, by stage alone."""
    about = {key: document.pop(key) for key in ("model", "modelVersion", "bundleId", "requestId")}
    return document | {"provenance": about | {"timings": [each["stage"] for each in document.pop("timings")]}}


def staged(document: dict[str, Any]) -> dict[str, Any]:
    about = document["provenance"]
    return document | {"provenance": about | {"timings": [each["stage"] for each in about["timings"]]}}


async def test_typed_rows_get_what_generic_ones_get(mesh: Mesh) -> None:
    known = parted(await post(mesh, {"instances": [FLIGHT, FLIGHT]}))
    assert staged(await typed(mesh, "PredictBatch", {"instances": [FLIGHT, FLIGHT]})) == known
    known = parted(await post(mesh, {"instances": [FLIGHT]}))
    known |= {"prediction": known.pop("predictions")[0], "predictionId": known.pop("predictionIds")[0]}
    assert staged(await typed(mesh, "Predict", {"instance": FLIGHT})) == known


async def test_a_typed_explanation_is_the_generic_one(mesh: Mesh) -> None:
    request = http_pb.ExplainHttpRequest(model="flight-delay", body=body({"instances": [FLIGHT], "top": 2}))
    known = orjson.loads((await mesh.http.ExplainHttp(request, metadata=ID)).data)
    answer = await typed(mesh, "Explain", {"instance": FLIGHT, "top": 2})
    assert answer["explanation"] == known["explanations"][0]
    assert {key: answer[key] for key in ("method", "space", "output")} == {
        key: known[key] for key in ("method", "space", "output")
    }
    assert answer["prediction"]["prediction"] == known["prediction"]["predictions"][0]


@pytest.mark.parametrize(
    ("document", "field", "text"),
    [
        ({}, "instance", "is required and missing"),
        ({"instance": None}, "instance", "must be an object from input name to value, not null"),
        ({"instances": [FLIGHT]}, "instances", "did you mean 'instance'?"),
        ({"instance": FLIGHT | {"carier": "AA"}}, "instance.carier", "did you mean 'carrier'?"),
        ({"instance": FLIGHT | {"carrier": "AAA"}}, "instance.carrier", "did you mean 'AA'?"),
    ],
)
async def test_a_typed_body_is_read_strictly(mesh: Mesh, document: Any, field: str, text: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await typed(mesh, "Predict", document)
    status = status_of(caught.value)
    assert status is not None
    details = error_details_pb2.BadRequest()
    assert any(each.Unpack(details) for each in status.details)
    assert details.field_violations[0].field == field
    assert text in details.field_violations[0].description


async def contract_file(mesh: Mesh, file: str) -> httpbody_pb2.HttpBody:
    request = http_pb.GetContractHttpRequest(model="flight-delay", version="1", file=file)
    answer: httpbody_pb2.HttpBody = await mesh.http.GetContractHttp(request)
    return answer


async def test_the_files_of_a_contract_are_given(mesh: Mesh) -> None:
    answer = await contract_file(mesh, "contract.binpb")
    assert answer.content_type == "application/octet-stream"
    files = descriptor_pb2.FileDescriptorSet.FromString(answer.data)
    assert files.file[-1].package == "predmesh.models.flight_delay.v1"


async def test_a_file_that_no_contract_has_is_refused(mesh: Mesh) -> None:
    with pytest.raises(grpc.aio.AioRpcError, match=r"did you mean 'openapi\.json'\?"):
        await contract_file(mesh, "openapi.jsn")
    with pytest.raises(grpc.aio.AioRpcError, match="deploy it again"):
        await contract_file(mesh, "openapi.json")
