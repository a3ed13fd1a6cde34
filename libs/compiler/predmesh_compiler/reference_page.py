"""The page that shows a model's contract to a person and lets them try it: HTML that needs nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import json
import pprint
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from predmesh_bundle.contract_names import DESCRIPTORS, value_name
from predmesh_bundle.schema import Input, bound_text
from predmesh_bundle.values import exact
from predmesh_frame import DataType

from predmesh_compiler.contracts import Contract
from predmesh_compiler.fields import TypedField, one_line
from predmesh_compiler.json_schema import example_row
from predmesh_compiler.openapi import EVENTS, LINES, openapi_document, stream_path

if TYPE_CHECKING:
    from jinja2 import Environment

HOST = "127.0.0.1:8080"
"""Where the calls go as written; the page's script puts in the place that it was served from."""

_NUMBERS = {DataType.INT32: "integer", DataType.INT64: "integer", DataType.FLOAT: "number", DataType.DOUBLE: "number"}


@dataclass(frozen=True, slots=True)
class Control:
    """What a person fills in for one input."""

    kind: str
    """How the script reads it: `text`, `integer`, `number`, `boolean`, `time` or `json`."""
    value: str
    """The example, as the control shows it."""
    options: tuple[str, ...] = ()
    """What there is to choose from; empty where anything may be written."""


def reference_page(contract: Contract) -> str:
    """`reference.html`; the texts of the bundle are shown as they are, whatever they hold."""
    style, script = _own("style.css"), _own("script.js")
    fields = {each.name: each for each in (*contract.inputs, *contract.outputs)}
    page = _environment().get_template("page.html.j2")
    return page.render(
        bundle=contract.bundle,
        contract=contract,
        fields=fields,
        controls={each.name: control(each) for each in contract.bundle.inputs},
        calls=calls(contract),
        errors=errors(contract),
        style=style,
        script=script,
        host=HOST,
        policy=(
            f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; connect-src 'self'; "
            "base-uri 'none'; form-action 'none'"
        ),
    )


def control(given: Input) -> Control:
    """How an input is filled in."""
    if given.shape:
        return Control("json", _json(exact(given.type, given.example)))
    if given.type is DataType.BOOL:
        return Control("boolean", _json(given.example), ("true", "false"))
    if given.type is DataType.TIMESTAMP:
        return Control("time", _local(given.example))
    return Control(_NUMBERS.get(given.type, "text"), str(given.example), given.categories)


def calls(contract: Contract) -> dict[str, str]:
    """Calls of the example row that can be pasted, by what they are."""
    typed = json.dumps({"instance": protobuf_row(contract)}, ensure_ascii=False)
    row = example_row(contract.bundle.inputs)
    name, generic = contract.bundle.name, f"/v1/models/{contract.bundle.name}/versions/{contract.bundle.version}"
    shown = {
        "REST, typed": _curl(contract.methods["Predict"].rest_path, {"instance": row}),
        "REST, as every model takes it": _curl(f"{generic}:predict", {"instances": [row]}),
        "REST, rows one by one as lines": _streaming_curl(stream_path(contract.bundle, typed=True), [row, row]),
        "REST, rows one by one as server-sent events": _streaming_curl(
            stream_path(contract.bundle, typed=True), [row, row], accept=EVENTS
        ),
        "WebSocket, rows as they come": _socket(stream_path(contract.bundle, typed=True), row),
        "gRPC, by grpcurl": f"grpcurl -plaintext -d {shlex.quote(typed)} {HOST} {contract.service}/Predict",
        "gRPC, by stubs of Python: make them": _stubs(contract, f"{generic}/contract/{DESCRIPTORS}"),
        "gRPC, by stubs of Python: call": _python(contract),
    }
    if "Explain" in contract.methods:
        shown[f"REST, why {name} says so"] = _curl(contract.methods["Explain"].rest_path, {"instance": row})
    return shown


