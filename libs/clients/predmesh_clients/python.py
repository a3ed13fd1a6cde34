"""Client packages for Python: typed rows and answers over grpcio, no generated stubs."""

from __future__ import annotations

import json
import keyword
from base64 import b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from google.protobuf import descriptor_pb2
from predmesh_bundle.contract_names import value_name
from predmesh_compiler.contracts import Contract
from predmesh_compiler.fields import TypedField
from predmesh_compiler.service_file import MOST_ROWS
from predmesh_frame import DataType

from predmesh_clients.package import ClientPackage, Files, environment, facts, module_name, title
from predmesh_clients.published_files import slim_files, with_foreign

_TYPES = {
    DataType.BOOL: "bool",
    DataType.INT32: "int",
    DataType.INT64: "int",
    DataType.FLOAT: "float",
    DataType.DOUBLE: "float",
    DataType.STRING: "str",
    DataType.BYTES: "bytes",
    DataType.TIMESTAMP: "_datetime.datetime",
}

_RUNTIME = ("answers.py", "calls.py", "contracts.py", "errors.py")
_ERRORS = ("google/rpc/status.proto", "google/rpc/error_details.proto")

_KINDS = (
    {
        "prefix": "",
        "define": "def",
        "wait": "",
        "each": "for",
        "iterable": "Iterable",
        "iterator": "Iterator",
    },
    {
        "prefix": "Async",
        "define": "async def",
        "wait": "await ",
        "each": "async for",
        "iterable": "AsyncIterable",
        "iterator": "AsyncIterator",
    },
)


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    attribute: str
    """Its name in Python: that of the contract, with `_` where Python keeps the word for itself."""
    comment: str
    given: str
    """Type and default as something that a caller gives."""
    read: str
    """Type as something that is answered."""
    to_message: str
    """What turns the attribute of `row` into the message's value."""
    from_message: str
    """What turns the field of `message` into the attribute's value."""


@dataclass(frozen=True, slots=True)
class _Value:
    name: str
    number: int
    text: str


@dataclass(frozen=True, slots=True)
class _Enum:
    name: str
    field: str
    values: Sequence[_Value]


def python_files(package: ClientPackage) -> Files:
    """The files of a Python package, which a build backend turns into a wheel."""
    name = package.name.replace("-", "_")
    inside = f"predmesh/clients/{name}"
    models = [_model(each) for each in package.contracts]
    known = {"models": models, "name": name, "package": package.package, "version": package.version}
    env = environment(docstring=_docstring, literal=_literal)
    made = {
        "pyproject.toml": env.get_template("python/pyproject.toml.j2").render(known),
        "README.md": env.get_template("python/README.md.j2").render(known),
        f"{inside}/__init__.py": env.get_template("python/__init__.py.j2").render(known),
        f"{inside}/py.typed": "",
    }
    for model in models:
        rendered = env.get_template("python/model.py.j2").render(model=model, kinds=_KINDS, most_rows=f"{MOST_ROWS:,}")
        made[f"{inside}/{model['module']}.py"] = rendered
    runtime = files("predmesh_clients") / "python_runtime"
    published = descriptor_pb2.FileDescriptorSet(file=with_foreign(slim_files(package.contracts), *_ERRORS))
    return {
        **{path: text.encode() for path, text in made.items()},
        **{f"{inside}/{each}": (runtime / each).read_bytes() for each in _RUNTIME},
        f"{inside}/contracts.binpb": published.SerializeToString(deterministic=True),
    }


def _model(contract: Contract) -> Mapping[str, Any]:
    module = module_name(contract)
    return facts(contract, lambda value, field: _example(value, field, module)) | {
        "package": contract.package,
        "service": contract.service,
        "summary": f"Clients of {title(contract)}.",
        "enums": [_enum(each) for each in (*contract.inputs, *contract.outputs) if each.enum],
        "read_enums": [_enum(each) for each in contract.outputs if each.enum],
        "inputs": [_field(each) for each in contract.inputs],
        "outputs": [_field(each) for each in contract.outputs],
    }


def _enum(field: TypedField) -> _Enum:
    values = [_Value(value_name(field.name, text), number, text) for number, text in sorted(field.texts.items())]
    return _Enum(field.enum, field.name, values)


def _field(field: TypedField) -> _Field:
    one = field.enum or _TYPES[field.type]
    attribute = _attribute(field.name)
    given = f"_abc.Sequence[{one}]" if field.repeated else one
    return _Field(
        name=field.name,
        attribute=attribute,
        comment="\n\n    ".join(field.comment),
        given=given if field.required else f"{given} | None = None",
        read=f"tuple[{one}, ...]" if field.repeated else one,
        to_message=_to_message(field, f"row.{attribute}"),
        from_message=_from_message(field),
    )


def _to_message(field: TypedField, value: str) -> str:
    if field.enum:
        convert = "{}.name"
    elif field.type is DataType.TIMESTAMP:
        convert = "_contracts.from_time({})"
    else:
        return value
    if field.repeated:
        return f"[{convert.format('each')} for each in {value} or ()]"
    return convert.format(value) if field.required or not field.enum else f"{value} and {convert.format(value)}"


def _from_message(field: TypedField) -> str:
    value = f"message.{field.name}" if field.name == _attribute(field.name) else f'getattr(message, "{field.name}")'
    if field.enum:
        convert = f"_{field.enum.upper()}_TEXTS[{{}}]"
    elif field.type is DataType.TIMESTAMP:
        convert = "_contracts.to_time({})"
    else:
        return f"tuple({value})" if field.repeated else value
    return f"tuple({convert.format('each')} for each in {value})" if field.repeated else convert.format(value)


def _attribute(name: str) -> str:
    return f"{name}_" if keyword.iskeyword(name) or name == "self" else name


def _example(value: Any, field: TypedField, module: str) -> str:
    """The argument that gives an input's example."""
    text = _literal(value)
    if field.enum:
        text = f"{module}.{field.enum}.{value_name(field.name, value)}"
    elif field.type is DataType.TIMESTAMP:
        text = f"datetime.fromisoformat({text})"
    elif field.type is DataType.BYTES:
        text = repr(b64decode(value))
    return f"{_attribute(field.name)}={text}"


def _literal(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def _docstring(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"""', '\\"""')
