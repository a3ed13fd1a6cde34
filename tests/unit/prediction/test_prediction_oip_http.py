"""The Open Inference Protocol over REST, JSON and binary, as tritonclient writes and reads it."""

import gzip
import zlib
from typing import Any

import grpc
import numpy as np
import orjson
import pytest
from google.api import httpbody_pb2
from predmesh.prediction.v1 import open_inference_http_service_pb2 as pb
from predmesh_rpc.translate import translate
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput, InferResult

from tests.unit.prediction.prediction_fakes import FLIGHT, Mesh

LENGTH = "inference-header-content-length"


def tensors(binary: bool) -> list[InferInput]:
    made = []
    for name, value in FLIGHT.items():
        number = isinstance(value, float)
        tensor = InferInput(name, [1], "FP64" if number else "BYTES")
        array = np.array([value]) if number else np.array([value.encode()], object)
        tensor.set_data_from_numpy(array, binary_data=binary)
        made.append(tensor)
    return made


async def infer(
    mesh: Mesh, body: bytes, length: int | str | None = None, model: str = "flight-delay", encoding: str = ""
) -> tuple[bytes, str]:
    request = pb.ModelInferHttpRequest(model=model, body=httpbody_pb2.HttpBody(data=body))
    metadata = [] if length is None else [(LENGTH, str(length))]
    metadata += [("content-encoding", encoding)] if encoding else []
    call = mesh.oip_http.ModelInferHttp(request, metadata=tuple(metadata))
    answer = await call
    headers = dict(await call.initial_metadata() or ())
    return answer.data, str(headers.get(LENGTH, ""))


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "JSON"])
async def test_what_tritonclient_writes_is_read_and_the_other_way_round(mesh: Mesh, binary: bool) -> None:
    wanted = [InferRequestedOutput("late_probability", binary_data=binary)]
    body, length = InferenceServerClient.generate_request_body(tensors(binary), outputs=wanted)
    data, header = await infer(mesh, body, length)
    result = InferResult.from_response_body(data, header_length=int(header) if header else None)
    assert result.as_numpy("late_probability") == pytest.approx([0.085])
    assert bool(header) == binary


async def test_all_outputs_come_where_none_is_named(mesh: Mesh) -> None:
    body = orjson.dumps(
        {"id": "9", "inputs": [{"name": "image", "datatype": "FP32", "shape": [1, 2, 2], "data": [[[0, 9], [1, 2]]]}]}
    )
    document = orjson.loads((await infer(mesh, body, model="digits"))[0])
    assert document["id"] == "9"
    assert document["outputs"] == [
        {"name": "digit", "datatype": "BYTES", "shape": [1], "data": ["one"]},
        {"name": "scores", "datatype": "FP32", "shape": [1, 3], "data": [0.0, 9.0, 1.0]},
    ]


async def test_the_raw_name_means_the_models_own_tensors(mesh: Mesh) -> None:
    body = orjson.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1, 20, 5]}]})
    (output,) = orjson.loads((await infer(mesh, body, model="flight-delay.raw"))[0])["outputs"]
    assert output["name"] == "probabilities" and output["data"] == pytest.approx([0.75, 0.25])


