"""Rows in the messages of each gRPC service."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory, struct_pb2
from predmesh.prediction.v1 import prediction_service_pb2 as pb
from predmesh_bundle.contract_names import value_name
from predmesh_frame import oip
from tritonclient.grpc import service_pb2

from tests.parity.explaining import explained
from tests.parity.golden import Case
from tests.parity.outcomes import Outcome, in_band
from tests.parity.rows import (
    OUTPUTS,
    CannotSay,
    Field,
    Row,
    check_rectangular,
    known,
    microseconds,
    output,
    plain,
    said,
)
from tests.parity.tables import frame, is_utf8, of_arrays, of_frame, outputs_of, raw_bytes, tensors

_SERVICE = "/predmesh.prediction.v1.PredictionService"

_OIP = "/inference.GRPCInferenceService"

Said = tuple[tuple[str, str, str] | None, Sequence[Mapping[str, Any]]]
"""Who answered, and the outputs of each row."""


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
class Generic:
    """PredictionService, with rows as JSON objects or as columns."""

    columns: bool = False
    row_by_row = False

    @property
    def name(self) -> str:
        """What it is called."""
        return "columns" if self.columns else "generic"

    def path(self, case: Case, *, stream: bool) -> str:
        """Predict, StreamPredict or Explain."""
        return f"{_SERVICE}/{_method(case, stream=stream)}"

    def asked(self, case: Case, rows: Sequence[Row]) -> bytes:
        """A PredictRequest or ExplainRequest."""
        request = (pb.PredictRequest if case.explain is None else pb.ExplainRequest)(
            model=case.model, version=case.version
        )
        _choose(request, case)
        if self.columns:
            request.columns.CopyFrom(frame(rows, packed=True))
        else:
            for row in rows:
                if not isinstance(row, dict):
                    raise CannotSay("a row is an object")
                request.instances.append(_struct(plain(row, finite=False)))
        return request.SerializeToString()

    def told(self, case: Case, data: bytes) -> Said:
        """The rows of a PredictResponse or ExplainResponse."""
        if case.explain is not None:
            reasons = pb.ExplainResponse.FromString(data)
            origin, rows = self._rows(reasons.prediction)
            return origin, list(map(_explained, rows, reasons.explanations))
        return self._rows(pb.PredictResponse.FromString(data))

    def _rows(self, answer: pb.PredictResponse) -> Said:
        origin = (answer.model, answer.model_version, answer.bundle_id)
        if self.columns:
            return origin, of_frame(answer.columns)
        return origin, outputs_of([json_format.MessageToDict(each) for each in answer.predictions])

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


class Contract:
    """The contract of a model, as the server gives it."""

    def __init__(self, contract: bytes) -> None:
        """Read a FileDescriptorSet."""
        files = descriptor_pb2.FileDescriptorSet.FromString(contract)
        self._pool: Any = descriptor_pool.DescriptorPool()
        for file in files.file:
            self._pool.AddSerializedFile(file.SerializeToString())
        self.package = files.file[-1].package
        self.model = self.package.split(".")[-2].replace("_", "-")
        self.service = files.file[-1].service[0].name
        self.methods = [each.name for each in files.file[-1].service[0].method]

    def message(self, name: str) -> Any:
        """The class of the contract's message of that name."""
        return self.known(f"{self.package}.{name}")

    def known(self, name: str) -> Any:
        """The class of the message of that full name."""
        return message_factory.GetMessageClass(self._pool.FindMessageTypeByName(name))


class Typed:
    """The models' own services, by the contracts that the server gives."""

    name = "typed"
    row_by_row = True

    def __init__(self, contracts: Iterable[bytes]) -> None:
        """Read the FileDescriptorSets of the models' contracts."""
        read = map(Contract, contracts)
        self._contracts = {each.model: each for each in read}

    def path(self, case: Case, *, stream: bool) -> str:
        """Predict or Explain for a row, PredictBatch for others, StreamPredict."""
        contract = self._contract(case)
        method = _method(case, stream=stream)
        if method == "Predict" and len(case.rows) != 1:
            method = "PredictBatch"
        if method not in contract.methods:
            raise CannotSay("a contract without that method")
        if not case.version.isdigit() and case.version:
            raise CannotSay("the version is part of the path")
        package = contract.package if not case.version else f"{contract.package.rpartition('.')[0]}.v{case.version}"
        return f"/{package}.{contract.service}/{method}"

    def asked(self, case: Case, rows: Sequence[Row]) -> bytes:
        """A PredictRequest, PredictBatchRequest or ExplainRequest of the contract."""
        contract = self._contract(case)
        if case.stream or len(rows) == 1:
            request = contract.message("PredictRequest" if case.explain is None else "ExplainRequest")()
            request.instance.SetInParent()
            _fill(contract, request.instance, rows[0])
        elif case.explain is not None:
            raise CannotSay("a row at a time")
        else:
            request = contract.message("PredictBatchRequest")()
            for row in rows:
                _fill(contract, request.instances.add(), row)
        _choose(request, case)
        return bytes(request.SerializeToString())

    def told(self, case: Case, data: bytes) -> Said:
        """The rows of a response of the contract."""
        contract = self._contract(case)
        if case.explain is not None:
            reasons = contract.message("ExplainResponse").FromString(data)
            origin, (row,) = _told(contract, reasons.prediction, [reasons.prediction.prediction])
            return origin, [_explained(row, reasons.explanation)]
        if case.stream or len(case.rows) == 1:
            answer = contract.message("PredictResponse").FromString(data)
            return _told(contract, answer, [answer.prediction])
        answer = contract.message("PredictBatchResponse").FromString(data)
        return _told(contract, answer, answer.predictions)

    def streamed(self, request: bytes) -> bytes:
        """A StreamPredictRequest of the contract, which has the fields of its PredictRequest."""
        return request

    def unstreamed(self, case: Case, data: bytes) -> bytes | Outcome:
        """What a StreamPredictResponse of the contract holds."""
        answer = self._contract(case).message("StreamPredictResponse").FromString(data)
        if answer.HasField("error"):
            return in_band(
                answer.error.code, answer.error.reason, answer.error.message, 1 if case.stream else len(case.rows)
            )
        return bytes(answer.response.SerializeToString())

    def _contract(self, case: Case) -> Contract:
        if case.model not in self._contracts:
            raise CannotSay("the model is part of the path")
        return self._contracts[case.model]


