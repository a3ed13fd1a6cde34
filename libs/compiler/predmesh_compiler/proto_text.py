"""A file's descriptor as `.proto` text: the parts of the language that contracts use, laid out as buf does."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from google.api import annotations_pb2
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from predmesh_bundle.contract_names import camel

from predmesh_compiler.published import rules_of

FieldProto = descriptor_pb2.FieldDescriptorProto
Path = tuple[int, ...]

_MESSAGE, _ENUM, _SERVICE, _FIELD, _ONEOF, _METHOD, _VALUE, _PACKAGE = 4, 5, 6, 2, 8, 2, 2, 2
_WIDTH = 120
_OPTION_WIDTH = 100
_INDENT = "  "
_TYPE_NAMES = {
    number: name.removeprefix("TYPE_").lower()
    for name, number in descriptor_pb2.FieldDescriptorProto.Type.items()
    if name not in ("TYPE_MESSAGE", "TYPE_ENUM", "TYPE_GROUP")
}


def proto_text(file: descriptor_pb2.FileDescriptorProto) -> str:
    """The text of *file*, which protoc turns into *file* again."""
    return "\n".join(_Printer(file).lines()) + "\n"


class _Printer:
    def __init__(self, file: descriptor_pb2.FileDescriptorProto) -> None:
        self._file = file
        self._comments = {tuple(each.path): each.leading_comments for each in file.source_code_info.location}

    def lines(self) -> Iterator[str]:
        file = self._file
        yield 'syntax = "proto3";'
        yield ""
        yield from self._comment((_PACKAGE,), "")
        yield f"package {file.package};"
        yield ""
        yield from (f'import "{name}";' for name in file.dependency)
        for index, service in enumerate(file.service):
            yield ""
            yield from self._service(service, (_SERVICE, index))
        for index, message in enumerate(file.message_type):
            yield ""
            yield from self._message(message, (_MESSAGE, index))
        for index, enum in enumerate(file.enum_type):
            yield ""
            yield from self._enum(enum, (_ENUM, index))

    def _service(self, service: descriptor_pb2.ServiceDescriptorProto, path: Path) -> Iterator[str]:
        yield from self._comment(path, "")
        yield f"service {service.name} {{"
        if service.options.deprecated:
            yield from (f"{_INDENT}option deprecated = true;", "")
        for index, method in enumerate(service.method):
            yield from [""] * bool(index)
            yield from self._comment((*path, _METHOD, index), _INDENT)
            asked, answered = self._name(method.input_type), self._name(method.output_type)
            taken = f"stream {asked}" if method.client_streaming else asked
            given = f"stream {answered}" if method.server_streaming else answered
            head = f"{_INDENT}rpc {method.name}({taken}) returns ({given})"
            if not method.options.HasExtension(annotations_pb2.http):
                yield f"{head};"
                continue
            yield f"{head} {{"
            value = _aggregate(method.options.Extensions[annotations_pb2.http], _INDENT * 2)
            yield f"{_INDENT * 2}option ({self._outside('google.api.http')}) = {value};"
            yield f"{_INDENT}}}"
        yield "}"

    def _message(self, message: descriptor_pb2.DescriptorProto, path: Path) -> Iterator[str]:
        yield from self._comment(path, "")
        yield f"message {message.name} {{"
        yield from _reserved([each.start for each in message.reserved_range], message.reserved_name)
        opened = False
        for index, field in enumerate(message.field):
            inside = field.HasField("oneof_index") and not field.proto3_optional
            yield from [""] * bool(index and not opened)
            if inside and not opened:
                yield from self._comment((*path, _ONEOF, field.oneof_index), _INDENT)
                yield f"{_INDENT}oneof {message.oneof_decl[field.oneof_index].name} {{"
            opened = inside
            indent = _INDENT * (2 if inside else 1)
            yield from self._comment((*path, _FIELD, index), indent)
            yield self._field(field, indent)
        if opened:
            yield f"{_INDENT}}}"
        yield "}"

    def _field(self, field: FieldProto, indent: str) -> str:
        label = "repeated " if field.label == FieldProto.LABEL_REPEATED else "optional " * field.proto3_optional
        type = _TYPE_NAMES.get(field.type) or self._name(field.type_name)
        head = f"{indent}{label}{type} {field.name} = {field.number}"
        options = []
        if field.json_name != camel(field.name):
            options.append(f"json_name = {_quoted(field.json_name)}")
        rules = rules_of(field.options)
        key = f"({self._outside('buf.validate.field')}) = "
        if options and rules is not None:
            inner = indent + _INDENT
            return f"{head} [\n{inner}{options[0]},\n{inner}{key}{_aggregate(rules, inner)}\n{indent}];"
        if rules is not None:
            value = _aggregate(rules, indent)
            too_long = "\n" not in value and len(f"{head} [{key}{value}];") > _WIDTH
            options.append(key + (_aggregate(rules, indent, spread=True) if too_long else value))
        return f"{head} [{options[0]}];" if options else f"{head};"

    def _enum(self, enum: descriptor_pb2.EnumDescriptorProto, path: Path) -> Iterator[str]:
        yield from self._comment(path, "")
        yield f"enum {enum.name} {{"
        yield from _reserved([each.start for each in enum.reserved_range], enum.reserved_name)
        for index, value in enumerate(enum.value):
            yield from self._comment((*path, _VALUE, index), _INDENT)
            yield f"{_INDENT}{value.name} = {value.number};"
        yield "}"

    def _comment(self, path: Path, indent: str) -> Iterator[str]:
        for line in self._comments.get(path, "").splitlines():
            text = line.strip()
            wrapped = textwrap.wrap(text, _WIDTH - len(indent) - 3, break_long_words=False, break_on_hyphens=False)
            yield from (f"{indent}// {each}".rstrip() for each in wrapped or [""])

    def _name(self, full: str) -> str:
        """How this file names a type: those of its own package by their last word."""
        name = full.removeprefix(".")
        own = f"{self._file.package}."
        return name.removeprefix(own) if name.startswith(own) else self._outside(name)

    def _outside(self, name: str) -> str:
        """A name of another package; with a dot where the first word also is one of this package's, which would win."""
        return f".{name}" if name.split(".")[0] in self._file.package.split(".")[1:] else name


