"""Client packages for TypeScript: protobuf-es messages and Connect over gRPC-Web, for browsers and Node."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from predmesh_bundle.contract_names import camel, value_name, value_word
from predmesh_compiler.contracts import Contract
from predmesh_compiler.fields import TypedField
from predmesh_compiler.service_file import MOST_ROWS
from predmesh_frame import DataType

from predmesh_clients.package import ClientPackage, Files, describe, environment, facts, module_name
from predmesh_clients.plugins import generated, put, read, require, run
from predmesh_clients.published_files import slim_files, with_foreign

_DETAILS = "google/rpc/error_details.proto"
_GENERATED = "src/gen"


def typescript_files(package: ClientPackage) -> Files:
    """The files of an npm package, compiled.

    Raises:
        ClientError: there is no npm, or it failed.
    """
    require("npm", "TypeScript")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        put(folder, _written(package))
        run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"], folder)
        put(folder / _GENERATED, _stubs(package, folder))
        run(["node_modules/.bin/tsc"], folder)
        return read(folder, but=["node_modules"])


def _written(package: ClientPackage) -> Files:
    models = [_model(each) for each in package.contracts]
    known = {
        "models": models,
        "package": package.package,
        "version": package.version,
        "description": f"Clients of {describe(package)}",
    }
    env = environment(comment=lambda text: text.replace("*/", "*\\/"))
    own = files("predmesh_clients")
    templates = own / "templates" / "typescript"
    lock: Any = json.loads((templates / "package-lock.json").read_bytes())
    for part in (lock, lock["packages"][""]):
        part.update(name=package.package, version=package.version)
    made = {
        "package.json": env.get_template("typescript/package.json.j2").render(known),
        "package-lock.json": json.dumps(lock, indent=2) + "\n",
        "tsconfig.json": (templates / "tsconfig.json").read_text(),
        "README.md": env.get_template("typescript/README.md.j2").render(known),
        ".gitignore": "node_modules/\n",
        "src/index.ts": env.get_template("typescript/index.ts.j2").render(known),
        **{f"src/{each.name}": each.read_text() for each in (own / "typescript_runtime").iterdir()},
    }
    for model in models:
        rendered = env.get_template("typescript/model.ts.j2").render(model=model, most_rows=f"{MOST_ROWS:,}")
        made[f"src/{model['module']}.ts"] = rendered
    return {path: text.encode() for path, text in made.items()}


def _stubs(package: ClientPackage, folder: Path) -> Files:
    ours = slim_files(package.contracts)
    wanted = [_DETAILS, *(each.name for each in ours)]
    return generated(
        ["node_modules/.bin/protoc-gen-es"],
        folder,
        with_foreign(ours, _DETAILS, comments=True),
        wanted,
        "target=ts,import_extension=js",
    )


def _model(contract: Contract) -> Mapping[str, Any]:
    fields = {each.name: each for each in contract.inputs}
    plain = [each for each in contract.bundle.inputs if each.required and not each.shape]
    return facts(contract, _example) | {
        "name": camel(module_name(contract)),
        "path": contract.file.name.removesuffix(".proto"),
        "example_enums": [fields[each.name].enum for each in plain if fields[each.name].enum],
    }


def _example(value: Any, field: TypedField) -> str:
    """The property that gives an input's example."""
    text = json.dumps(value, ensure_ascii=False)
    if field.enum:
        text = f"{field.enum}.{_enum_value(value, field)}"
    elif field.type is DataType.TIMESTAMP:
        text = f"timestampFromDate(new Date({text}))"
    elif field.type is DataType.INT64:
        text = f"{text}n"
    elif field.type is DataType.BYTES:
        text = f"Uint8Array.from(atob({text}), (each) => each.charCodeAt(0))"
    return f"{camel(field.name)}: {text}"


def _enum_value(text: str, field: TypedField) -> str:
    """Name of an enum's value in TypeScript: without the enum's own name, unless a value would begin with a digit."""
    words = [value_word(each) for each in field.texts.values()]
    return value_name(field.name, text) if any(each[0].isdigit() for each in words) else value_word(text)
