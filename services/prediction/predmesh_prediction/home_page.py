"""The page at `/`: what is served, with calls that can be pasted; a pure function of the live models."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from html import escape
from typing import Any

from predmesh_bundle.contract_names import REFERENCE
from predmesh_bundle.generation import LiveModel
from predmesh_bundle.schema import Bundle, Input, bound_text
from predmesh_bundle.store import StoredBundle
from predmesh_frame import DataType

from predmesh_prediction.values import json_example

ORIGIN = "127.0.0.1:8080"
"""Where the calls go when the gateway does not say under which name it was asked."""

_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1c2430;background:#fff}
h1{margin-bottom:0}h2{margin-top:2.5rem;border-top:1px solid #d5dbe3;padding-top:1.5rem}
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #e6eaf0;
vertical-align:top}pre{background:#f3f5f8;padding:.8rem;overflow-x:auto;border-radius:.4rem}
small{color:#5a6675}
@media(prefers-color-scheme:dark){body{color:#dfe6ee;background:#12161c}pre{background:#1c232c}
th,td,h2{border-color:#2b3542}small{color:#93a1b0}}
"""


def home_page(models: Sequence[tuple[LiveModel, StoredBundle]], origin: str = ORIGIN) -> str:
    """The page, HTML that needs nothing from elsewhere; its calls go to *origin*, a host and port."""
    parts = "".join(_model(live, stored, origin) for live, stored in models) or _nothing()
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Predmesh</title>'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<style>{_STYLE}</style></head><body><h1>Predmesh</h1><p>{len(models)} model versions are live. "
        'As JSON: <a href="/v1/models">/v1/models</a>.</p>'
        f"{parts}</body></html>"
    )


def example_row(bundle: Bundle) -> dict[str, Any]:
    """The inputs' examples, as one row of a request."""
    return {spec.name: json_example(spec.example, integer=spec.type is DataType.INT64) for spec in bundle.inputs}


def curl(bundle: Bundle, verb: str, origin: str) -> str:
    """A REST call of the example row."""
    body = json.dumps({"instances": [example_row(bundle)]}, ensure_ascii=False)
    path = f"http://{origin}/v1/models/{bundle.name}/versions/{bundle.version}:{verb}"
    return f"curl -s {shlex.quote(path)} -H 'content-type: application/json' -d {shlex.quote(body)}"


def grpcurl(bundle: Bundle, method: str, origin: str) -> str:
    """A gRPC call of the example row."""
    request = {"model": bundle.name, "version": bundle.version, "instances": [example_row(bundle)]}
    body = shlex.quote(json.dumps(request, ensure_ascii=False))
    return f"grpcurl -plaintext -d {body} {shlex.quote(origin)} predmesh.prediction.v1.PredictionService/{method}"


def _nothing() -> str:
    return "<p>No model is live yet. Deploy one:</p><pre>predmesh deploy DIR</pre>"


def _model(live: LiveModel, stored: StoredBundle, origin: str) -> str:
    bundle = stored.bundle
    calls = [curl(bundle, "predict", origin), grpcurl(bundle, "Predict", origin)]
    if bundle.explanation is not None:
        calls.append(curl(bundle, "explain", origin))
    standing = " (default version)" if live.default else ""
    return (
        f"<h2>{escape(bundle.name)} <small>version {escape(bundle.version)}{standing}</small></h2>"
        f"<p>{escape(bundle.description)}<br><small>{escape(bundle.owner)} · {escape(stored.bundle_id)}</small></p>"
        f'<p><a href="{_reference(bundle)}">Reference, and a form to try it</a></p>'
        f"{_inputs(bundle.inputs)}{_outputs(bundle)}" + "".join(f"<pre>{escape(call)}</pre>" for call in calls)
    )


def _reference(bundle: Bundle) -> str:
    return f"/v1/models/{bundle.name}/versions/{bundle.version}/contract/{REFERENCE}"


def _inputs(inputs: Sequence[Input]) -> str:
    rows = (
        (
            spec.name,
            _type(spec.type.name, spec.shape),
            "required" if spec.required else "optional",
            _rule(spec),
            spec.description,
        )
        for spec in inputs
    )
    return _table(("Input", "Type", "", "Values", "Meaning"), rows)


def _outputs(bundle: Bundle) -> str:
    rows = ((spec.name, _type(spec.type.name, ()), spec.unit, spec.description) for spec in bundle.outputs)
    return _table(("Output", "Type", "Unit", "Meaning"), rows)


def _table(heads: Sequence[str], rows: Any) -> str:
    head = "".join(f"<th>{escape(each)}</th>" for each in heads)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _type(name: str, shape: tuple[int, ...]) -> str:
    return name.lower() + (f" {list(shape)}" if shape else "")


def _rule(spec: Input) -> str:
    if spec.categories:
        return ", ".join(spec.categories)
    bounds = [
        f"{word} {bound_text(bound)}"
        for word, bound in (("from", spec.minimum), ("to", spec.maximum))
        if bound is not None
    ]
    return " ".join([*bounds, spec.unit]).strip()