TENSOR = {"name": "image", "datatype": "FP32", "shape": [1, 2, 2], "data": [0, 9, 1, 2]}
BAD = [
    pytest.param({"inputs": [TENSOR], "outptus": []}, "outptus", "did you mean 'outputs'", id="unknown key"),
    pytest.param({"inputs": [TENSOR | {"dat": 1}]}, "inputs[0].dat", "did you mean 'data'", id="unknown tensor key"),
    pytest.param({"inputs": [TENSOR | {"shape": [1, 2]}]}, "inputs.image", "shape [1, 2] takes 2", id="shape and data"),
    pytest.param({"inputs": [TENSOR | {"shape": [1, -1]}]}, "inputs.image.shape", "negative", id="negative"),
    pytest.param({"inputs": [TENSOR | {"datatype": "BF16"}]}, "inputs.image.datatype", "BF16", id="datatype"),
    pytest.param({"inputs": [TENSOR | {"data": [0, "a", 1, 2]}]}, "inputs.image", "a string", id="text for a number"),
    pytest.param(
        {"inputs": [TENSOR | {"data": [0, True, 1, 2]}]}, "inputs.image", "a boolean", id="boolean for a number"
    ),
    pytest.param(
        {"inputs": [TENSOR | {"parameters": {"shared_memory_region": "a"}}]},
        "inputs.image.parameters.shared_memory_region",
        "not offered",
        id="shared memory",
    ),
    pytest.param({"inputs": [TENSOR | {"data": [0, 99, 1, 2]}]}, "inputs.image[0][0][1]", "at most 16", id="range"),
    pytest.param({"inputs": [TENSOR | {"shape": [4, 1, 1]}]}, "inputs.image", "must have shape [2, 2]", id="row shape"),
    pytest.param({"inputs": []}, "inputs", "empty", id="no inputs"),
    pytest.param(
        {"inputs": [TENSOR], "outputs": [{"name": "digits"}]}, "outputs.digits", "did you mean 'digit'", id="output"
    ),
    pytest.param({"inputs": 7}, "inputs", "array of objects", id="inputs no array"),
    pytest.param({"inputs": [7]}, "inputs[0]", "an object", id="input no object"),
    pytest.param({"inputs": [TENSOR | {"name": 7}]}, "inputs[0].name", "a string", id="name"),
    pytest.param({"inputs": [TENSOR | {"datatype": None}]}, "inputs.image.datatype", "a string", id="no datatype"),
    pytest.param({"inputs": [TENSOR | {"datatype": "FP23"}]}, "inputs.image.datatype", "'FP32'", id="near datatype"),
    pytest.param({"inputs": [TENSOR | {"shape": [1, 2.0]}]}, "inputs.image.shape", "whole numbers", id="shape"),
    pytest.param({"inputs": [TENSOR | {"shape": None}]}, "inputs.image.shape", "required", id="no shape"),
    pytest.param({"inputs": [TENSOR | {"data": None}]}, "inputs.image", "not null", id="no data"),
    pytest.param({"inputs": [TENSOR | {"data": [[0, 9], [1, 2]]}]}, "inputs.image", "nested", id="another nesting"),
    pytest.param({"inputs": [TENSOR | {"data": [0, [9, 1], 2]}]}, "inputs.image", "nested", id="ragged"),
    pytest.param({"inputs": [TENSOR | {"data": [0, 1e300, 1, 2]}]}, "inputs.image", "fit FP32", id="beyond FP32"),
    pytest.param({"inputs": [TENSOR], "id": 7}, "id", "a string", id="id"),
    pytest.param({"inputs": [TENSOR], "parameters": []}, "parameters", "an object", id="parameters no object"),
    pytest.param(
        {"inputs": [TENSOR], "parameters": {"binary_data_output": 1}},
        "parameters.binary_data_output",
        "true or false",
        id="flag",
    ),
    pytest.param(
        {"inputs": [TENSOR | {"parameters": {"binary_data_size": 16}}]},
        "inputs.image",
        "stands beside",
        id="data twice",
    ),
    pytest.param(
        {"inputs": [TENSOR | {"parameters": {"binary_data_size": -1}}]},
        "inputs.image.parameters.binary_data_size",
        "whole number",
        id="negative size",
    ),
    pytest.param({"inputs": [TENSOR] * 5000}, "inputs", "at most 4096", id="many tensors"),
]


