"""The published contracts that compiled ones import: their descriptors, and messages of the validation rules."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message
from predmesh.prediction.v1 import prediction_service_pb2

ERROR_DETAILS = ("google/rpc/status.proto", "google/rpc/error_details.proto")
"""Envoy answers an error that has details with an empty body unless its descriptors hold these."""

RULES_FILE = "buf/validate/validate.proto"
"""File of the validation rules."""

RULES_EXTENSION = 1159
"""Number of the option that holds a field's rules."""


def closure(names: Iterable[str], *, comments: bool = False) -> list[descriptor_pb2.FileDescriptorProto]:
    """The files of *names* and all that they import, each after what it imports; with their *comments* where asked."""
    files = _files(comments)
    ordered: dict[str, descriptor_pb2.FileDescriptorProto] = {}

    def add(name: str) -> None:
        if name not in ordered:
            for imported in files[name].dependency:
                add(imported)
            ordered[name] = files[name]

    for name in names:
        add(name)
    return list(ordered.values())


def field_rules(**rules: object) -> Message:
    """A `buf.validate.FieldRules`; it is no class of the default pool, in which a client's own copy may live."""
    return _rules_class()(**rules)


@cache
def _files(comments: bool) -> dict[str, descriptor_pb2.FileDescriptorProto]:
    root = Path(prediction_service_pb2.__file__).parents[3]
    published = descriptor_pb2.FileDescriptorSet.FromString((root / "descriptors.binpb").read_bytes())
    if not comments:
        for each in published.file:
            each.ClearField("source_code_info")
    return {each.name: each for each in published.file}


@cache
def _rules_class() -> type[Message]:
    pool: Any = descriptor_pool.DescriptorPool()
    for each in closure([RULES_FILE]):
        pool.AddSerializedFile(each.SerializeToString())
    return _class(pool, "buf.validate.FieldRules")


def rules_of(options: descriptor_pb2.FieldOptions) -> Message | None:
    """The rules among a field's *options*; None where there are none."""
    pool: Any = _rules_class().DESCRIPTOR.file.pool
    known: Any = _class(pool, "google.protobuf.FieldOptions")
    extension = pool.FindExtensionByName("buf.validate.field")
    read = known.FromString(options.SerializeToString())
    return read.Extensions[extension] if read.HasExtension(extension) else None


def _class(pool: Any, name: str) -> type[Message]:
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(name))
