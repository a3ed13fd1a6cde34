"""The file of a contract: messages, enums and the service, out of its fields."""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf import descriptor_pb2
from predmesh_bundle.contract_names import UNSPECIFIED, file_name, package_name, service_name, value_name
from predmesh_bundle.schema import Bundle
from predmesh_frame import DataType

from predmesh_compiler.fields import TypedField, one_line
from predmesh_compiler.lock import Numbers
from predmesh_compiler.proto_file import EnumProto, MessageProto, ProtoFile
from predmesh_compiler.published import RULES_FILE
from predmesh_compiler.rules import batch_rules, input_rules, presence_rules

MOST_ROWS = 10_000
"""Rows that one request may hold."""

_PREDICTION = "predmesh/prediction/v1/prediction_service.proto"
_EXPLANATION = "predmesh/explanation/v1/explanation_service.proto"
_PROVENANCE = "predmesh/prediction/v1/provenance.proto"
_TIMESTAMP = "google/protobuf/timestamp.proto"
_ERRORS = (
    "Fails with ERROR_REASON_INVALID_REQUEST, ERROR_REASON_TOO_LARGE, ERROR_REASON_MODEL_UNKNOWN,",
    "ERROR_REASON_VERSION_UNKNOWN, ERROR_REASON_STORE_DOWN, ERROR_REASON_STAGE_DOWN, ERROR_REASON_MODEL_SERVER_DOWN,",
    "ERROR_REASON_MODEL_FAILED, ERROR_REASON_OVERLOADED and ERROR_REASON_DEADLINE.",
)


def rest_path(bundle: Bundle, verb: str) -> str:
    """Where the typed service answers *verb* over REST."""
    return f"/v1/models/{bundle.name}/versions/{bundle.version}/typed:{verb}"


def service_file(
    bundle: Bundle,
    inputs: Sequence[TypedField],
    outputs: Sequence[TypedField],
    input_numbers: Numbers,
    output_numbers: Numbers,
) -> descriptor_pb2.FileDescriptorProto:
    """The descriptor of the contract's file, comments included."""
    package = package_name(bundle.name, bundle.version)
    file = ProtoFile(
        file_name(bundle.name, bundle.version),
        package,
        _imports(bundle, [*inputs, *outputs]),
        f"Predictions of `{bundle.name}`, version {bundle.version}.",
    )
    _service(file, bundle)
    _inputs(file, package, inputs, input_numbers)
    _outputs(file, package, outputs, output_numbers)
    _predict(file, package)
    _batch(file, package)
    _stream(file, package)
    if bundle.explanation is not None:
        _explain(file, package, bundle)
    for each in (*inputs, *outputs):
        if each.enum:
            _enum(file, each)
    return file.proto


def _imports(bundle: Bundle, fields: Sequence[TypedField]) -> list[str]:
    times = [_TIMESTAMP] if any(each.type is DataType.TIMESTAMP for each in fields) else []
    explained = [_EXPLANATION] if bundle.explanation is not None else []
    return [RULES_FILE, "google/api/annotations.proto", _PREDICTION, _PROVENANCE, *times, *explained]


def _service(file: ProtoFile, bundle: Bundle) -> None:
    service = file.service(
        service_name(bundle.name), (one_line(bundle.description), "", f"Owner: {one_line(bundle.owner)}.")
    )
    safe = "Safe to retry: under the same request id the row gets the same prediction id."
    service.method("Predict", ("Predicts one row.", "", safe, "", *_ERRORS), post=rest_path(bundle, "predict"))
    service.method(
        "PredictBatch",
        (
            "Predicts a batch of rows, in request order.",
            "",
            "All rows are answered or none: one invalid row fails the request with every violation listed.",
            "Safe to retry: under the same request id the rows get the same prediction ids.",
            "",
            *_ERRORS,
        ),
        post=rest_path(bundle, "predictBatch"),
    )
    service.method(
        "StreamPredict",
        (
            "Predicts rows as they come, answering each in order.",
            "",
            "A row that fails is answered in-band with its status; the stream goes on.",
        ),
        streams=True,
    )
    if bundle.deprecated is not None:
        service.proto.options.deprecated = True
    if bundle.explanation is not None:
        service.method(
            "Explain",
            (
                "Predicts one row and says why. Safe to retry.",
                "",
                "Fails as Predict does, and with ERROR_REASON_NOT_EXPLAINABLE.",
            ),
            post=rest_path(bundle, "explain"),
        )


def _inputs(file: ProtoFile, package: str, fields: Sequence[TypedField], numbers: Numbers) -> None:
    message = file.message("Inputs", "Holds what one row brings.")
    for each in fields:
        single = not each.repeated and _type(each, package) != _TIMESTAMP_TYPE
        message.field(
            each.name,
            each.number,
            _type(each, package),
            each.comment,
            repeated=each.repeated,
            # A forgotten number must not read as 0; a message tells that it is not there by itself.
            optional=single,
            json_name=each.name,
            rules=input_rules(each),
        )
    message.end()
    _reserve(message, numbers)


