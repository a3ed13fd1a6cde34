"""Client modules for Go: protoc-gen-go's messages and a thin client over grpc-go."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from predmesh_bundle.contract_names import value_name
from predmesh_compiler.contracts import Contract
from predmesh_compiler.fields import TypedField
from predmesh_compiler.service_file import MOST_ROWS
from predmesh_frame import DataType

from predmesh_clients.package import ClientPackage, Files, environment, facts, module_name
from predmesh_clients.plugins import generated, put, require, run
from predmesh_clients.published_files import FileProto, slim_files, with_foreign

_PLUGINS = {
    "protoc-gen-go": "google.golang.org/protobuf/cmd/protoc-gen-go",
    "protoc-gen-go-grpc": "google.golang.org/grpc/cmd/protoc-gen-go-grpc",
}
_POINTERS = {
    DataType.BOOL: "proto.Bool({})",
    DataType.INT32: "proto.Int32({})",
    DataType.INT64: "proto.Int64({})",
    DataType.FLOAT: "proto.Float32({})",
    DataType.DOUBLE: "proto.Float64({})",
    DataType.STRING: "proto.String({})",
    DataType.BYTES: "[]byte({})",
}


def go_files(package: ClientPackage) -> Files:
    """The files of a Go module.

    Raises:
        ClientError: there is no Go, or it failed.
    """
    require("go", "Go")
    models = [_model(each) for each in package.contracts]
    known = {"models": models, "package": package.package}
    env = environment()
    own = files("predmesh_clients")
    made = {
        name: env.get_template(f"go/{name}.j2").render(known).encode() for name in ("go.mod", "README.md", "doc.go")
    }
    for model in models:
        rendered = env.get_template("go/client.go.j2").render(
            model=model, package=package.package, most_rows=f"{MOST_ROWS:,}"
        )
        made[f"{model['folder']}/client.go"] = rendered.encode()
    return {
        **made,
        "go.sum": (own / "templates" / "go" / "go.sum").read_bytes(),
        **{name: (own / "go_runtime" / name).read_bytes() for name in ("calls.go", "errors.go")},
        **_stubs(package),
    }


def _stubs(package: ClientPackage) -> Files:
    ours = slim_files(package.contracts)
    homes = {each.file.name: f"{module_name(each)};{_module(each)}" for each in package.contracts}
    places = [f"M{each.name}={package.package}/{homes.get(each.name) or _shared(each)}" for each in ours]
    parameter = ",".join([f"module={package.package}", *places])
    everything = with_foreign(ours, comments=True)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        tools = files("predmesh_clients") / "templates" / "go" / "tools"
        put(folder, {"go.mod": (tools / "go.mod.txt").read_bytes(), "go.sum": (tools / "go.sum").read_bytes()})
        run(["go", "build", "-buildvcs=false", "-o", ".", *_PLUGINS.values()], folder)
        wanted = [each.name for each in ours]
        made = [generated([f"./{name}"], folder, everything, wanted, parameter) for name in _PLUGINS]
    return {path: content for each in made for path, content in each.items()}


def _shared(file: FileProto) -> str:
    """Package of a file that all models share: `predmesh.prediction.v1` → `predictionv1`."""
    return file.package.removeprefix("predmesh.").replace(".", "")


def _module(contract: Contract) -> str:
    """Go's own kind of name of a package, without `_`; its folder has them, so that no two models share one."""
    return module_name(contract).replace("_", "")


def _model(contract: Contract) -> Mapping[str, Any]:
    module = _module(contract)
    return facts(contract, lambda value, field: _example(value, field, module)) | {
        "folder": module_name(contract),
        "module": module,
    }


def _example(value: Any, field: TypedField, module: str) -> str:
    """The field that gives an input's example."""
    text = json.dumps(value, ensure_ascii=False)
    if field.enum:
        text = f"{module}.{field.enum}_{value_name(field.name, value)}.Enum()"
    elif field.type is DataType.TIMESTAMP:
        text = "timestamppb.Now()"
    else:
        text = _POINTERS[field.type].format(text)
    return f"{_go_name(field.name)}: {text}"


def _go_name(name: str) -> str:
    """Name of a field in Go: `distance_miles` → `DistanceMiles`, `top_5` → `Top_5`."""
    return re.sub("(^|_)([a-z])", lambda found: found[2].upper(), name)
