"""The faces of the server: each says a case in its protocol, and reads what comes back."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory, struct_pb2
from google.rpc import status_pb2
from predmesh.prediction.v1 import prediction_service_pb2 as pb
from predmesh.type.v1 import frame_pb2
from predmesh_bundle.contract_names import value_name
from predmesh_frame import oip
from predmesh_frame.wire import frame_from_proto
from tritonclient.grpc import service_pb2

from tests.parity.golden import Case
from tests.parity.outcomes import CODES, Outcome, in_band, refused
from tests.parity.rows import (
    INPUTS,
    OUTPUTS,
    CannotSay,
    Field,
    Row,
    check_rectangular,
    common_shape,
    flat,
    known,
    microseconds,
    output,
    plain,
    said,
)
from tests.parity.wire import CANCELLED, Reply, Shot

JSON = ("content-type", "application/json")
HTTP_STATUS = {3: 400, 4: 504, 5: 404, 7: 403, 8: 429, 9: 400, 12: 501, 13: 500, 14: 503}
"""The HTTP status of each gRPC code."""

_SERVICE = "/predmesh.prediction.v1.PredictionService"
_OIP = "/inference.GRPCInferenceService"
_LENGTH = "inference-header-content-length"
_DATATYPES = {"bool": "BOOL", "int32": "INT32", "int64": "INT64", "float": "FP32", "double": "FP64"}

Said = tuple[tuple[str, str, str] | None, Sequence[Mapping[str, Any]]]
"""Who answered, and the outputs of each row."""


class Face(Protocol):
    """One way of asking the server."""

    @property
    def name(self) -> str:
        """What it is called."""
        ...

    def ask(self, case: Case) -> Shot:
        """The request that says *case*. Raises CannotSay."""
        ...

    def read(self, case: Case, reply: Reply) -> list[Outcome]:
        """What came of it: an outcome, or one a request of a stream."""
        ...


class Messages(Protocol):
    """How rows are said in the messages of a gRPC service."""

    @property
    def name(self) -> str:
        """What it is called."""
        ...

    @property
    def row_by_row(self) -> bool:
        """Whether each request of a stream is a row."""
        ...

    def path(self, case: Case, *, stream: bool) -> str:
        """The method of a case."""
        ...

    def asked(self, case: Case, rows: Sequence[Row]) -> bytes:
        """The request for *rows*. Raises CannotSay."""
        ...

    def told(self, case: Case, data: bytes) -> Said:
        """What an answer says."""
        ...

    def streamed(self, request: bytes) -> bytes:
        """The message of a stream that holds *request*."""
        ...

    def unstreamed(self, case: Case, data: bytes) -> bytes | Outcome:
        """The answer in a message of a stream, or how its request failed."""
        ...


@dataclass(frozen=True)
class Rpc:
    """A face of messages, over gRPC or gRPC-Web, with one answer or a stream of them."""

    messages: Messages
    how: Literal["grpc", "web"]
    stream: bool = False

    @property
    def name(self) -> str:
        """What it is called."""
        return " ".join([self.messages.name, self.how, *(["stream"] if self.stream else [])])

    def ask(self, case: Case) -> Shot:
        """The call."""
        _check_stream(case, streams=self.stream)
        if self.stream and self.messages.row_by_row and not case.stream and len(case.rows) != 1:
            raise CannotSay("a request of the stream is a row")
        if case.raw is not None:
            bodies = [case.raw]
        else:
            requests = [[row] for row in case.rows] if case.stream else [case.rows]
            bodies = [self.messages.asked(case, rows) for rows in requests]
            bodies = [self.messages.streamed(each) for each in bodies] if self.stream else bodies
        path = self.messages.path(case, stream=self.stream)
        return Shot(self.how, path, tuple(bodies), (), self.stream, case.seconds, case.cancel_after)

    def read(self, case: Case, reply: Reply) -> list[Outcome]:
        """What came of it."""
        if reply.code is None:
            return [Outcome(oddities=(f"no gRPC answer, but HTTP {reply.status}",))]
        if reply.code == CANCELLED:
            return [Outcome("CANCELLED", None, None)]
        if reply.code:
            return [refused(reply.told, len(case.rows))]
        if not self.stream:
            return [_answered(self.messages, case, reply.bodies[0])]
        parts = [self.messages.unstreamed(case, each) for each in reply.bodies]
        return [each if isinstance(each, Outcome) else _answered(self.messages, case, each) for each in parts]


def _answered(messages: Messages, case: Case, data: bytes) -> Outcome:
    origin, rows = messages.told(case, data)
    return Outcome(rows=rows, origin=origin)


def _check_stream(case: Case, *, streams: bool) -> None:
    if case.stream and not streams:
        raise CannotSay("one answer alone")
    if streams and case.seconds is not None:
        raise CannotSay("a stream has no deadline of each request")


@dataclass(frozen=True)
class Generic:
    """PredictionService, with rows as JSON objects or as columns."""

    columns: bool = False
    row_by_row = False

    @property
    def name(self) -> str:
        """What it is called."""
        return "columns" if self.columns else "generic"

    def path(self, case: Case, *, stream: bool) -> str:
        """Predict, or StreamPredict."""
        return f"{_SERVICE}/{'StreamPredict' if stream else 'Predict'}"

    def asked(self, case: Case, rows: Sequence[Row]) -> bytes:
        """A PredictRequest."""
        request = pb.PredictRequest(model=case.model, version=case.version)
        if self.columns:
            request.columns.CopyFrom(frame(rows, packed=True))
        else:
            for row in rows:
                if not isinstance(row, dict):
                    raise CannotSay("a row is an object")
                request.instances.append(_struct(plain(row, finite=False)))
        return request.SerializeToString()

    def told(self, case: Case, data: bytes) -> Said:
        """The rows of a PredictResponse."""
        answer = pb.PredictResponse.FromString(data)
        origin = (answer.model, answer.model_version, answer.bundle_id)
        if self.columns:
            return origin, of_frame(answer.columns)
        return origin, _outputs([json_format.MessageToDict(each) for each in answer.predictions])

    def streamed(self, request: bytes) -> bytes:
        """A StreamPredictRequest."""
        return pb.StreamPredictRequest(request=pb.PredictRequest.FromString(request)).SerializeToString()

    def unstreamed(self, case: Case, data: bytes) -> bytes | Outcome:
        """What a StreamPredictResponse holds."""
        answer = pb.StreamPredictResponse.FromString(data)
        if answer.HasField("error"):
            return in_band(
                answer.error.code, answer.error.reason, answer.error.message, 1 if case.stream else len(case.rows)
            )
        return answer.response.SerializeToString()


class Typed:
    """The model's own service, by the contract that the server gives."""

    name = "typed"
    row_by_row = True

    def __init__(self, contract: bytes) -> None:
        """Read the FileDescriptorSet of the model's contract."""
        files = descriptor_pb2.FileDescriptorSet.FromString(contract)
        self._pool: Any = descriptor_pool.DescriptorPool()
        for file in files.file:
            self._pool.AddSerializedFile(file.SerializeToString())
        self._package = files.file[-1].package
        self._service = files.file[-1].service[0].name

    def message(self, name: str) -> Any:
        """The class of the contract's message of that name."""
        return message_factory.GetMessageClass(self._pool.FindMessageTypeByName(f"{self._package}.{name}"))

    def path(self, case: Case, *, stream: bool) -> str:
        """Predict for a row, PredictBatch for others, StreamPredict."""
        if case.model != "parity":
            raise CannotSay("the model is part of the path")
        if not case.version.isdigit() and case.version:
            raise CannotSay("the version is part of the path")
        package = self._package if not case.version else f"{self._package.rpartition('.')[0]}.v{case.version}"
        method = "StreamPredict" if stream else "Predict" if len(case.rows) == 1 else "PredictBatch"
        return f"/{package}.{self._service}/{method}"

    def asked(self, case: Case, rows: Sequence[Row]) -> bytes:
        """A PredictRequest or PredictBatchRequest of the contract."""
        if case.stream or len(rows) == 1:
            request = self.message("PredictRequest")()
            request.instance.SetInParent()
            self._fill(request.instance, rows[0])
        else:
            request = self.message("PredictBatchRequest")()
            for row in rows:
                self._fill(request.instances.add(), row)
        return bytes(request.SerializeToString())

    def told(self, case: Case, data: bytes) -> Said:
        """The rows of a response of the contract."""
        if case.stream or len(case.rows) == 1:
            answer = self.message("PredictResponse").FromString(data)
            rows = [answer.prediction]
        else:
            answer = self.message("PredictBatchResponse").FromString(data)
            rows = list(answer.predictions)
        about = answer.provenance
        return (about.model, about.model_version, about.bundle_id), [self._outputs(each) for each in rows]

    def streamed(self, request: bytes) -> bytes:
        """A StreamPredictRequest of the contract, which has the fields of its PredictRequest."""
        return request

    def unstreamed(self, case: Case, data: bytes) -> bytes | Outcome:
        """What a StreamPredictResponse of the contract holds."""
        answer = self.message("StreamPredictResponse").FromString(data)
        if answer.HasField("error"):
            return in_band(
                answer.error.code, answer.error.reason, answer.error.message, 1 if case.stream else len(case.rows)
            )
        return bytes(answer.response.SerializeToString())

    def _fill(self, inputs: Any, row: Row) -> None:
        if not isinstance(row, dict):
            raise CannotSay("a row is a message")
        for name, value in row.items():
            field = known(name)
            if value is None:
                continue
            if field.shape:
                getattr(inputs, name).extend(self._element(field, each) for each in check_rectangular(field, value))
            elif field.type == "timestamp":
                getattr(inputs, name).CopyFrom(self._element(field, said(field, value)))
            else:
                setattr(inputs, name, self._element(field, said(field, value)))

    def _element(self, field: Field, value: Any) -> Any:
        if field.enum:
            if value not in field.categories:
                raise CannotSay("an enum has no other value")
            return self._numbers(field)[value]
        if field.type == "timestamp":
            moment = message_factory.GetMessageClass(self._pool.FindMessageTypeByName("google.protobuf.Timestamp"))()
            moment.FromMicroseconds(microseconds(value))  # type: ignore[attr-defined]
            return moment
        if field.type == "string" and not _is_utf8(value):
            raise CannotSay("a string is UTF-8")
        return value

    def _numbers(self, field: Field, side: str = "Inputs") -> dict[str, int]:
        values = self.message(side).DESCRIPTOR.fields_by_name[field.name].enum_type.values_by_name
        return {text: values[value_name(field.name, text)].number for text in field.categories}

    def _outputs(self, message: Any) -> dict[str, Any]:
        found = {}
        for name, field in OUTPUTS.items():
            value = getattr(message, name)
            if field.enum:
                value = {number: text for text, number in self._numbers(field, "Outputs").items()}.get(value)
            elif field.type == "timestamp":
                value = value.ToMicroseconds()
            elif message.DESCRIPTOR.fields_by_name[name].is_repeated:
                value = list(value)
            found[name] = output(name, value)
        return found


