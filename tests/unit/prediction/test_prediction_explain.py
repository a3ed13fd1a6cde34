"""Explanations over gRPC and REST."""

from typing import Any

import grpc
import orjson
import pytest
from google.api import httpbody_pb2
from google.protobuf import json_format
from predmesh.explanation.v1 import explanation_service_pb2 as explanation_pb
from predmesh.prediction.v1 import prediction_http_service_pb2 as http_pb
from predmesh.prediction.v1 import prediction_service_pb2 as pb
from predmesh_rpc.translate import translate

from tests.unit.prediction.prediction_fakes import FLIGHT, FLIGHTS, Mesh, changed

ID = (("x-request-id", "r-1"),)


def request(*rows: dict[str, Any], **more: Any) -> pb.ExplainRequest:
    made = pb.ExplainRequest(**({"model": "flight-delay"} | more))
    for row in rows or (FLIGHT,):
        made.instances.add().update(row)
    return made


def http(document: Any) -> http_pb.ExplainHttpRequest:
    body = httpbody_pb2.HttpBody(content_type="application/json", data=orjson.dumps(document))
    return http_pb.ExplainHttpRequest(model="flight-delay", body=body)


async def test_attributions_are_named_and_the_largest_comes_first(mesh: Mesh) -> None:
    answer = await mesh.prediction.Explain(request())
    (row,) = answer.explanations
    assert [(each.feature, each.value, each.contribution) for each in row.attributions] == [
        ("distance", 2475.0, 2475.0),
        ("wind", 7.0, 7.0),
        ("delay", 1.5, 1.5),
    ]
    assert (row.base_value, answer.output) == (0.25, "late_probability")
    assert answer.method == explanation_pb.EXPLANATION_METHOD_TREE_SHAP
    assert answer.space == explanation_pb.ATTRIBUTION_SPACE_LOGIT
    assert answer.prediction.predictions[0]["late_probability"] == pytest.approx(0.085)
    assert [each.stage for each in answer.prediction.timings][-1] == "explanation"


async def test_only_the_top_is_listed_where_that_is_asked(mesh: Mesh) -> None:
    answer = await mesh.prediction.Explain(request(FLIGHT, FLIGHT, top=2))
    assert [len(row.attributions) for row in answer.explanations] == [2, 2]


async def test_the_output_index_goes_along(mesh: Mesh) -> None:
    await mesh.prediction.Explain(request(output="late_probability"))
    assert mesh.explanation.requests[0].output_index == 1
    assert 0 < mesh.explanation.requests[0].budget.ToMilliseconds() <= 5000


@pytest.mark.parametrize("row", [FLIGHT, FLIGHT | {"origin": "EWR"}], ids=["all values", "a missing value"])
async def test_rest_gives_the_json_form_of_the_grpc_answer(mesh: Mesh, row: dict[str, Any]) -> None:
    rest = orjson.loads((await mesh.http.ExplainHttp(http({"instances": [row], "top": 3}), metadata=ID)).data)
    answer = json_format.MessageToDict(await mesh.prediction.Explain(request(row, top=3), metadata=ID))
    for document in (rest, answer):
        document["prediction"].pop("timings")
    assert rest == answer


async def test_a_model_without_explanation_says_so(mesh: Mesh) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await mesh.prediction.Explain(request({"image": [[0, 0], [0, 0]]}, model="digits"))
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert translate(caught.value, "").reason == "ERROR_REASON_NOT_EXPLAINABLE"


@pytest.mark.parametrize(
    ("document", "field"),
    [
        pytest.param({"output": "late"}, "output", id="unknown output"),
        pytest.param({"output": 7}, "output", id="output no text"),
        pytest.param({"top": -1}, "top", id="negative top"),
        pytest.param({"top": True}, "top", id="boolean top"),
        pytest.param({"top": False}, "top", id="false for none"),
        pytest.param({"top": ""}, "top", id="empty top"),
        pytest.param({"output": []}, "output", id="empty list for none"),
        pytest.param({"tops": 1}, "tops", id="unknown key"),
    ],
)
async def test_a_bad_choice_is_told_where(mesh: Mesh, document: dict[str, Any], field: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await mesh.http.ExplainHttp(http({"instances": [FLIGHT]} | document))
    (violation,) = translate(caught.value, "").violations  # type: ignore[attr-defined]
    assert violation.field == field


@pytest.mark.parametrize("rows", [[FLIGHT | {"carrier": 7}], [], 7], ids=["wrong row", "no rows", "no list"])
@pytest.mark.parametrize(
    ("document", "fields"),
    [({"output": "late"}, ["output"]), ({"top": -1}, ["top"]), ({"top": -1, "output": 7}, ["top", "output"])],
)
async def test_bad_choices_and_bad_rows_are_told_together(
    mesh: Mesh, rows: Any, document: dict[str, Any], fields: list[str]
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await mesh.http.ExplainHttp(http({"instances": rows} | document))
    error = translate(caught.value, "")
    places = [each.field.partition("[")[0] for each in error.violations]  # type: ignore[attr-defined]
    # What is no list of rows is refused before it is known which outputs there are.
    unknown = rows == 7 and document == {"output": "late"}
    assert places == (["instances"] if unknown else [*fields, "instances"])
    assert error.metadata["violations"] == str(len(places))


async def test_explanation_down_fails_the_request_by_default(mesh: Mesh) -> None:
    mesh.explanation.down = True
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await mesh.prediction.Explain(request())
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_explanation_down_may_be_skipped(mesh: Mesh) -> None:
    await mesh.deploy(changed(FLIGHTS, policies={"explanation": "skip"}))
    mesh.explanation.down = True
    answer = await mesh.prediction.Explain(request(), metadata=ID)
    assert len(answer.prediction.predictions) == 1 and not answer.explanations
    assert [(each.stage, each.policy) for each in answer.prediction.degraded] == [("explanation", "skipped")]
    rest = orjson.loads((await mesh.http.ExplainHttp(http({"instances": [FLIGHT]}), metadata=ID)).data)
    document = json_format.MessageToDict(answer)
    assert rest["prediction"].pop("timings") and document["prediction"].pop("timings")
    assert rest == document
