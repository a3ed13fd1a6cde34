"""OpenAPI 3.1 of a model's REST calls: the typed ones of its contract, and the generic ones that any model has."""

from __future__ import annotations

import json
from typing import Any

from predmesh_bundle.schema import Bundle

from predmesh_compiler.contracts import Contract
from predmesh_compiler.json_schema import DIALECT, Schema, example_row, inputs_schema, outputs_schema
from predmesh_compiler.service_file import MOST_ROWS

_DURATION: Schema = {"type": "string", "pattern": "^[0-9]+(\\.[0-9]{1,9})?s$", "examples": ["0.012s"]}
_DOUBLE: Schema = {
    "description": "A number; absent where it is 0.",
    "anyOf": [{"type": "number"}, {"type": "string", "enum": ["NaN", "Infinity", "-Infinity"]}],
}
_TEXT: Schema = {"type": "string"}

LINES = "application/x-ndjson"
"""Media type of rows, or answers, one a line."""

EVENTS = "text/event-stream"
"""Media type of answers as server-sent events."""


def openapi_document(contract: Contract) -> dict[str, Any]:
    """`openapi.json`."""
    bundle = contract.bundle
    generic = f"/v1/models/{bundle.name}"
    explained = bundle.explanation is not None
    paths = {
        contract.methods["Predict"].rest_path: _post(contract, "Predict", "Predict one row"),
        contract.methods["PredictBatch"].rest_path: _post(contract, "PredictBatch", "Predict a batch of rows"),
        stream_path(bundle, typed=True): _stream(contract, "StreamPredict", "Predict rows one by one"),
    }
    if explained:
        paths[contract.methods["Explain"].rest_path] = _post(contract, "Explain", "Predict one row and say why")
    for place, version in ((generic, ""), (f"{generic}/versions/{bundle.version}", "Version")):
        told = "the version that takes the model's traffic" if not version else f"version {bundle.version}"
        paths[f"{place}:predict"] = _post(contract, "GenericPredict", f"Predict rows by {told}", suffix=version)
        paths[f"{place}:streamPredict"] = _stream(
            contract, "GenericStreamPredict", f"Predict rows one by one by {told}", suffix=version
        )
        if explained:
            paths[f"{place}:explain"] = _post(
                contract, "GenericExplain", f"Predict rows by {told} and say why", suffix=version
            )
    return {
        "openapi": "3.1.0",
        "jsonSchemaDialect": DIALECT,
        "info": {
            "title": bundle.name,
            "version": bundle.version,
            "description": bundle.description,
            "contact": {"name": bundle.owner},
        },
        "servers": [{"url": "/"}],
        "tags": [
            {"name": "typed", "description": "Calls of this version's own contract."},
            {"name": "generic", "description": "Calls that every model answers."},
        ],
        "paths": paths,
        "components": {"schemas": _schemas(contract), "responses": _ERRORS},
    }


def stream_path(bundle: Bundle, *, typed: bool) -> str:
    """Where *bundle* answers rows one by one over REST, and over WebSockets."""
    return f"/v1/models/{bundle.name}/versions/{bundle.version}{'/typed' if typed else ''}:streamPredict"


def _stream(contract: Contract, call: str, summary: str, *, suffix: str = "") -> dict[str, Any]:
    """A call that also takes a row a line, and gives a line or a server-sent event a row."""
    found = _post(contract, call, summary, suffix=suffix)
    operation = found["post"]
    operation["description"] = _STREAMED
    operation["requestBody"]["content"][LINES] = {
        "schema": _ref("Inputs"),
        "examples": {"row": {"summary": "One line.", "value": example_row(contract.bundle.inputs)}},
    }
    operation["responses"]["200"] = {
        "description": "A line, or an event, a row.",
        "content": {
            LINES: {
                "schema": _ref(f"{call}Response"),
                "examples": {"error": {"summary": "One line.", "value": _FAILED_ROW}},
            },
            EVENTS: {"schema": _TEXT, "examples": {"error": {"summary": "One event, and the end.", "value": _EVENT}}},
        },
    }
    return found


def _post(contract: Contract, call: str, summary: str, *, suffix: str = "") -> dict[str, Any]:
    generic = call.startswith("Generic")
    name = contract.file.service[0].name.removesuffix("Service")
    failures = {
        "400": "InvalidArgument",
        "404": "NotFound",
        "429": "ResourceExhausted",
        "503": "Unavailable",
        "504": "DeadlineExceeded",
        "default": "Error",
    }
    return {
        "post": {
            "operationId": f"{call[0].lower()}{call[1:]}{name}{suffix}",
            "summary": summary,
            "tags": ["generic" if generic else "typed"],
            **({"deprecated": True} if contract.bundle.deprecated else {}),
            "requestBody": {
                "required": True,
                "content": {
                    "application/json": {
                        "schema": _ref(_REQUESTS.get(call, f"{call}Request")),
                        "examples": {"row": {"value": _example(contract, call)}},
                    }
                },
            },
            "responses": {
                "200": {
                    "description": "The answer.",
                    "content": {"application/json": {"schema": _ref(f"{call}Response")}},
                },
                **{status: {"$ref": f"#/components/responses/{error}"} for status, error in failures.items()},
            },
        }
    }