@dataclass(frozen=True)
class OpenInference:
    """The Open Inference Protocol over gRPC, with typed contents or raw bytes."""

    raw: bool = False
    row_by_row = False

    @property
    def name(self) -> str:
        """What it is called."""
        return "oip-raw" if self.raw else "oip"

    def path(self, case: Case, *, stream: bool) -> str:
        """ModelInfer, or ModelStreamInfer."""
        return f"{_OIP}/{'ModelStreamInfer' if stream else 'ModelInfer'}"

    def asked(self, case: Case, rows: Sequence[Row]) -> bytes:
        """A ModelInferRequest."""
        request = service_pb2.ModelInferRequest(model_name=case.model, model_version=case.version)
        for name, datatype, shape, values in tensors(rows):
            tensor = request.inputs.add(name=name, datatype=datatype, shape=shape)
            if self.raw:
                request.raw_input_contents.append(_raw(datatype, values))
            else:
                getattr(tensor.contents, oip.FIELDS[datatype]).extend(values)
        return bytes(request.SerializeToString())

    def told(self, case: Case, data: bytes) -> Said:
        """The rows of a ModelInferResponse."""
        answer = service_pb2.ModelInferResponse.FromString(data)
        arrays = {}
        for index, each in enumerate(answer.outputs):
            if answer.raw_output_contents:
                arrays[each.name] = oip.from_raw(each.datatype, each.shape, answer.raw_output_contents[index])
            else:
                arrays[each.name] = oip.from_contents(each.datatype, each.shape, each.contents)
        bundle = answer.parameters["bundle_id"].string_param
        return (answer.model_name, answer.model_version, bundle), _of_arrays(arrays)

    def streamed(self, request: bytes) -> bytes:
        """The request itself."""
        return request

    def unstreamed(self, case: Case, data: bytes) -> bytes | Outcome:
        """What a ModelStreamInferResponse holds; of an error it tells the message alone."""
        answer = service_pb2.ModelStreamInferResponse.FromString(data)
        if answer.error_message:
            return in_band(None, None, answer.error_message, 1 if case.stream else len(case.rows))
        return bytes(answer.infer_response.SerializeToString())


