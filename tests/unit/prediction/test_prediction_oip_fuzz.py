"""Generated requests of the Open Inference Protocol, from right to garbage: every answer is the caller's or right.

`PREDMESH_FUZZ_EXAMPLES=20000 pytest …` makes more of them.
"""

from __future__ import annotations

import os
from typing import Any

import grpc
import numpy as np
import orjson
from google.api import httpbody_pb2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from predmesh.prediction.v1 import open_inference_http_service_pb2 as http_pb
from predmesh_frame import oip
from tritonclient.grpc import service_pb2 as pb

from tests.unit.prediction import oip_oracle
from tests.unit.prediction.prediction_fakes import FLIGHT, Mesh

LENGTH = "inference-header-content-length"
EXAMPLES = int(os.environ.get("PREDMESH_FUZZ_EXAMPLES", "2000"))
fuzzed = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)

CALLERS = {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "UNIMPLEMENTED", "PERMISSION_DENIED"}
LATE = {"DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED"}
"""What a timeout of the request's own may lead to."""

MODELS = st.sampled_from(["flight-delay", "digits", "flight-delay.raw", "digits.raw", "digit", ".raw", "", "é\n"])
VERSIONS = st.sampled_from(["", "", "1", "9", "x"])
NAMES = st.sampled_from([*FLIGHT, "image", "x", "imag", "", "é", "a" * 300])
OUTPUTS = st.sampled_from(["late_probability", "digit", "scores", "probabilities", "", "é"])
DATATYPES = st.one_of(st.sampled_from([*oip.NUMPY, "BF16", "", "fp32"]), st.text(max_size=8))
DIMENSIONS = st.one_of(st.integers(0, 4), st.sampled_from([-1, 2**31, 2**62, 2**63 - 1]))
SHAPES = st.one_of(
    st.sampled_from([[1], [2], [1, 1], [1, 2, 2], [2, 2, 2], [1, 3], [3, 3], [0], [0, 3], []]),
    st.lists(DIMENSIONS, max_size=5),
    st.lists(st.just(1), min_size=30, max_size=70),
)
TEXTS = st.one_of(st.sampled_from(list(map(str, FLIGHT.values()))), st.text(max_size=12))
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    TEXTS,
    st.sampled_from([0, 1, 0.5, 7, 1e300]),
)
PARAMETERS = st.dictionaries(
    st.one_of(
        st.sampled_from(
            [
                *("timeout", "priority", "sequence_id", "sequence_end", "classification", "content_type", "colour", ""),
                *("binary_data", "binary_data_size", "binary_data_output", "shared_memory_region"),
            ]
        ),
        st.text(max_size=6),
    ),
    SCALARS,
    max_size=2,
)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
)


def made(datatype: str, shape: list[int], bits: bytes) -> list[Any]:
    """As many values of *datatype* as *shape* holds, up to a few hundred, out of *bits*."""
    dims = [size for size in shape if 0 <= size < 10]
    count = int(np.prod(dims, dtype=np.int64)) if len(dims) == len(shape) and len(dims) < 6 else 1
    pool = bits or b"\1"
    numbers = [pool[index % len(pool)] for index in range(count)]
    if datatype == "BYTES":
        values = [str(value) for value in FLIGHT.values()]
        return [values[number % len(values)] for number in numbers]
    if datatype == "BOOL":
        return [number % 2 == 1 for number in numbers]
    return [number % 16 for number in numbers] if datatype[:2] != "FP" else [number % 16 / 2 for number in numbers]


@st.composite
def tensors(draw: st.DrawFn) -> dict[str, Any]:
    """An input in JSON; mostly one that could be."""
    datatype, shape = draw(DATATYPES), draw(SHAPES)
    data: Any = made(datatype, shape, draw(st.binary(max_size=6)))
    if draw(st.integers(0, 3)) == 0:
        data = draw(JSON)
    tensor = {"name": draw(NAMES), "datatype": datatype, "shape": shape, "data": data}
    if draw(st.booleans()):
        tensor["parameters"] = draw(PARAMETERS)
    for key in draw(st.sets(st.sampled_from([*tensor, "dat"]), max_size=1) if draw(st.booleans()) else st.just(set())):
        tensor[key] = draw(JSON)
    return tensor


def tensor(name: str, datatype: str, shape: list[int], data: list[Any]) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape, "data": data}