def _example(contract: Contract, call: str) -> dict[str, Any]:
    row = example_row(contract.bundle.inputs)
    return {"instance": row} if call in ("Predict", "Explain") else {"instances": [row]}


def _schemas(contract: Contract) -> dict[str, Schema]:
    schemas = {
        "Inputs": inputs_schema(contract),
        "Outputs": outputs_schema(contract),
        "PredictRequest": _taken({"instance": _ref("Inputs")}, "instance"),
        "PredictResponse": _given(
            {"prediction": _ref("Outputs"), "predictionId": _PREDICTION_ID, "provenance": _ref("Provenance")}
        ),
        "PredictBatchRequest": _taken({"instances": _ROWS}, "instances"),
        "PredictBatchResponse": _given(
            {
                "predictions": _list(_ref("Outputs")),
                "predictionIds": _list(_PREDICTION_ID),
                "provenance": _ref("Provenance"),
            }
        ),
        "StreamPredictResponse": _streamed("PredictResponse"),
        "Provenance": _given(_PROVENANCE, "model", "modelVersion", "bundleId", "requestId"),
        "GenericPredictRequest": _generic({}),
        "GenericPredictResponse": _given(
            {
                "predictions": _list(_ref("Outputs"), "One a row, where the request has `instances`."),
                "columns": _ref("Frame"),
                **_PROVENANCE,
                "predictionIds": _list(_PREDICTION_ID),
            },
            "model",
            "modelVersion",
            "bundleId",
            "requestId",
            "predictionIds",
        ),
        "GenericStreamPredictResponse": _streamed("GenericPredictResponse"),
        "StreamError": _STREAM_ERROR,
        "Frame": _FRAME,
        "Status": _STATUS,
    }
    return schemas | (_explained_schemas(contract) if contract.bundle.explanation is not None else {})


def _explained_schemas(contract: Contract) -> dict[str, Schema]:
    assert contract.bundle.explanation is not None
    choices: dict[str, Schema] = {
        "top": {
            "type": "integer",
            "minimum": 0,
            "maximum": 2**32 - 1,
            "default": 0,
            "description": "Only the largest attributions, by magnitude, are listed; 0 lists all.",
        },
        "output": {
            "type": "string",
            "description": "Output to explain.",
            "default": contract.bundle.explanation.output,
        },
    }
    how: dict[str, Schema] = {
        "method": _TEXT | {"description": "A name of predmesh.explanation.v1.ExplanationMethod."},
        "space": _TEXT | {"description": "A name of predmesh.explanation.v1.AttributionSpace."},
        "output": _TEXT | {"description": "The explained output."},
    }
    return {
        "ExplainRequest": _taken({"instance": _ref("Inputs"), **choices}, "instance"),
        "ExplainResponse": _given(
            {"prediction": _ref("PredictResponse"), "explanation": _ref("RowExplanation"), **how},
            "prediction",
            "output",
        ),
        "GenericExplainRequest": _generic(choices),
        "GenericExplainResponse": _given(
            {"prediction": _ref("GenericPredictResponse"), "explanations": _list(_ref("RowExplanation")), **how},
            "prediction",
            "output",
        ),
        "RowExplanation": _given({"baseValue": _DOUBLE, "attributions": _list(_ref("Attribution"))}, none=True),
        "Attribution": _given({"feature": _TEXT, "value": _DOUBLE, "contribution": _DOUBLE}, "feature"),
    }


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _list(schema: Schema, description: str = "One a row.") -> Schema:
    return {"type": "array", "items": schema, "description": description}


def _taken(properties: dict[str, Schema], *required: str) -> Schema:
    """An object of a request, which has no other keys."""
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


def _given(properties: dict[str, Schema], *required: str, none: bool = False) -> Schema:
    """An object of an answer, to which later releases may add keys; all are required where none is named."""
    needed = list(required) or ([] if none else list(properties))
    return {"type": "object", "properties": properties, **({"required": needed} if needed else {})}


def _generic(choices: dict[str, Schema]) -> Schema:
    both = _taken({"instances": _ROWS, "columns": _ref("Frame"), **choices})
    del both["required"]
    return both | {"oneOf": [{"required": ["instances"]}, {"required": ["columns"]}]}


def _streamed(response: str) -> Schema:
    """What became of one row of a stream."""
    index: Schema = {"type": "integer", "minimum": 0, "description": "Which row it is, counted from 0."}
    both = _given({"index": index, "response": _ref(response), "error": _ref("StreamError")}, "index")
    return both | {"oneOf": [{"required": ["response"]}, {"required": ["error"]}]}