@dataclass(frozen=True)
class Rest:
    """JSON over HTTP; *body* and *path* say a case, *told* reads the rows of an answer."""

    name: str
    path: Callable[[Case], str]
    body: Callable[[Case], tuple[bytes, tuple[tuple[str, str], ...]]]
    told: Callable[[Case, Reply], Said]
    takes_raw: bool = True

    def ask(self, case: Case) -> Shot:
        """The request."""
        _check_stream(case, streams=False)
        if case.raw is None:
            body, headers = self.body(case)
        elif self.takes_raw:
            body, headers = case.raw, (JSON,)
        else:
            raise CannotSay("its other form says it")
        path = self.path(case)
        return Shot("http", path, (body,), headers, False, case.seconds, case.cancel_after)

    def read(self, case: Case, reply: Reply) -> list[Outcome]:
        """What came of it."""
        if reply.code is not None:
            return [Outcome(CODES[reply.code], None, None)]
        if reply.status == 200:
            origin, rows = self.told(case, reply)
            return [Outcome(rows=rows, origin=origin)]
        return [document_outcome(reply.bodies[0], len(case.rows), reply.status)]


@dataclass(frozen=True)
class RestStream:
    """JSON over HTTP, answered by a line or a server-sent event a row; *told* reads the answer of one."""

    name: str
    path: str
    told: Callable[[Any], Said]
    lines: bool
    events: bool

    def ask(self, case: Case) -> Shot:
        """The request."""
        if not case.model or (not case.stream and len(case.rows) != 1):
            raise CannotSay("each row is a request of its own, and the model is part of the path")
        if case.raw is not None or case.seconds is not None:
            raise CannotSay("a line that cannot be read is a row")
        rows = [plain(row, finite=True) for row in case.rows]
        documents = rows if self.lines else [{"instances": rows}]
        body = b"\n".join(_document(each)[0] for each in documents)
        kind = "application/x-ndjson" if self.lines else "application/json"
        version = f"/versions/{case.version or 1}" if case.version or "typed" in self.path else ""
        headers = [("content-type", kind), *([("accept", "text/event-stream")] if self.events else [])]
        path = self.path.format(case.model, version)
        return Shot("http", path, (body,), tuple(headers), cancel_after=case.cancel_after)

    def read(self, case: Case, reply: Reply) -> list[Outcome]:
        """What came of each row."""
        if reply.code is not None:
            return [Outcome(CODES[reply.code], None, None)]
        if reply.status != 200:
            return [document_outcome(reply.bodies[0], len(case.rows), reply.status)] * len(case.expected)
        marked = re.findall(rb"^data: ?(.*)$", reply.bodies[0], re.MULTILINE)[:-1]
        parts = marked if self.events else reply.bodies[0].splitlines()
        return [self._row(index, json.loads(part)) for index, part in enumerate(parts)]

    def _row(self, index: int, document: Any) -> Outcome:
        if document["index"] != index:
            return Outcome(oddities=(f"answer {index} is of row {document['index']}",))
        if "error" in document:
            told = document["error"]
            message = told["message"].replace(f"instances[{index}]", "instance", 1)
            return in_band(told["code"], told["reason"], message, 1)
        origin, rows = self.told(document["response"])
        return Outcome(rows=rows, origin=origin)