def _reserved(numbers: Sequence[int], names: Sequence[str]) -> Iterator[str]:
    if numbers:
        yield f"{_INDENT}reserved {', '.join(map(str, numbers))};"
    if names:
        yield f"{_INDENT}reserved {', '.join(map(_quoted, names))};"
    if numbers or names:
        yield ""


def _aggregate(message: Message, indent: str, *, spread: bool = False) -> str:
    """A message as the value of an option: on one line where it fits, unless it is to be *spread*."""
    listed = sorted(message.ListFields(), key=lambda each: _rank(each[0]))
    fields = [f"{each.name}: {_value(each, value, indent + _INDENT)}" for each, value in listed]
    line = "{" + ", ".join(fields) + "}"
    if not spread and "\n" not in line and len(indent) + len(line) <= _OPTION_WIDTH:
        return line
    return "{\n" + "\n".join(f"{indent}{_INDENT}{each}" for each in fields) + f"\n{indent}}}"


def _rank(field: FieldDescriptor) -> tuple[bool, bool, int]:
    """Plain values come first, and a lower bound before the upper one."""
    return field.message_type is not None, field.name != "gte", field.number


def _value(field: FieldDescriptor, value: Any, indent: str) -> str:
    if not field.is_repeated:
        return _single(field, value, indent)
    texts = [_single(field, each, indent) for each in value]
    line = f"[{', '.join(texts)}]"
    if len(indent) + len(line) <= _OPTION_WIDTH:
        return line
    return "[\n" + ",\n".join(_filled(texts, indent + _INDENT)) + f"\n{indent}]"


def _filled(texts: Iterable[str], indent: str) -> Iterator[str]:
    """As many of *texts* on each line as it holds."""
    line = ""
    for text in texts:
        if line and len(indent) + len(line) + len(text) > _OPTION_WIDTH:
            yield indent + line
            line = ""
        line += f", {text}" if line else text
    yield indent + line


def _single(field: FieldDescriptor, value: Any, indent: str) -> str:
    if isinstance(value, Message):
        return _aggregate(value, indent)
    if field.enum_type is not None:
        return str(field.enum_type.values_by_number[value].name)
    if isinstance(value, str):
        return _quoted(value)
    return str(value).lower() if isinstance(value, bool) else repr(value).removesuffix(".0")


def _quoted(text: str) -> str:
    """*text* as a literal; what is not ASCII goes as its bytes, which every tool reads the same."""
    if text.isascii() and text.isprintable():
        return json.dumps(text)
    return (
        '"'
        + "".join(chr(each) if 32 <= each < 127 and each not in b'"\\' else f"\\{each:03o}" for each in text.encode())
        + '"'
    )