def _outputs(file: ProtoFile, package: str, fields: Sequence[TypedField], numbers: Numbers) -> None:
    message = file.message("Outputs", "Holds what one row is answered.")
    for each in fields:
        message.field(
            each.name, each.number, _type(each, package), each.comment, repeated=each.repeated, json_name=each.name
        )
    _reserve(message, numbers)


def _predict(file: ProtoFile, package: str) -> None:
    request = file.message("PredictRequest", "Asks for the prediction of one row.")
    request.field("instance", 1, f".{package}.Inputs", "The row. Required.", rules=presence_rules())
    response = file.message("PredictResponse", "Holds the prediction of one row.")
    response.field("prediction", 1, f".{package}.Outputs", "What was predicted.")
    response.field("prediction_id", 2, "string", "Derived from the request id; the same when the gateway retries.")
    response.field("provenance", 3, _PROVENANCE_TYPE, "Where the answer comes from.")


def _batch(file: ProtoFile, package: str) -> None:
    request = file.message("PredictBatchRequest", "Asks for the predictions of a batch of rows.")
    request.field(
        "instances",
        1,
        f".{package}.Inputs",
        f"The rows; 1 to {MOST_ROWS:,}. Required.",
        repeated=True,
        rules=batch_rules(MOST_ROWS),
    )
    response = file.message("PredictBatchResponse", "Holds predictions in request order.")
    response.field("predictions", 1, f".{package}.Outputs", "One a row.", repeated=True)
    response.field(
        "prediction_ids",
        2,
        "string",
        "One a row, derived from the request id; the same when the gateway retries.",
        repeated=True,
    )
    response.field("provenance", 3, _PROVENANCE_TYPE, "Where the answers come from.")


def _stream(file: ProtoFile, package: str) -> None:
    request = file.message("StreamPredictRequest", "Asks for the prediction of one row within a stream.")
    request.field("instance", 1, f".{package}.Inputs", "The row. Required.", rules=presence_rules())
    response = file.message("StreamPredictResponse", "Answers one request of a stream.")
    response.field("index", 1, "uint64", "Index of the request in the stream, counted from 0.")
    response.oneof("outcome", "What became of it.")
    response.field("response", 2, f".{package}.PredictResponse", "The prediction.", oneof="outcome")
    response.field("error", 3, ".predmesh.prediction.v1.StreamError", "Why there is none.", oneof="outcome")


def _explain(file: ProtoFile, package: str, bundle: Bundle) -> None:
    assert bundle.explanation is not None
    request = file.message("ExplainRequest", "Asks for the prediction of one row and its explanation.")
    request.field("instance", 1, f".{package}.Inputs", "The row. Required.", rules=presence_rules())
    request.field("top", 2, "uint32", "Only the largest attributions, by magnitude, are listed. Default 0: all.")
    request.field("output", 3, "string", f"Output to explain. Default: `{bundle.explanation.output}`.")
    response = file.message("ExplainResponse", "Holds the prediction of one row and its explanation.")
    response.field("prediction", 1, f".{package}.PredictResponse", "The prediction, as Predict gives it.")
    response.field(
        "explanation",
        2,
        ".predmesh.prediction.v1.RowExplanation",
        "What moved it; absent where the explanation was skipped, which `provenance.degraded` then says.",
    )
    response.field("method", 3, "enum .predmesh.explanation.v1.ExplanationMethod", "How it was computed.")
    response.field(
        "space",
        4,
        "enum .predmesh.explanation.v1.AttributionSpace",
        "The space in which base value and contributions add up to the answer.",
    )
    response.field("output", 5, "string", "The explained output.")


def _enum(file: ProtoFile, each: TypedField) -> None:
    enum = file.enum(each.enum, f"Names what `{each.name}` may be.")
    enum.value(value_name(each.name, UNSPECIFIED), 0, "Never sent.")
    for number, text in sorted(each.texts.items()):
        enum.value(value_name(each.name, text), number, f"`{one_line(text)}` in JSON and in generic calls.")
    _reserve_values(enum, each)


def _reserve(message: MessageProto, numbers: Numbers) -> None:
    message.reserve(numbers.reserved, sorted(numbers.gone))


def _reserve_values(enum: EnumProto, each: TypedField) -> None:
    used = {value_name(each.name, text) for text in each.values.used}
    enum.reserve(each.values.reserved, sorted({value_name(each.name, text) for text in each.values.gone} - used))


def _type(each: TypedField, package: str) -> str:
    if each.enum:
        return f"enum .{package}.{each.enum}"
    return _TIMESTAMP_TYPE if each.type is DataType.TIMESTAMP else each.type.name.lower()


_TIMESTAMP_TYPE = ".google.protobuf.Timestamp"
_PROVENANCE_TYPE = ".predmesh.prediction.v1.Provenance"