def document_outcome(body: bytes, rows: int, status: int) -> Outcome:
    """What an error document says, which came with that HTTP *status*."""
    try:
        told = json_format.Parse(body, status_pb2.Status(), ignore_unknown_fields=True)
    except json_format.ParseError as error:
        return Outcome(oddities=(f"HTTP {status} without an error document: {error}"[:200],))
    right = HTTP_STATUS.get(told.code)
    return refused(told, rows, () if status == right else (f"HTTP {status} for code {told.code}",))


def _version(case: Case) -> str:
    return f"/versions/{case.version}" if case.version else ""


def _generic_path(case: Case) -> str:
    if not case.model:
        raise CannotSay("the model is part of the path")
    return f"/v1/models/{case.model}{_version(case)}:predict"


def _typed_path(case: Case) -> str:
    if not case.model:
        raise CannotSay("the model is part of the path")
    method = "predict" if len(case.rows) == 1 else "predictBatch"
    return f"/v1/models/{case.model}/versions/{case.version or 1}/typed:{method}"


def _oip_path(case: Case) -> str:
    if not case.model:
        raise CannotSay("the model is part of the path")
    return f"/v2/models/{case.model}{_version(case)}/infer"


def _document(document: Any) -> tuple[bytes, tuple[tuple[str, str], ...]]:
    try:
        return json.dumps(document, ensure_ascii=False).encode(), (JSON,)
    except UnicodeEncodeError:
        raise CannotSay("JSON is UTF-8") from None