_REQUESTS = {"StreamPredict": "PredictBatchRequest", "GenericStreamPredict": "PredictBatchRequest"}
"""What calls take that have no request of their own."""

_STREAMED = (
    "Each row is answered by itself, in order and as soon as it is there; one that fails is answered in its place by "
    "its error, and those behind it are answered all the same. The rows are an object's `instances`, or one a line. "
    "The answers are one a line or, for those who accept `text/event-stream`, one a server-sent event: `prediction` or "
    "`error`, with the row's index as `id`, and `end` behind the last. A WebSocket at this path takes one row a "
    "message and answers each by one. What is wrong with the body as a whole fails the call."
)
_STREAM_ERROR: Schema = _given(
    {
        "code": {"type": "integer", "description": "A google.rpc.Code."},
        "message": _TEXT | {"description": "What went wrong, in words."},
        "reason": _TEXT | {"description": "A name of predmesh.errors.v1.ErrorReason."},
    }
)
_FAILED_ROW = {
    "index": 1,
    "error": {
        "code": 3,
        "message": "instances[1].distance: must be at least 1 (got -5)",
        "reason": "ERROR_REASON_INVALID_REQUEST",
    },
}
_EVENT = f'event: error\nid: 1\ndata: {json.dumps(_FAILED_ROW)}\n\nevent: end\ndata: {{"rows":2}}\n\n'
_PREDICTION_ID = _TEXT | {"description": "Derived from the request id; the same when the gateway retries."}
_ROWS = {
    "type": "array",
    "items": _ref("Inputs"),
    "minItems": 1,
    "maxItems": MOST_ROWS,
    "description": "The rows.",
}
_PROVENANCE: dict[str, Schema] = {
    "model": _TEXT | {"description": "Name of the model that answered."},
    "modelVersion": _TEXT | {"description": "Version that answered."},
    "bundleId": _TEXT | {"description": "Bundle that answered; the same bundle gives the same answer."},
    "requestId": _TEXT | {"description": "Id of the request, the same when the gateway retries."},
    "degraded": {
        "type": "array",
        "description": "What was degraded; absent when nothing was.",
        "items": _given({"stage": _TEXT, "policy": _TEXT, "reason": _TEXT, "detail": _TEXT}),
    },
    "timings": {
        "type": "array",
        "description": "How long each stage took.",
        "items": _given({"stage": _TEXT, "duration": _DURATION}),
    },
    "featuresReadAge": _DURATION | {"description": "How long before the answer its features were read, at most."},
}
_FRAME = {
    "type": "object",
    "description": "The rows as columns: predmesh.type.v1.Frame in protobuf's JSON.",
    "properties": {
        "rows": {"type": "integer", "minimum": 0},
        "columns": {"type": "array", "items": {"type": "object"}},
        "blocks": {"type": "array", "items": {"type": "object"}},
    },
}
_STATUS = {
    "type": "object",
    "description": "google.rpc.Status.",
    "properties": {
        "code": {"type": "integer", "description": "A google.rpc.Code."},
        "message": {"type": "string", "description": "What went wrong, in words."},
        "details": {
            "type": "array",
            "description": "A google.rpc.ErrorInfo with the reason; BadRequest and RetryInfo where they help.",
            "items": {"type": "object", "properties": {"@type": {"type": "string"}}, "required": ["@type"]},
        },
    },
    "required": ["code", "message"],
}


def _error(description: str, code: int, message: str, reason: str, *details: dict[str, Any]) -> dict[str, Any]:
    info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "domain": "predmesh.dev"}
    example = {"code": code, "message": message, "details": [info, *details]}
    return {
        "description": description,
        "content": {"application/json": {"schema": _ref("Status"), "example": example}},
    }


_ERRORS = {
    "InvalidArgument": _error(
        "The request breaks the contract; every violation is listed.",
        3,
        "instance.distance: must be at least 1 (got -5)",
        "ERROR_REASON_INVALID_REQUEST",
        {
            "@type": "type.googleapis.com/google.rpc.BadRequest",
            "fieldViolations": [{"field": "instance.distance", "description": "must be at least 1 (got -5)"}],
        },
    ),
    "NotFound": _error("This model or version is not live.", 5, "no such model is live", "ERROR_REASON_MODEL_UNKNOWN"),
    "ResourceExhausted": _error(
        "There is too much to do; RetryInfo says when to come again.",
        8,
        "the queue is full",
        "ERROR_REASON_OVERLOADED",
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "0.050s"},
    ),
    "Unavailable": _error(
        "A part of the mesh does not answer: retry with backoff.",
        14,
        "the store does not answer",
        "ERROR_REASON_STORE_DOWN",
    ),
    "DeadlineExceeded": _error(
        "The caller's time, or the model's budget, ran out.", 4, "the deadline has passed", "ERROR_REASON_DEADLINE"
    ),
    "Error": _error("Anything else, in the same form.", 13, "a fault of the mesh", "ERROR_REASON_INTERNAL"),
}