RIGHT: dict[str, list[dict[str, Any]]] = {
    "flight-delay": [
        tensor(name, "FP64" if isinstance(value, float) else "BYTES", [1], [value]) for name, value in FLIGHT.items()
    ],
    "digits": [tensor("image", "FP32", [1, 2, 2], [0, 9, 1, 2])],
    "flight-delay.raw": [tensor("x", "FP32", [2, 3], [1, 2, 3, 4, 5, 6])],
    "digits.raw": [tensor("image", "FP32", [1, 2, 2], [0, 9, 1, 2])],
}
"""Inputs that each model takes."""


@st.composite
def asked(draw: st.DrawFn) -> tuple[str, str, list[dict[str, Any]]]:
    """A model, its version, and inputs: right ones, some of them changed, or any."""
    model = draw(st.sampled_from(sorted(RIGHT)))
    inputs = [dict(each) for each in RIGHT[model]]
    how = draw(st.integers(0, 9))
    if how < 3:
        return model, draw(st.sampled_from(["", "1"])), inputs
    if how < 8:
        changed = draw(tensors())
        kept = draw(st.sets(st.sampled_from(["name", "datatype", "shape", "data"]), min_size=1))
        at = draw(st.integers(0, len(inputs) - 1))
        inputs[at] = {**changed, **{key: inputs[at][key] for key in kept}}
        return model, "", inputs
    return draw(MODELS), draw(VERSIONS), draw(st.lists(tensors(), max_size=3))


def perhaps(strategy: st.SearchStrategy[Any], default: Any) -> st.SearchStrategy[Any]:
    """*default*, three times in four."""
    return st.one_of(st.just(default), st.just(default), st.just(default), strategy)


@st.composite
def documents(draw: st.DrawFn) -> tuple[str, str, Any]:
    """A model, its version, and a request in JSON."""
    model, version, inputs = draw(asked())
    document = {"inputs": inputs}
    document |= draw(
        perhaps(st.lists(OUTPUTS, max_size=2).map(lambda names: {"outputs": [{"name": n} for n in names]}), {})
    )
    document |= draw(perhaps(PARAMETERS.map(lambda given: {"parameters": given}), {}))
    document |= draw(
        perhaps(st.dictionaries(st.sampled_from(["id", "outputs", "parameters", "inputs", "input"]), JSON), {})
    )
    return model, version, draw(perhaps(JSON, document))


@st.composite
def bodies(draw: st.DrawFn) -> tuple[str, str, bytes, str, str]:
    """A model, its version, a body, the length of its JSON and its encoding."""
    model, version, document = draw(documents())
    body = orjson.dumps(document)
    tail = draw(st.binary(max_size=40))
    match draw(st.integers(0, 9)):
        case 0:
            at = draw(st.integers(0, len(body)))
            body = body[:at] + draw(st.binary(max_size=3)) + body[at + draw(st.integers(0, 3)) :]
        case 1:
            length = draw(st.one_of(st.just(str(len(body))), st.text(max_size=4), st.integers().map(str)))
            return model, version, body + tail, length, ""
        case 2:
            return model, version, body, "", draw(st.sampled_from(["gzip", "deflate", "br", "identity"]))
    return model, version, body, "", ""


@fuzzed
@given(asking=bodies())
async def test_no_body_is_ours_to_answer_for(mesh: Mesh, asking: tuple[str, str, bytes, str, str]) -> None:
    model, version, body, length, encoding = asking
    request = http_pb.ModelInferHttpRequest(model=model, version=version, body=httpbody_pb2.HttpBody(data=body))
    call = mesh.oip_http.ModelInferHttp(request, metadata=((LENGTH, length), ("content-encoding", encoding)))
    try:
        answer = await call
    except grpc.aio.AioRpcError as error:
        assert error.code().name in (CALLERS | LATE if b"timeout" in body else CALLERS), error.details()
        return
    if not dict(await call.initial_metadata()).get(LENGTH):
        oip_oracle.judge("POST", "/v2/models/m/infer", 200, orjson.loads(answer.data))


