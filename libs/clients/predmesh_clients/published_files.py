"""The files of contracts as a client needs them: without rules, routes and what it never sends or gets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from google.protobuf import descriptor_pb2
from predmesh_compiler.contracts import Contract
from predmesh_compiler.published import closure

FileProto = descriptor_pb2.FileDescriptorProto

_MESSAGE, _ENUM, _SERVICE, _PACKAGE = 4, 5, 6, 2
_OURS = "predmesh/"


def slim_files(contracts: Sequence[Contract]) -> list[FileProto]:
    """Predmesh's own files that clients of *contracts* need, each after what it imports; comments are kept.

    Of shared files only the messages and enums that the contracts use are there. Options are gone: protovalidate's
    rules and the REST routes say nothing about the bytes of a call, and would drag their own files along.
    """
    wholes = {each.name: each for each in closure(_imports(contracts), comments=True)}
    wholes |= {each.file.name: each.file for each in contracts}
    homes = {name: file.name for file in wholes.values() for name in _types(file)}
    used = _reachable([each.file for each in contracts], wholes, homes)
    roots = {each.file.name for each in contracts}
    ours = (file for file in wholes.values() if file.name.startswith(_OURS))
    kept = (_slim(file, file.name in roots, used, homes) for file in ours)
    return [file for file in kept if file.message_type or file.enum_type]


def with_foreign(files: Sequence[FileProto], *others: str, comments: bool = False) -> list[FileProto]:
    """*files* behind all that they import from elsewhere, and the files named *others*; with comments where asked."""
    imported = (name for file in files for name in file.dependency if not name.startswith(_OURS))
    foreign = closure([*others, *imported], comments=comments)
    copies = [FileProto.FromString(each.SerializeToString()) for each in files]
    if not comments:
        for each in copies:
            each.ClearField("source_code_info")
    return [*foreign, *copies]


def _imports(contracts: Sequence[Contract]) -> Iterator[str]:
    return (name for each in contracts for name in each.file.dependency)


def _types(file: FileProto) -> Iterator[str]:
    yield from (f".{file.package}.{each.name}" for each in file.message_type)
    yield from (f".{file.package}.{each.name}" for each in file.enum_type)


def _reachable(roots: Iterable[FileProto], files: dict[str, FileProto], homes: dict[str, str]) -> set[str]:
    """Full names of all types of the roots, and of all types that those hold."""
    waiting = [name for root in roots for name in _types(root)]
    found: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            fields = _fields(files[homes[name]], name)
            waiting += [each.type_name for each in fields if each.type_name]
    return found


def _fields(file: FileProto, name: str) -> Sequence[descriptor_pb2.FieldDescriptorProto]:
    last = name.rpartition(".")[2]
    return next((each.field for each in file.message_type if each.name == last), ())


def _slim(file: FileProto, root: bool, used: set[str], homes: dict[str, str]) -> FileProto:
    slim = FileProto(name=file.name, package=file.package, syntax=file.syntax, service=file.service if root else ())
    moved: dict[tuple[int, int], int] = {}
    parts: list[tuple[int, Any, Any]] = [
        (_MESSAGE, file.message_type, slim.message_type),
        (_ENUM, file.enum_type, slim.enum_type),
    ]
    for number, before, after in parts:
        for index, each in enumerate(before):
            if f".{file.package}.{each.name}" in used:
                moved[number, index] = len(after)
                after.add().CopyFrom(each)
    _drop_options(slim)
    held = {homes[each.type_name] for message in slim.message_type for each in message.field if each.type_name}
    slim.dependency.extend(sorted(held - {file.name}))
    for location in file.source_code_info.location:
        path = tuple(location.path)
        if path[:2] in moved:
            path = (path[0], moved[path[0], path[1]], *path[2:])
        elif path != (_PACKAGE,) and not (root and path[:1] == (_SERVICE,)):
            continue
        slim.source_code_info.location.add(path=path, leading_comments=location.leading_comments, span=location.span)
    return slim


def _drop_options(file: FileProto) -> None:
    for message in file.message_type:
        for field in message.field:
            field.ClearField("options")
    for service in file.service:
        for method in service.method:
            method.ClearField("options")
