"""Client projects for Java: contracts that Maven compiles, and a thin client over grpc-java."""

from __future__ import annotations

import html
import json
from typing import Any

from predmesh_bundle.contract_names import value_name
from predmesh_compiler.fields import TypedField
from predmesh_compiler.proto_text import proto_text
from predmesh_compiler.service_file import MOST_ROWS
from predmesh_frame import DataType

from predmesh_clients.package import ClientError, ClientPackage, Files, environment, facts, module_name
from predmesh_clients.published_files import FileProto, slim_files

_GROUP = "dev.predmesh.clients"
_RUNTIME = ("Channels", "Options", "PredictionException")


def java_files(package: ClientPackage) -> Files:
    """The files of a Maven project, which generates the messages when it is built.

    Raises:
        ClientError: the package's name is no artifact of Maven.
    """
    group, _, artifact = package.package.rpartition(":")
    if ":" in group or not artifact:
        raise ClientError(f"{package.package!r} is no artifact: write GROUP:ARTIFACT, or ARTIFACT alone")
    root = f"{_GROUP}.{package.name.replace('-', '_')}"
    models = [facts(each, _example) for each in package.contracts]
    known = {
        "models": models,
        "root": root,
        "group": group or _GROUP,
        "artifact": artifact,
        "version": package.version,
    }
    env = environment(javadoc=_javadoc)
    folder = f"src/main/java/{root.replace('.', '/')}"
    made = {name: env.get_template(f"java/{name}.j2").render(known) for name in ("pom.xml", "README.md")}
    made[".gitignore"] = "target/\n"
    for name in _RUNTIME:
        made[f"{folder}/{name}.java"] = env.get_template(f"java/{name}.java.j2").render(known)
    for model in models:
        rendered = env.get_template("java/Client.java.j2").render(known, model=model, most_rows=f"{MOST_ROWS:,}")
        made[f"{folder}/{model['module']}/{model['client']}.java"] = rendered
    homes = {each.file.name: module_name(each) for each in package.contracts}
    for file in slim_files(package.contracts):
        made[f"src/main/proto/{file.name}"] = _proto(file, f"{root}.{homes.get(file.name) or _shared(file)}")
    return {path: text.encode() for path, text in made.items()}


def _proto(file: FileProto, place: str) -> str:
    """The text of *file*, whose classes are to be in the package *place*: each set of clients has its own."""
    package = f"package {file.package};\n"
    options = f'\noption java_multiple_files = true;\noption java_package = "{place}";\n'
    return proto_text(file).replace(package, package + options, 1)


def _shared(file: FileProto) -> str:
    """Where the classes of a file go that all models share: `predmesh.prediction.v1` → `prediction_v1`."""
    return file.package.removeprefix("predmesh.").replace(".", "_")


def _example(value: Any, field: TypedField) -> str:
    """The call that sets an input to its example."""
    text = json.dumps(value, ensure_ascii=False)
    if field.enum:
        text = f"{field.enum}.{value_name(field.name, value)}"
    elif field.type is DataType.TIMESTAMP:
        text = f"Timestamp.newBuilder().setSeconds(OffsetDateTime.parse({text}).toEpochSecond())"
    elif field.type is DataType.BYTES:
        text = f"ByteString.copyFrom(Base64.getDecoder().decode({text}))"
    elif field.type is DataType.INT64:
        text = f"{text}L"
    elif field.type is DataType.FLOAT:
        text = f"{text}f"
    return f".set{''.join(part[:1].upper() + part[1:] for part in field.name.split('_'))}({text})"


def _javadoc(text: str) -> str:
    return html.escape(text, quote=False).replace("*/", "*&#47;").replace("@", "&#64;")
