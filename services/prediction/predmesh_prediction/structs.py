"""google.protobuf.Struct to plain values and back, without json_format's detours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf import struct_pb2


def to_plain(struct: struct_pb2.Struct) -> dict[str, Any]:
    """The JSON object that *struct* is; its numbers are floats, which may be NaN or infinite."""
    return {name: _plain(value) for name, value in struct.fields.items()}


def from_plain(value: Mapping[str, Any]) -> struct_pb2.Struct:
    """The Struct of a JSON object."""
    return struct_pb2.Struct(fields={name: to_value(each) for name, each in value.items()})


def to_value(value: Any) -> struct_pb2.Value:
    """The Value of a JSON value."""
    if isinstance(value, bool):
        return struct_pb2.Value(bool_value=value)
    if isinstance(value, int | float):
        return struct_pb2.Value(number_value=value)
    if isinstance(value, str):
        return struct_pb2.Value(string_value=value)
    if value is None:
        return struct_pb2.Value(null_value=struct_pb2.NULL_VALUE)
    if isinstance(value, Mapping):
        return struct_pb2.Value(struct_value=from_plain(value))
    return struct_pb2.Value(list_value=struct_pb2.ListValue(values=[to_value(each) for each in value]))


def _plain(value: struct_pb2.Value) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return to_plain(value.struct_value)
    if kind == "list_value":
        return [_plain(each) for each in value.list_value.values]
    return None if kind is None or kind == "null_value" else getattr(value, kind)