def _instances_body(case: Case) -> tuple[bytes, tuple[tuple[str, str], ...]]:
    return _document({"instances": [plain(row, finite=True) for row in case.rows]})


def _columns_body(case: Case) -> tuple[bytes, tuple[tuple[str, str], ...]]:
    return _document({"columns": json_format.MessageToDict(frame(case.rows, packed=False))})


def _typed_body(case: Case) -> tuple[bytes, tuple[tuple[str, str], ...]]:
    rows = [plain(row, finite=True) for row in case.rows]
    return _document({"instance": rows[0]} if len(rows) == 1 else {"instances": rows})


def _oip_body(case: Case) -> tuple[bytes, tuple[tuple[str, str], ...]]:
    inputs = []
    for name, datatype, shape, values in tensors(case.rows):
        try:
            data = [value.decode() if isinstance(value, bytes) else value for value in values]
        except UnicodeDecodeError:
            raise CannotSay("JSON holds text alone") from None
        if any(isinstance(value, float) and not np.isfinite(value) for value in data):
            raise CannotSay("JSON has no NaN and no infinity")
        inputs.append({"name": name, "datatype": datatype, "shape": list(shape), "data": data})
    return _document({"inputs": inputs})


def _oip_binary_body(case: Case) -> tuple[bytes, tuple[tuple[str, str], ...]]:
    inputs, tails = [], []
    for name, datatype, shape, values in tensors(case.rows):
        tails.append(_raw(datatype, values))
        size = {"binary_data_size": len(tails[-1])}
        inputs.append({"name": name, "datatype": datatype, "shape": list(shape), "parameters": size})
    head, headers = _document({"inputs": inputs, "parameters": {"binary_data_output": True}})
    return head + b"".join(tails), (*headers[:0], (_LENGTH, str(len(head))))


