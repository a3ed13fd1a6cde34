"""Rows in the messages of each gRPC service."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory, struct_pb2
from predmesh.prediction.v1 import prediction_service_pb2 as pb
from predmesh_bundle.contract_names import value_name
from predmesh_frame import oip
from tritonclient.grpc import service_pb2

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
        if field.type == "string" and not is_utf8(value):
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
