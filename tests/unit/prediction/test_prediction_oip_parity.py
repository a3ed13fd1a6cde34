"""One table of requests over the Open Inference Protocol's two faces: the same answer, or the same error."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import Any

import grpc
import numpy as np
import orjson
import pytest
from google.api import httpbody_pb2
from predmesh.prediction.v1 import open_inference_http_service_pb2 as http_pb
from predmesh_frame import oip
from predmesh_rpc.translate import translate
from tritonclient.grpc import service_pb2 as pb

from tests.unit.prediction.prediction_fakes import DIGITS, FLIGHTS, Mesh, changed

LENGTH = "inference-header-content-length"
Parameters = dict[str, Any]


@dataclass(frozen=True)
class Tensor:
    """An input as both faces can say it."""

    name: str
    datatype: str
    shape: list[int]
    values: list[Any]
    parameters: Parameters = field(default_factory=dict)


@dataclass(frozen=True)
class Ask:
    """A request as both faces can say it; `outputs` are names with their parameters."""

    model: str
    tensors: list[Tensor]
    version: str = ""
    id: str = ""
    outputs: dict[str, Parameters] = field(default_factory=dict)
    parameters: Parameters = field(default_factory=dict)


@dataclass(frozen=True)
class Said:
    """What came back."""

    names: tuple[str, str, str] = ("", "", "")
    bundle_id: str = ""
    outputs: tuple[tuple[str, str, tuple[int, ...], list[Any]], ...] = ()
    code: str = "OK"
    reason: str = ""
    message: str = ""
    metadata: tuple[tuple[str, str], ...] = ()
    violations: tuple[tuple[str, str], ...] = ()


def failed(error: grpc.aio.AioRpcError) -> Said:
    told = translate(error, "")
    violations = tuple((each.field, each.description) for each in getattr(told, "violations", ()))
    metadata = tuple(sorted(told.metadata.items()))
    return Said(
        code=error.code().name, reason=told.reason, message=told.message, metadata=metadata, violations=violations
    )


def put(parameters: Any, given: Parameters) -> None:
    for name, value in given.items():
        kinds = {bool: "bool_param", int: "int64_param", str: "string_param", float: "double_param"}
        setattr(parameters[name], kinds[type(value)], value)


async def over_grpc(mesh: Mesh, ask: Ask, *, raw: bool) -> Said:
    request = pb.ModelInferRequest(model_name=ask.model, model_version=ask.version, id=ask.id)
    put(request.parameters, ask.parameters)
    for name, parameters in ask.outputs.items():
        put(request.outputs.add(name=name).parameters, parameters)
    for each in ask.tensors:
        tensor = request.inputs.add(name=each.name, datatype=each.datatype, shape=each.shape)
        put(tensor.parameters, each.parameters)
        if raw:
            request.raw_input_contents.append(raw_bytes(each))
        else:
            values = [value.encode() if isinstance(value, str) else value for value in each.values]
            getattr(tensor.contents, oip.FIELDS[each.datatype]).extend(values)
    try:
        answer = await mesh.oip.ModelInfer(request)
    except grpc.aio.AioRpcError as error:
        return failed(error)
    outputs = []
    for index, output in enumerate(answer.outputs):
        if answer.raw_output_contents:
            array = oip.from_raw(output.datatype, output.shape, answer.raw_output_contents[index])
        else:
            array = oip.from_contents(output.datatype, output.shape, output.contents)
        outputs.append((output.name, output.datatype, tuple(output.shape), array.ravel().tolist()))
    names = (answer.model_name, answer.model_version, answer.id)
    return Said(names, answer.parameters["bundle_id"].string_param, tuple(outputs))


def raw_bytes(tensor: Tensor) -> bytes:
    dtype = oip.NUMPY[tensor.datatype] if tensor.datatype in oip.NUMPY else np.dtype("<f4")
    return oip.to_raw(np.array(tensor.values, dtype))


async def over_rest(mesh: Mesh, ask: Ask, *, binary: bool) -> Said:
    inputs, tails = [], []
    for each in ask.tensors:
        spec: dict[str, Any] = {"name": each.name, "datatype": each.datatype, "shape": each.shape}
        if binary:
            tails.append(raw_bytes(each))
            spec["parameters"] = {**each.parameters, "binary_data_size": len(tails[-1])}
        else:
            spec |= {"data": each.values, "parameters": each.parameters}
        inputs.append(spec)
    document = {
        "id": ask.id,
        "inputs": inputs,
        "outputs": [{"name": name, "parameters": parameters} for name, parameters in ask.outputs.items()],
        "parameters": ask.parameters | ({"binary_data_output": True} if binary else {}),
    }
    head = orjson.dumps(document)
    body = httpbody_pb2.HttpBody(data=head + b"".join(tails))
    request = http_pb.ModelInferHttpRequest(model=ask.model, version=ask.version, body=body)
    call = mesh.oip_http.ModelInferHttp(request, metadata=((LENGTH, str(len(head))),))
    try:
        data = (await call).data
    except grpc.aio.AioRpcError as error:
        return failed(error)
    length = int(dict(await call.initial_metadata()).get(LENGTH, len(data)))
    answer, rest, outputs = orjson.loads(data[:length]), data[length:], []
    for output in answer["outputs"]:
        shape, values = output["shape"], output.get("data")
        if values is None:
            size = output["parameters"]["binary_data_size"]
            values, rest = oip.from_raw(output["datatype"], shape, rest[:size]).ravel().tolist(), rest[size:]
        elif output["datatype"] == "BYTES":
            values = [value.encode() for value in values]
        elif output["datatype"] == "FP32":
            values = np.array(values, np.float32).tolist()
        outputs.append((output["name"], output["datatype"], tuple(shape), values))
    assert not rest
    names = (answer["model_name"], answer["model_version"], answer.get("id", ""))
    return Said(names, answer["parameters"]["bundle_id"], tuple(outputs))


FLIGHT = [
    Tensor("carrier", "BYTES", [2], ["AA", "DL"]),
    Tensor("origin", "BYTES", [2, 1], ["JFK", "JFK"]),
    Tensor("dest", "BYTES", [2], ["LAX", "Zürich 東京"]),
    Tensor("scheduled_departure", "BYTES", [2], ["2013-12-31T18:30:00-05:00", "2013-12-31T18:30:00Z"]),
    Tensor("distance_miles", "FP64", [2], [2475.0, 0.0]),
]
IMAGE = Tensor("image", "FP32", [1, 2, 2], [0.0, 9.0, 1.0, 2.0])
X = Tensor("x", "FP32", [1, 3], [1.0, 20.0, 5.0])


def flight(**changes: Any) -> Ask:
    return Ask("flight-delay", [replace(each, **changes.pop(each.name, {})) for each in FLIGHT], **changes)


def image(model: str = "digits", **changes: Any) -> Ask:
    ask = {name: changes.pop(name) for name in ("version", "id", "outputs", "parameters") if name in changes}
    return Ask(model, [replace(IMAGE, **changes)], **ask)


def raw(model: str = "flight-delay.raw", **changes: Any) -> Ask:
    ask = {name: changes.pop(name) for name in ("version", "id", "outputs", "parameters") if name in changes}
    return Ask(model, [replace(X, **changes)], **ask)


CASES = {
    "a flight": flight(),
    "an id": flight(id="42 ü"),
    "an image": image(),
    "the first version": image(version="1"),
    "the second version": image(version="2"),
    "a version that is not live": image(version="9"),
    "a model that is not live": image(model="digit"),
    "a raw model that is not live": image(model="digit.raw"),
    "one output": image(outputs={"scores": {}}),
    "outputs in another order": image(outputs={"scores": {}, "digit": {}}),
    "an unknown output": image(outputs={"score": {}}),
    "an unknown output of a raw model": raw(outputs={"late_probability": {}}),
    "no tensors": Ask("digits", []),
    "no tensors for a raw model": Ask("digits.raw", []),
    "an unknown tensor": image(name="imag"),
    "a tensor twice": Ask("digits", [IMAGE, IMAGE]),
    "a raw tensor twice": Ask("flight-delay.raw", [X, X]),
    "no name": image(name=""),
    "another row shape": image(shape=[1, 4]),
    "no rows": image(shape=[0, 2, 2], values=[]),
    "no dimension": image(shape=[], values=[1.0]),
    "a negative dimension": image(shape=[-1, 2, 2]),
    "many dimensions": image(shape=[1] * 33, values=[1.0]),
    "a vast shape without elements": image(shape=[0, 2**40, 2**40], values=[]),
    "too many rows": image(shape=[10_001, 2, 2], values=[1.0] * 40_004),
    "another datatype that can be widened": image(datatype="INT8", values=[0, 9, 1, 2]),
    "a datatype of no input": image(datatype="UINT64", values=[0, 9, 1, 2]),
    "text for numbers": image(datatype="BYTES", values=["a", "b", "c", "d"]),
    "booleans for numbers": image(datatype="BOOL", values=[True, False, True, True]),
    "out of range": image(values=[0.0, 99.0, 1.0, 2.0]),
    "many violations": flight(
        carrier={"values": ["ZZ", "A"]}, distance_miles={"values": [-1.0, 20_000.0]}, origin={"values": ["", "JFK"]}
    ),
    "a missing input": Ask("flight-delay", FLIGHT[1:]),
    "rows that differ": flight(carrier={"shape": [1], "values": ["AA"]}),
    "a time that is none": flight(scheduled_departure={"values": ["noon", "2013-12-31T18:30:00Z"]}),
    "the model alone": raw(),
    "the model alone, by version": raw(version="1", id="x"),
    "the model alone in two rows": raw(shape=[2, 3], values=[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
    "a raw tensor of another datatype": raw(datatype="FP64"),
    "a raw tensor of another shape": raw(shape=[3, 1]),
    "a raw tensor without rows": raw(shape=[0, 3], values=[]),
    "a raw tensor that is unknown": raw(name="y"),
    "too many raw rows": raw(shape=[10_001, 3], values=[1.0] * 30_003),
    "hints of MLServer": image(parameters={"content_type": "np"}, outputs={"digit": {"content_type": "str"}}),
    "a hint that is none": image(parameters={"content_type": "base64"}),
    "default parameters of Triton": image(parameters={"priority": 0, "sequence_id": 0, "sequence_start": False}),
    "a timeout": image(parameters={"timeout": 5_000_000}),
    "no timeout": image(parameters={"timeout": 0}),
    "a timeout that is none": image(parameters={"timeout": "soon"}),
    "a negative timeout": image(parameters={"timeout": -1}),
    "a priority": image(parameters={"priority": 3}),
    "a sequence": image(parameters={"sequence_id": 7, "sequence_start": True, "sequence_end": False}),
    "a sequence by name": image(parameters={"sequence_id": "seven"}),
    "a parameter that is unknown": image(parameters={"colour": "red"}),
    "a classification": image(outputs={"scores": {"classification": 2}}),
    "no classification": image(outputs={"scores": {"classification": 0}}),
    "an unknown parameter of an output": image(outputs={"scores": {"top": 2}}),
    "shared memory for an output": image(outputs={"scores": {"shared_memory_region": "r", "shared_memory_offset": 8}}),
}
NO_TYPED = {"a datatype that is unknown": image(datatype="BF16"), "half precision": image(datatype="FP16")}
JSON_ALONE = {
    "an unknown parameter of an input": Ask("digits", [replace(IMAGE, parameters={"colour": "red"})]),
    "shared memory for an input": Ask("digits", [replace(IMAGE, parameters={"shared_memory_region": "region"})]),
    "too few values": image(shape=[2, 2, 2]),
}


@pytest.fixture
async def versions(mesh: Mesh) -> Mesh:
    await mesh.deploy(FLIGHTS, DIGITS, changed(DIGITS, version="2"))
    return mesh


def without_lists(said: Said) -> Said:
    """The answer without the lists of what may be there, which are longer over REST by the parameters of bytes."""
    violations = tuple((place, text.partition("; there are")[0]) for place, text in said.violations)
    return replace(said, message=said.message.partition("; there are")[0], violations=violations)


@pytest.mark.parametrize("ask", CASES.values(), ids=CASES.keys())
async def test_both_faces_and_both_forms_say_the_same(versions: Mesh, ask: Ask) -> None:
    first = await over_grpc(versions, ask, raw=True)
    others = [
        await over_grpc(versions, ask, raw=False),
        await over_rest(versions, ask, binary=True),
        await over_rest(versions, ask, binary=False),
    ]
    assert [without_lists(each) for each in others] == [without_lists(first)] * 3
    assert first.code in ("OK", "INVALID_ARGUMENT", "NOT_FOUND")


@pytest.mark.parametrize("ask", NO_TYPED.values(), ids=NO_TYPED.keys())
async def test_datatypes_without_typed_contents_are_alike_as_bytes(versions: Mesh, ask: Ask) -> None:
    first = await over_grpc(versions, ask, raw=True)
    assert await over_rest(versions, ask, binary=True) == await over_rest(versions, ask, binary=False) == first


@pytest.mark.parametrize("ask", JSON_ALONE.values(), ids=JSON_ALONE.keys())
async def test_what_is_wrong_with_an_input_has_the_same_place(versions: Mesh, ask: Ask) -> None:
    typed, spelled = await over_grpc(versions, ask, raw=False), await over_rest(versions, ask, binary=False)
    assert [place for place, _ in typed.violations] == [place for place, _ in spelled.violations] != []
    assert typed.code == spelled.code == "INVALID_ARGUMENT"


async def test_a_timeout_ends_the_request(versions: Mesh) -> None:
    versions.inference.gate = asyncio.Event()
    ask = image(parameters={"timeout": 20_000})
    for said in (await over_grpc(versions, ask, raw=True), await over_rest(versions, ask, binary=False)):
        assert (said.code, said.reason) == ("DEADLINE_EXCEEDED", "ERROR_REASON_DEADLINE")