def _generic_told(case: Case, reply: Reply) -> Said:
    return _generic_row(json.loads(reply.bodies[0]))


def _generic_row(answer: Any) -> Said:
    return (answer["model"], answer["modelVersion"], answer["bundleId"]), _outputs(answer["predictions"])


def _columns_told(case: Case, reply: Reply) -> Said:
    answer = json.loads(reply.bodies[0])
    columns = json_format.ParseDict(answer["columns"], frame_pb2.Frame())
    return (answer["model"], answer["modelVersion"], answer["bundleId"]), of_frame(columns)


def _typed_told(case: Case, reply: Reply) -> Said:
    return _typed_row(json.loads(reply.bodies[0]))


def _typed_row(answer: Any) -> Said:
    about = answer["provenance"]
    rows = answer["predictions"] if "predictions" in answer else [answer["prediction"]]
    return (about["model"], about["modelVersion"], about["bundleId"]), _outputs(rows)


def _oip_told(case: Case, reply: Reply) -> Said:
    body = reply.bodies[0]
    length = int(reply.headers.get(_LENGTH, len(body)))
    answer, rest, arrays = json.loads(body[:length]), body[length:], {}
    for each in answer["outputs"]:
        if "data" in each:
            values: Any = np.empty(len(each["data"]), object)
            values[:] = [value.encode() if isinstance(value, str) else value for value in each["data"]]
            arrays[each["name"]] = values.reshape(each["shape"])
        else:
            size = each["parameters"]["binary_data_size"]
            arrays[each["name"]] = oip.from_raw(each["datatype"], each["shape"], rest[:size])
            rest = rest[size:]
    bundle = answer["parameters"]["bundle_id"]
    return (answer["model_name"], answer["model_version"], bundle), _of_arrays(arrays)


def frame(rows: Sequence[Row], *, packed: bool) -> frame_pb2.Frame:
    """The rows as columns. Raises CannotSay."""
    if not all(isinstance(row, dict) for row in rows):
        raise CannotSay("columns hold values of inputs")
    made = frame_pb2.Frame(rows=len(rows))
    if not rows:
        made.columns.extend(_column(name, (), field.shape, packed=packed) for name, field in INPUTS.items())
    for name in dict.fromkeys(name for row in rows for name in row):
        values = [row.get(name) for row in rows]
        there = [value for value in values if value is not None]
        if there:
            made.columns.append(_column(name, values, common_shape(there), packed=packed))
    return made


def _column(name: str, values: Sequence[Any], shape: tuple[int, ...], *, packed: bool) -> frame_pb2.Column:
    field = INPUTS.get(name) or Field(name, "string")
    kind = "string" if field.type == "timestamp" else field.type
    empty = {"bool": False, "string": "", "bytes": b""}.get(kind, 0)
    elements: list[Any] = []
    for value in values:
        filled = [empty] * int(np.prod(shape)) if value is None else flat(value)
        elements += [said(Field(name, kind), each) for each in filled]
    column = frame_pb2.Column(name=name, type=frame_pb2.DataType.Value(f"DATA_TYPE_{kind.upper()}"), row_shape=shape)
    if None in values:
        column.validity = bytes(value is not None for value in values)
    lists = {"bool": "bools", "int32": "integers", "int64": "integers", "float": "doubles", "double": "doubles"}
    if packed and kind in lists:
        dtypes = {"bool": "?", "int32": "<i4", "int64": "<i8", "float": "<f4", "double": "<f8"}
        column.packed = np.array(elements, dtypes[kind]).tobytes()
    else:
        target: Any = getattr(column, lists.get(kind, "strings" if kind == "string" else "bytes"))
        target.SetInParent()
        target.values.extend(elements)
    return column


def of_frame(message: frame_pb2.Frame) -> list[dict[str, Any]]:
    """The rows of the outputs in a frame."""
    columns = {name: column.values for name, column in frame_from_proto(message).columns.items()}
    return _of_arrays(columns)


