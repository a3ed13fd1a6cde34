"""The protovalidate rules of an input: what the mesh itself asks of it, in the words that clients' validators read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf.message import Message
from predmesh_frame import DataType

from predmesh_compiler.fields import TypedField
from predmesh_compiler.published import field_rules

_IGNORE_IF_ZERO_VALUE = 1


def input_rules(each: TypedField) -> Message | None:
    """The rules of one field of Inputs; None where there are none."""
    rules: dict[str, Any] = {"required": True} if each.required else {}
    value = _value_rules(each)
    if not each.repeated:
        rules |= value
    else:
        rules["repeated"] = {"min_items": each.size, "max_items": each.size} | ({"items": value} if value else {})
        if not each.required:
            # A list has no presence: an empty one is one that was left out.
            rules["ignore"] = _IGNORE_IF_ZERO_VALUE
    return field_rules(**rules) if rules else None


def batch_rules(most: int) -> Message:
    """The rules of a list of 1 to *most* rows."""
    return field_rules(required=True, repeated={"min_items": 1, "max_items": most})


def presence_rules() -> Message:
    """The rules of a message that must be there."""
    return field_rules(required=True)


def _value_rules(each: TypedField) -> Mapping[str, Any]:
    if each.enum:
        return {"enum": {"defined_only": True, "not_in": [0]}}
    rules: dict[str, Any] = {}
    if each.minimum is not None:
        rules["gte"] = each.minimum
    if each.maximum is not None:
        rules["lte"] = each.maximum
    if each.type in (DataType.FLOAT, DataType.DOUBLE):
        rules["finite"] = True
    if each.categories:
        rules["in"] = list(each.categories)
    return {each.type.name.lower(): rules} if rules else {}