def put(parameters: Any, values: dict[str, Any]) -> None:
    for name, value in values.items():
        if isinstance(value, bool):
            parameters[name].bool_param = value
        elif isinstance(value, int):
            setattr(parameters[name], "int64_param" if value < 2**63 else "uint64_param", value)
        elif isinstance(value, float):
            parameters[name].double_param = value
        elif isinstance(value, str):
            parameters[name].string_param = value
        else:
            parameters[name].SetInParent()


def wellformed(spec: dict[str, Any]) -> tuple[str, str, list[int], list[Any]]:
    """What a message can say of *spec*: its values are of its datatype, its dimensions integers of 64 bits."""
    name, datatype, shape = str(spec.get("name")), str(spec.get("datatype")), spec.get("shape")
    dims = [size for size in shape if type(size) is int and abs(size) < 2**63] if isinstance(shape, list) else []
    right = next((each for inputs in RIGHT.values() for each in inputs if each["data"] == spec.get("data")), None)
    if right is not None and right["datatype"] == datatype:
        return name, datatype, dims, right["data"]
    return name, datatype, dims, made(datatype, dims, name.encode())


@st.composite
def messages(draw: st.DrawFn) -> Any:
    """A request of the gRPC face."""
    model, version, specs = draw(asked())
    request = pb.ModelInferRequest(model_name=model, model_version=version, id=draw(st.text(max_size=4)))
    put(request.parameters, draw(perhaps(PARAMETERS, {})))
    for name in draw(perhaps(st.lists(OUTPUTS, max_size=2), [])):
        put(request.outputs.add(name=name).parameters, draw(perhaps(PARAMETERS, {})))
    raw = draw(st.booleans())
    for spec in specs:
        name, datatype, shape, values = wellformed(spec)
        tensor = request.inputs.add(name=name, datatype=datatype, shape=shape)
        put(tensor.parameters, draw(perhaps(PARAMETERS, {})))
        garbled = draw(st.integers(0, 9)) == 0
        if raw:
            known = oip.to_raw(np.array(values, oip.NUMPY.get(datatype, np.dtype("<f4"))))
            request.raw_input_contents.append(draw(st.binary(max_size=30)) if garbled else known)
        elif garbled:
            field = draw(st.sampled_from(sorted(set(oip.FIELDS.values()) - {"bytes_contents"})))
            getattr(tensor.contents, field).extend(draw(st.lists(st.integers(0, 1), max_size=4)))
        elif datatype in oip.FIELDS:
            encoded = [value.encode() if isinstance(value, str) else value for value in values]
            getattr(tensor.contents, oip.FIELDS[datatype]).extend(encoded)
    if draw(st.integers(0, 9)) == 0:
        request.raw_input_contents.append(draw(st.binary(max_size=9)))
    return request


@fuzzed
@given(request=messages())
async def test_no_message_is_ours_to_answer_for(mesh: Mesh, request: Any) -> None:
    try:
        answer = await mesh.oip.ModelInfer(request)
    except grpc.aio.AioRpcError as error:
        allowed = CALLERS | LATE if "timeout" in request.parameters else CALLERS
        assert error.code().name in allowed, error.details()
        return
    assert answer.id == request.id
    for index, output in enumerate(answer.outputs):
        if answer.raw_output_contents:
            oip.from_raw(output.datatype, output.shape, answer.raw_output_contents[index])
        else:
            oip.from_contents(output.datatype, output.shape, output.contents)


@fuzzed
@given(
    body=st.one_of(st.binary(max_size=20), JSON.map(orjson.dumps)), path=st.sampled_from(["index", "load", "unload"])
)
async def test_no_request_to_the_repository_is_ours_to_answer_for(mesh: Mesh, body: bytes, path: str) -> None:
    data = httpbody_pb2.HttpBody(data=body)
    stub, admin = mesh.oip_http, (("x-predmesh-scopes", "admin"),)
    calls = {
        "index": lambda: stub.RepositoryIndexHttp(http_pb.RepositoryIndexHttpRequest(body=data)),
        "load": lambda: stub.RepositoryModelLoadHttp(
            http_pb.RepositoryModelLoadHttpRequest(model="digits", body=data), metadata=admin
        ),
        "unload": lambda: stub.RepositoryModelUnloadHttp(
            http_pb.RepositoryModelUnloadHttpRequest(model="digits", body=data), metadata=admin
        ),
    }
    try:
        await calls[path]()
    except grpc.aio.AioRpcError as error:
        assert error.code().name in CALLERS, error.details()
