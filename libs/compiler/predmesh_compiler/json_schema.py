"""JSON Schema of the rows that a model takes and gives as JSON, over the typed and the generic REST calls alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from predmesh_bundle.schema import Input, Output
from predmesh_bundle.values import LARGEST_EXACT, exact
from predmesh_frame import DataType

from predmesh_compiler.contracts import Contract
from predmesh_compiler.fields import FLOAT_MOST, TypedField

DIALECT = "https://json-schema.org/draft/2020-12/schema"
"""The dialect of every schema here, which OpenAPI 3.1 takes too."""

Schema = dict[str, Any]

_INT32 = 2**31
_DECIMAL = "^[+-]?[0-9]{1,20}$"
_TIME = "^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})$"
_SYMBOL = "[A-Za-z0-9+/_-]"
_BASE64 = f"^({_SYMBOL}{{4}})*({_SYMBOL}{{2}}(==?)?|{_SYMBOL}{{3}}=?)?$"


def schema_document(contract: Contract) -> Schema:
    """`schema.json`: the schemas of Inputs and Outputs, under `$defs`."""
    return {
        "$schema": DIALECT,
        "title": f"{contract.bundle.name} {contract.bundle.version}",
        "description": contract.bundle.description,
        "$defs": {"Inputs": inputs_schema(contract), "Outputs": outputs_schema(contract)},
    }


def inputs_schema(contract: Contract) -> Schema:
    """What a row must be: what this refuses, the mesh refuses.

    The mesh refuses two things more, for which JSON Schema has no words: a decimal string out of its integer's bounds,
    and a time that no calendar has.
    """
    fields = {each.name: each for each in contract.inputs}
    given = contract.bundle.inputs
    return {
        "type": "object",
        "title": "Inputs",
        "description": "What one row brings.",
        "properties": {each.name: _input_schema(each, fields[each.name]) for each in given},
        "required": [each.name for each in given if each.required],
        "additionalProperties": False,
    }


def outputs_schema(contract: Contract) -> Schema:
    """What a row is answered; further properties may come with a later version of the model."""
    fields = {each.name: each for each in contract.outputs}
    return {
        "type": "object",
        "title": "Outputs",
        "description": "What one row is answered.",
        "properties": {each.name: _output_schema(each, fields[each.name]) for each in contract.bundle.outputs},
        "required": [each.name for each in contract.bundle.outputs],
    }


def example_row(inputs: Sequence[Input]) -> dict[str, Any]:
    """A row of the inputs' examples, as the mesh takes them."""
    return {each.name: exact(each.type, each.example) for each in inputs}


def _input_schema(each: Input, field: TypedField) -> Schema:
    schema = _nested(_taken(field), field.shape)
    if not each.required:
        schema = _or_null(schema)
    schema |= _about(each, field) | {"examples": [exact(each.type, each.example)]}
    if each.default is not None:
        schema["default"] = exact(each.type, each.default)
    if each.personal:
        schema["x-personal"] = True
    return schema


def _output_schema(each: Output, field: TypedField) -> Schema:
    return _nested(_given(field), field.shape) | _about(each, field)


def _about(each: Input | Output, field: TypedField) -> Schema:
    unit = {"x-unit": each.unit} if each.unit else {}
    return {"description": "\n".join(field.comment)} | unit


def _taken(field: TypedField) -> Schema:
    """What one value may be in a request."""
    match field.type:
        case DataType.BOOL:
            return {"type": "boolean"}
        case DataType.INT32 | DataType.INT64:
            most = _INT32 - 1 if field.type is DataType.INT32 else LARGEST_EXACT
            least = -_INT32 if field.type is DataType.INT32 else -LARGEST_EXACT
            low = least if field.minimum is None else max(least, field.minimum)
            high = most if field.maximum is None else min(most, field.maximum)
            text = {"type": "string", "pattern": _DECIMAL}
            # Where no number is exact any more, only a decimal string is left.
            return {"anyOf": [{"type": "integer", "minimum": low, "maximum": high}, text]} if low <= high else text
        case DataType.FLOAT:
            low = -FLOAT_MOST if field.minimum is None else field.minimum
            high = FLOAT_MOST if field.maximum is None else field.maximum
            return {"type": "number", "minimum": low, "maximum": high}
        case DataType.DOUBLE:
            return {"type": "number"} | _range(field)
        case DataType.BYTES:
            return {"type": "string", "contentEncoding": "base64", "pattern": _BASE64}
        case DataType.TIMESTAMP:
            return {"type": "string", "format": "date-time", "pattern": _TIME}
    return {"type": "string"} | ({"enum": list(field.categories)} if field.categories else {})


def _given(field: TypedField) -> Schema:
    """What one value may be in an answer."""
    match field.type:
        case DataType.BOOL:
            return {"type": "boolean"}
        case DataType.INT32:
            return {"type": "integer"} | _range(field)
        case DataType.INT64:
            return {"anyOf": [{"type": "integer"} | _range(field), {"type": "string", "pattern": _DECIMAL}]}
        case DataType.FLOAT | DataType.DOUBLE:
            return _or_null({"type": "number"} | _range(field))
        case DataType.BYTES:
            return {"type": "string", "contentEncoding": "base64"}
        case DataType.TIMESTAMP:
            return {"type": "string", "format": "date-time"}
    return {"type": "string"} | ({"enum": list(field.categories)} if field.categories else {})


def _range(field: TypedField) -> Schema:
    bounds = {"minimum": field.minimum, "maximum": field.maximum}
    return {name: bound for name, bound in bounds.items() if bound is not None}


def _nested(schema: Schema, shape: Sequence[int]) -> Schema:
    """*schema* inside one array a dimension."""
    for size in reversed(shape):
        counts = {} if size == -1 else {"minItems": size, "maxItems": size}
        schema = {"type": "array", "items": schema, **counts}
    return schema


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [*schema.get("anyOf", [schema]), {"type": "null"}]}
