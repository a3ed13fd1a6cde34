"""A model's own messages: what their typed fields say as rows of JSON, for which the rules are written, and back."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import FieldDescriptor
from predmesh_bundle.contract_names import DESCRIPTORS, value_name
from predmesh_bundle.schema import Bundle, Input, Output
from predmesh_bundle.store import StoredBundle
from predmesh_frame import DataType

from predmesh_prediction.values import EXACT

_Change = Callable[[Any], Any]


class TypedContract:
    """The messages of one bundle's contract; they live in a descriptor pool of their own and go with it.

    Attributes:
        pool: holds the contract and all that it imports.
        service: full name of its service.
        methods: descriptors of the service's methods.
    """

    def __init__(self, files: descriptor_pb2.FileDescriptorSet, bundle: Bundle) -> None:
        """Read *files*, each behind what it imports, the contract of *bundle* last."""
        self.pool = _pool(files)
        file = files.file[-1]
        self.service = f"{file.package}.{file.service[0].name}"
        self.methods = self.pool.FindServiceByName(self.service).methods_by_name
        self._package = file.package
        self._outputs = self.message("Outputs")
        inputs = self.message("Inputs").DESCRIPTOR.fields_by_name
        outputs = self._outputs.DESCRIPTOR.fields_by_name
        self._read = [_reader(spec, inputs[spec.name]) for spec in bundle.inputs]
        self._write = {spec.name: _writer(spec, outputs[spec.name]) for spec in bundle.outputs}
        self._floats = [spec.name for spec in bundle.outputs if spec.type in (DataType.FLOAT, DataType.DOUBLE)]

    def message(self, name: str) -> type[Any]:
        """The class of the contract's message of that name."""
        found: type[Any] = message_factory.GetMessageClass(self.pool.FindMessageTypeByName(f"{self._package}.{name}"))
        return found

    def row(self, inputs: Any) -> dict[str, Any]:
        """What the message *inputs* brings, by input name, as a generic call would bring it."""
        return {name: value for name, read in self._read if (value := read(inputs)) is not None}

    def outputs(self, record: Mapping[str, Any], number: Callable[[str], Any]) -> Any:
        """The message of what one row is answered, given as JSON values by output name.

        JSON has null for what is not finite; *number* gives such an output as it is, (shape) by name.
        """
        values = {name: self._write[name](value) for name, value in record.items()}
        for name in self._floats:
            value = values[name]
            if value is None:
                values[name] = number(name)
            elif type(value) is list and None in value:
                values[name] = number(name).ravel().tolist()
        return self._outputs(**values)


def typed_contract(stored: StoredBundle) -> TypedContract | None:
    """The contract of a stored bundle; None where it was stored without one."""
    files = stored.contract_file(DESCRIPTORS)
    return None if files is None else TypedContract(descriptor_pb2.FileDescriptorSet.FromString(files), stored.bundle)


def _pool(files: descriptor_pb2.FileDescriptorSet) -> Any:
    pool: Any = descriptor_pool.DescriptorPool()
    add: Any = pool.AddSerializedFile
    for file in files.file:
        add(file.SerializeToString())
    return pool


def _reader(spec: Input, field: FieldDescriptor) -> tuple[str, _Change]:
    name, value = spec.name, _value_reader(spec, field)
    if spec.shape:

        def read(inputs: Any) -> Any:
            elements = getattr(inputs, name)
            return _nested([value(each) for each in elements], spec.shape) if elements else None

    else:

        def read(inputs: Any) -> Any:
            return value(getattr(inputs, name)) if inputs.HasField(name) else None

    return name, read


def _value_reader(spec: Input, field: FieldDescriptor) -> _Change:
    if field.enum_type is not None:
        names = _numbers(field, spec.categories)
        return lambda number: names.get(number, str(number) if number else None)
    match spec.type:
        case DataType.TIMESTAMP:
            return _time_text
        case DataType.BYTES:
            return lambda value: base64.b64encode(value).decode()
        case DataType.INT64:
            return lambda value: value if -EXACT < value < EXACT else str(value)
        case _:
            return _same


def _time_text(moment: Any) -> str:
    try:
        text: str = moment.ToJsonString()
    except ValueError:
        # No RFC 3339 text stands for it, which the rule then says.
        return f"{moment.seconds} s after 1970"
    return text


def _nested(elements: list[Any], shape: tuple[int, ...]) -> list[Any]:
    """The row-major *elements* as nested lists; as they are where they do not fill *shape*."""
    if len(elements) != prod(shape):
        return elements
    for size in reversed(shape[1:]):
        elements = [elements[at : at + size] for at in range(0, len(elements), size)]
    return elements


def _writer(spec: Output, field: FieldDescriptor) -> _Change:
    """What makes a field's value of a JSON value."""
    value = _value_writer(spec, field)
    return (lambda nested: [value(each) for each in _flat(nested)]) if field.is_repeated else value


def _value_writer(spec: Output, field: FieldDescriptor) -> _Change:
    if field.enum_type is not None:
        return {label: number for number, label in _numbers(field, spec.labels).items()}.__getitem__
    match spec.type:
        case DataType.INT64:
            return int
        case DataType.BYTES:
            return base64.b64decode
        case DataType.TIMESTAMP:
            moment = message_factory.GetMessageClass(field.message_type)

            def made(text: str) -> Any:
                at = moment()
                at.FromJsonString(text)  # type: ignore[attr-defined]
                return at

            return made
        case _:
            return _same


def _same(value: Any) -> Any:
    return value


def _numbers(field: FieldDescriptor, texts: Sequence[str]) -> dict[int, str]:
    """The *texts* that the values of an enum stand for, by number."""
    named = {value_name(field.name, text): text for text in texts}
    return {value.number: named[value.name] for value in field.enum_type.values if value.name in named}


def _flat(nested: Any) -> list[Any]:
    return [each for part in nested for each in _flat(part)] if isinstance(nested, list) else [nested]