def tensors(rows: Sequence[Row]) -> list[tuple[str, str, tuple[int, ...], list[Any]]]:
    """Name, datatype, shape and values of each input as tensors. Raises CannotSay."""
    if not all(isinstance(row, dict) and row for row in rows):
        raise CannotSay("tensors hold values of inputs, and without a tensor there is no row")
    if not rows:
        datatypes = ((name, _DATATYPES.get(field.type, "BYTES"), field.shape) for name, field in INPUTS.items())
        return [(name, datatype, (0, *shape), []) for name, datatype, shape in datatypes]
    made = []
    for name in dict.fromkeys(name for row in rows for name in row):
        values = [row.get(name) for row in rows]
        if None in values:
            if any(value is not None for value in values):
                raise CannotSay("a tensor has no missing values")
            continue
        field = INPUTS.get(name) or Field(name, "string")
        elements = [said(field, each) for value in values for each in flat(value)]
        if not all(map(_is_utf8, elements)):
            raise CannotSay("text is UTF-8")
        encoded = [value.encode() if isinstance(value, str) else value for value in elements]
        shape = (len(rows), *common_shape(values))
        made.append((name, _DATATYPES.get(field.type, "BYTES"), shape, encoded))
    return made


def _raw(datatype: str, values: list[Any]) -> bytes:
    return oip.to_raw(np.array(values, oip.NUMPY[datatype]))


def _of_arrays(arrays: Mapping[str, Any]) -> list[dict[str, Any]]:
    columns = {name: [_text(name, each) for each in array.tolist()] for name, array in arrays.items()}
    return _outputs([dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)])


def _text(name: str, value: Any) -> Any:
    if isinstance(value, list):
        return [_text(name, each) for each in value]
    return value.decode() if isinstance(value, bytes) and OUTPUTS[name].type != "bytes" else value


def _outputs(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{name: output(name, value) for name, value in row.items()} for row in rows]


def _struct(row: Mapping[str, Any]) -> struct_pb2.Struct:
    made = struct_pb2.Struct()
    try:
        made.update(row)
    except (ValueError, UnicodeEncodeError) as error:
        raise CannotSay(str(error)) from None
    return made


def _is_utf8(value: Any) -> bool:
    try:
        return not isinstance(value, str) or bool(value.encode()) or not value
    except UnicodeEncodeError:
        return False


def faces(contract: bytes) -> list[Face]:
    """Every face; the first is what the others are held against."""
    generic, columns, typed = Generic(), Generic(columns=True), Typed(contract)
    unary: list[Messages] = [generic, columns, typed, OpenInference(), OpenInference(raw=True)]
    for_pages: list[Messages] = [generic, columns, typed, OpenInference()]
    rows_for_pages: list[Messages] = [generic, typed]
    rest = [
        Rest("generic rest", _generic_path, _instances_body, _generic_told),
        Rest("columns rest", _generic_path, _columns_body, _columns_told, takes_raw=False),
        Rest("typed rest", _typed_path, _typed_body, _typed_told),
        Rest("oip rest", _oip_path, _oip_body, _oip_told),
        Rest("oip-binary rest", _oip_path, _oip_binary_body, _oip_told, takes_raw=False),
    ]
    streams = [
        RestStream("generic rest stream", "/v1/models/{}{}:streamPredict", _generic_row, lines=False, events=False),
        RestStream("generic lines stream", "/v1/models/{}{}:streamPredict", _generic_row, lines=True, events=False),
        RestStream("typed events stream", "/v1/models/{}{}/typed:streamPredict", _typed_row, lines=False, events=True),
    ]
    return [
        *(Rpc(each, "grpc") for each in unary),
        *(Rpc(each, "web") for each in for_pages),
        *rest,
        *(Rpc(each, "grpc", stream=True) for each in for_pages),
        *(Rpc(each, "web", stream=True) for each in rows_for_pages),
        *streams,
    ]
