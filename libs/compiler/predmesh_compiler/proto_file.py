"""A `.proto` file under construction: descriptors and the comments that stand before them."""

from __future__ import annotations

from google.api import annotations_pb2
from google.protobuf import descriptor_pb2
from google.protobuf.message import Message
from predmesh_bundle.contract_names import camel

from predmesh_compiler.published import RULES_EXTENSION

FieldProto = descriptor_pb2.FieldDescriptorProto
Path = tuple[int, ...]
Comment = str | tuple[str, ...]

_MESSAGE, _ENUM, _SERVICE, _FIELD, _ONEOF, _METHOD, _VALUE, _PACKAGE = 4, 5, 6, 2, 8, 2, 2, 2
_SCALARS = {
    name: getattr(FieldProto, f"TYPE_{name.upper()}")
    for name in ("bool", "int32", "int64", "uint32", "uint64", "float", "double", "string", "bytes")
}


class ProtoFile:
    """One file, filled from top to bottom."""

    def __init__(self, name: str, package: str, imports: list[str], comment: Comment) -> None:
        self.proto = descriptor_pb2.FileDescriptorProto(
            name=name, package=package, dependency=sorted(imports), syntax="proto3"
        )
        self.comment((_PACKAGE,), comment)

    def message(self, name: str, comment: Comment) -> MessageProto:
        """Add an empty message."""
        path = (_MESSAGE, len(self.proto.message_type))
        self.comment(path, comment)
        return MessageProto(self, self.proto.message_type.add(name=name), path)

    def enum(self, name: str, comment: Comment) -> EnumProto:
        """Add an empty enum."""
        path = (_ENUM, len(self.proto.enum_type))
        self.comment(path, comment)
        return EnumProto(self, self.proto.enum_type.add(name=name), path)

    def service(self, name: str, comment: Comment) -> ServiceProto:
        """Add an empty service."""
        path = (_SERVICE, len(self.proto.service))
        self.comment(path, comment)
        return ServiceProto(self, self.proto.service.add(name=name), path)

    def comment(self, path: Path, comment: Comment) -> None:
        """Say what stands at *path*, as google.protobuf.SourceCodeInfo counts it."""
        lines = (comment,) if isinstance(comment, str) else comment
        text = "".join(f" {line}".rstrip() + "\n" for line in lines)
        # Spans are places in a file that nobody wrote.
        self.proto.source_code_info.location.add(path=path, span=(0, 0, 0), leading_comments=text)


class MessageProto:
    """A message of a file."""

    def __init__(self, file: ProtoFile, proto: descriptor_pb2.DescriptorProto, path: Path) -> None:
        self._file = file
        self.proto = proto
        self._path = path

    def field(
        self,
        name: str,
        number: int,
        type: str,
        comment: Comment,
        *,
        repeated: bool = False,
        optional: bool = False,
        oneof: str = "",
        json_name: str = "",
        rules: Message | None = None,
    ) -> None:
        """Add a field; *type* is a scalar's name, or a full name that begins with a dot, of an enum with `enum `."""
        self._file.comment((*self._path, _FIELD, len(self.proto.field)), comment)
        field = self.proto.field.add(name=name, number=number, json_name=json_name or camel(name))
        field.label = FieldProto.LABEL_REPEATED if repeated else FieldProto.LABEL_OPTIONAL
        if type in _SCALARS:
            field.type = _SCALARS[type]
        else:
            field.type = FieldProto.TYPE_ENUM if type.startswith("enum ") else FieldProto.TYPE_MESSAGE
            field.type_name = type.removeprefix("enum ")
        if optional:
            field.proto3_optional = True
        if oneof:
            field.oneof_index = [each.name for each in self.proto.oneof_decl].index(oneof)
        if rules is not None:
            # As bytes: the extension is unknown to the pool that options belong to.
            options = descriptor_pb2.FieldOptions.FromString(_length_delimited(RULES_EXTENSION, rules))
            field.options.CopyFrom(options)

    def oneof(self, name: str, comment: Comment) -> None:
        """Add a oneof, before its first field."""
        self._file.comment((*self._path, _ONEOF, len(self.proto.oneof_decl)), comment)
        self.proto.oneof_decl.add(name=name)

    def reserve(self, numbers: list[int], names: list[str]) -> None:
        """Keep numbers and names from being used again."""
        for number in numbers:
            self.proto.reserved_range.add(start=number, end=number + 1)
        self.proto.reserved_name.extend(names)

    def end(self) -> None:
        """Give each optional field the oneof that proto3 makes for it; they come after all others."""
        for field in self.proto.field:
            if field.proto3_optional:
                field.oneof_index = len(self.proto.oneof_decl)
                self.proto.oneof_decl.add(name=f"_{field.name}")


class EnumProto:
    """An enum of a file."""

    def __init__(self, file: ProtoFile, proto: descriptor_pb2.EnumDescriptorProto, path: Path) -> None:
        self._file = file
        self.proto = proto
        self._path = path

    def value(self, name: str, number: int, comment: Comment) -> None:
        """Add a value."""
        self._file.comment((*self._path, _VALUE, len(self.proto.value)), comment)
        self.proto.value.add(name=name, number=number)

    def reserve(self, numbers: list[int], names: list[str]) -> None:
        """Keep numbers and names from being used again."""
        for number in numbers:
            self.proto.reserved_range.add(start=number, end=number)
        self.proto.reserved_name.extend(names)


class ServiceProto:
    """A service of a file."""

    def __init__(self, file: ProtoFile, proto: descriptor_pb2.ServiceDescriptorProto, path: Path) -> None:
        self._file = file
        self.proto = proto
        self._path = path

    def method(self, name: str, comment: Comment, *, post: str = "", streams: bool = False) -> None:
        """Add a method from `nameRequest` to `nameResponse`, with a REST path where one is given."""
        self._file.comment((*self._path, _METHOD, len(self.proto.method)), comment)
        package = f".{self._file.proto.package}"
        method = self.proto.method.add(
            name=name, input_type=f"{package}.{name}Request", output_type=f"{package}.{name}Response"
        )
        if streams:
            method.client_streaming = method.server_streaming = True
        if post:
            rule = method.options.Extensions[annotations_pb2.http]
            rule.post, rule.body = post, "*"


def _length_delimited(number: int, message: Message) -> bytes:
    content = message.SerializeToString(deterministic=True)
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*parts, value))