def _told(contract: Contract, answer: Any, rows: Iterable[Any]) -> Said:
    about = answer.provenance
    return (about.model, about.model_version, about.bundle_id), [_outputs(contract, each) for each in rows]


def _fill(contract: Contract, inputs: Any, row: Row) -> None:
    if not isinstance(row, dict):
        raise CannotSay("a row is a message")
    for name, value in row.items():
        field = known(name)
        if value is None:
            continue
        if field.shape:
            elements = check_rectangular(field, value)
            getattr(inputs, name).extend(_element(contract, field, each) for each in elements)
        elif field.type == "timestamp":
            getattr(inputs, name).CopyFrom(_element(contract, field, said(field, value)))
        else:
            setattr(inputs, name, _element(contract, field, said(field, value)))


def _element(contract: Contract, field: Field, value: Any) -> Any:
    if field.enum:
        if value not in field.categories:
            raise CannotSay("an enum has no other value")
        return _numbers(contract, field)[value]
    if field.type == "timestamp":
        moment = contract.known("google.protobuf.Timestamp")()
        moment.FromMicroseconds(microseconds(value))
        return moment
    if field.type == "string" and not is_utf8(value):
        raise CannotSay("a string is UTF-8")
    return value


def _numbers(contract: Contract, field: Field, side: str = "Inputs") -> dict[str, int]:
    values = contract.message(side).DESCRIPTOR.fields_by_name[field.name].enum_type.values_by_name
    return {text: values[value_name(field.name, text)].number for text in field.categories}


def _outputs(contract: Contract, message: Any) -> dict[str, Any]:
    found = {}
    for name, described in message.DESCRIPTOR.fields_by_name.items():
        field, value = OUTPUTS[name], getattr(message, name)
        if field.enum:
            value = {number: text for text, number in _numbers(contract, field, "Outputs").items()}.get(value)
        elif field.type == "timestamp":
            value = value.ToMicroseconds()
        elif described.is_repeated:
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
        if case.explain is not None:
            raise CannotSay("the protocol has no reasons")
        return f"{_OIP}/{'ModelStreamInfer' if stream else 'ModelInfer'}"

    def asked(self, case: Case, rows: Sequence[Row]) -> bytes:
        """A ModelInferRequest."""
        request = service_pb2.ModelInferRequest(model_name=case.model, model_version=case.version)
        for name, datatype, shape, values in tensors(rows):
            tensor = request.inputs.add(name=name, datatype=datatype, shape=shape)
            if self.raw:
                request.raw_input_contents.append(raw_bytes(datatype, values))
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
        return (answer.model_name, answer.model_version, bundle), of_arrays(arrays)

    def streamed(self, request: bytes) -> bytes:
        """The request itself."""
        return request

    def unstreamed(self, case: Case, data: bytes) -> bytes | Outcome:
        """What a ModelStreamInferResponse holds; of an error it tells the message alone."""
        answer = service_pb2.ModelStreamInferResponse.FromString(data)
        if answer.error_message:
            return in_band(None, None, answer.error_message, 1 if case.stream else len(case.rows))
        return bytes(answer.infer_response.SerializeToString())


def _struct(row: Mapping[str, Any]) -> struct_pb2.Struct:
    made = struct_pb2.Struct()
    try:
        made.update(row)
    except (ValueError, UnicodeEncodeError) as error:
        raise CannotSay(str(error)) from None
    return made


def _method(case: Case, *, stream: bool) -> str:
    if case.explain is None:
        return "StreamPredict" if stream else "Predict"
    if stream:
        raise CannotSay("no stream gives reasons")
    return "Explain"


def _choose(request: Any, case: Case) -> None:
    """Set what of explanations *case* asks."""
    for name, value in (case.explain or {}).items():
        if value is None:
            continue
        try:
            if isinstance(value, bool):
                raise TypeError("no number")
            setattr(request, name, value)
        except (TypeError, ValueError) as error:
            raise CannotSay(str(error)) from None


def _explained(row: Mapping[str, Any], reasons: Any) -> dict[str, Any]:
    """A row's outputs, and what its RowExplanation says."""
    found = [(each.feature, each.value, each.contribution) for each in reasons.attributions]
    return explained(row, reasons.base_value, found)