@pytest.mark.parametrize(("document", "field", "text"), BAD)
async def test_a_bad_body_is_told_where(mesh: Mesh, document: Any, field: str, text: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await infer(mesh, orjson.dumps(document), model="digits")
    found = translate(caught.value, "").violations  # type: ignore[attr-defined]
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert text in {each.field: each.reason_text for each in found}[field]


@pytest.mark.parametrize("length", ["-1", "99999", "x", "7.5"])
async def test_a_wrong_header_length_is_refused(mesh: Mesh, length: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await infer(mesh, b"{}", length)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("depth", [200, 300, 1020, 5000])
@pytest.mark.parametrize("inner", [(b"[", b"]"), (b'{"a":', b"}")], ids=["arrays", "objects"])
@pytest.mark.parametrize("before", [b"", b'"id": 1, '], ids=["once", "twice"])
async def test_a_deep_body_is_the_callers_mistake(mesh: Mesh, depth: int, inner: Any, before: bytes) -> None:
    body = b"{" + before + b'"id": ' + inner[0] * depth + b"1" + inner[1] * depth + b"}"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await infer(mesh, body, model="digits")
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_binary_data_that_no_tensor_takes_is_refused(mesh: Mesh) -> None:
    body, length = InferenceServerClient.generate_request_body(tensors(True))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await infer(mesh, body + b"more", length)
    assert "4 bytes" in translate(caught.value, "").violations[0].reason_text  # type: ignore[attr-defined]


async def test_metadata_and_health_answer_in_json(mesh: Mesh) -> None:
    stub = mesh.oip_http
    described = orjson.loads((await stub.ModelMetadataHttp(pb.ModelMetadataHttpRequest(model="digits"))).data)
    assert described["inputs"] == [{"name": "image", "datatype": "FP32", "shape": [-1, 2, 2]}]
    assert described["outputs"][0] == {"name": "digit", "datatype": "BYTES", "shape": [-1]}
    assert orjson.loads((await stub.ServerMetadataHttp(pb.ServerMetadataHttpRequest())).data)["name"] == "predmesh"
    assert orjson.loads((await stub.ServerLiveHttp(pb.ServerLiveHttpRequest())).data) == {"live": True}
    assert orjson.loads((await stub.ServerReadyHttp(pb.ServerReadyHttpRequest())).data) == {"ready": True}
    assert orjson.loads((await stub.ModelReadyHttp(pb.ModelReadyHttpRequest(model="digits"))).data)["ready"]


async def test_what_is_not_ready_is_unavailable(mesh: Mesh) -> None:
    mesh.inference.is_ready = False
    for call in (
        mesh.oip_http.ServerReadyHttp(pb.ServerReadyHttpRequest()),
        mesh.oip_http.ModelReadyHttp(pb.ModelReadyHttpRequest(model="digits")),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize(
    ("encoding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress), ("identity", bytes)]
)
async def test_a_compressed_body_is_inflated(mesh: Mesh, encoding: str, compress: Any) -> None:
    body, length = InferenceServerClient.generate_request_body(tensors(True))
    data, header = await infer(mesh, compress(body), length, encoding=encoding)
    result = InferResult.from_response_body(data, header_length=int(header))
    assert result.as_numpy("late_probability") == pytest.approx([0.085])


@pytest.mark.parametrize(
    ("body", "encoding", "text"),
    [
        (b"{}", "br", "gzip or deflate"),
        (b"{}", "gzip", "not gzip"),
        (gzip.compress(b"{}")[:-1], "gzip", "not gzip"),
        (gzip.compress(b"{}") + b"x", "gzip", "not gzip"),
        (gzip.compress(bytes(5 << 20)), "gzip", "4194304"),
    ],
    ids=["unknown", "none", "cut", "more", "large"],
)
async def test_a_body_that_cannot_be_inflated_is_refused(mesh: Mesh, body: bytes, encoding: str, text: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError, match=text) as caught:
        await infer(mesh, body, encoding=encoding)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_what_cannot_be_said_in_json_is_null(mesh: Mesh) -> None:
    body = orjson.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]}]})
    mesh.inference.answer = np.array([[np.nan, np.inf]], np.float32)
    (output,) = orjson.loads((await infer(mesh, body, model="flight-delay.raw"))[0])["outputs"]
    assert output["data"] == [None, None]