def errors(contract: Contract) -> list[tuple[str, str, Any]]:
    """What can go wrong: the HTTP status, or `default`; what it means; an example of the document."""
    document = openapi_document(contract)
    operation = document["paths"][contract.methods["Predict"].rest_path]["post"]
    named = {
        status: each["$ref"].rpartition("/")[2] for status, each in operation["responses"].items() if "$ref" in each
    }
    found = {status: document["components"]["responses"][name] for status, name in named.items()}
    return [
        (status, each["description"], each["content"]["application/json"]["example"]) for status, each in found.items()
    ]


def protobuf_row(contract: Contract) -> dict[str, Any]:
    """The examples as protobuf's JSON of the contract's Inputs."""
    fields = {each.name: each for each in contract.inputs}
    return {each.name: _protobuf(each.example, fields[each.name]) for each in contract.bundle.inputs}


def _protobuf(example: Any, field: TypedField) -> Any:
    if field.repeated:
        return [_single(each, field) for each in _flat(example)]
    return _single(example, field)


def _single(example: Any, field: TypedField) -> Any:
    if field.enum:
        return value_name(field.name, example)
    return example.upper().replace(" ", "T") if field.type is DataType.TIMESTAMP else example


def _flat(example: Any) -> list[Any]:
    return [value for each in example for value in _flat(each)] if isinstance(example, list | tuple) else [example]


def _curl(path: str, body: dict[str, Any]) -> str:
    document = shlex.quote(json.dumps(body, ensure_ascii=False))
    return f"curl -s {shlex.quote(f'http://{HOST}{path}')} -H 'content-type: application/json' -d {document}"


def _streaming_curl(path: str, rows: Sequence[dict[str, Any]], accept: str = "") -> str:
    lines = shlex.quote("\n".join(json.dumps(each, ensure_ascii=False) for each in rows))
    accepted = f" -H 'accept: {accept}'" if accept else ""
    return f"curl -sN {shlex.quote(f'http://{HOST}{path}')} -H 'content-type: {LINES}'{accepted} --data-binary {lines}"


def _socket(path: str, row: dict[str, Any]) -> str:
    return (
        f'const socket = new WebSocket("ws://{HOST}{path}");\n'
        f"socket.onopen = () => socket.send(JSON.stringify({json.dumps(row, ensure_ascii=False)}));\n"
        "socket.onmessage = ({ data }) => console.log(JSON.parse(data));"
    )


def _stubs(contract: Contract, path: str) -> str:
    files = [each.name for each in contract.files.file if not each.name.startswith("google/")]
    return (
        "pip install grpcio-tools googleapis-common-protos\n"
        f"curl -sO http://{HOST}{path}\n"
        "python -m grpc_tools.protoc --descriptor_set_in=contract.binpb --python_out=. --grpc_python_out=. \\\n    "
        + " \\\n    ".join(files)
    )


def _python(contract: Contract) -> str:
    module = contract.file.name.rpartition("/")[2].removesuffix(".proto")
    row = pprint.pformat(protobuf_row(contract), width=100, sort_dicts=False)
    return (
        "import grpc\n"
        "from google.protobuf.json_format import ParseDict\n"
        f"from {contract.package} import {module}_pb2 as pb\n"
        f"from {contract.package} import {module}_pb2_grpc as rpc\n\n"
        f"row = {row}\n"
        f'with grpc.insecure_channel("{HOST}") as channel:\n'
        f"    model = rpc.{contract.file.service[0].name}Stub(channel)\n"
        "    request = pb.PredictRequest(instance=ParseDict(row, pb.Inputs()))\n"
        "    print(model.Predict(request, timeout=5).prediction)"
    )


def _local(example: str) -> str:
    """A time as a control of HTML takes it: in UTC, to the millisecond, without saying so."""
    time = datetime.fromisoformat(example.upper())
    return time.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds").removesuffix(".000")


def _json(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _own(name: str) -> str:
    loader = _environment().loader
    assert loader is not None
    return loader.get_source(_environment(), name)[0]


@cache
def _environment() -> Environment:
    # Most commands that can compile do not; the import takes 76 ms.
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("predmesh_compiler", "reference"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"line": one_line, "number": bound_text, "json": _json}
    return environment
