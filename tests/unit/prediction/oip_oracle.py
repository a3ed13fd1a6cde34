"""The public schema of the Open Inference Protocol as a judge of REST answers."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.validators import extend
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

FOLDER = Path(__file__).parent / "oip_schema"
DOCUMENTS = {name: json.loads((FOLDER / name).read_text()) for name in ("dataplane.json", "model_repository.json")}
REGISTRY: Registry[Any] = Registry().with_resources(
    (name, Resource.from_contents(document, default_specification=DRAFT202012)) for name, document in DOCUMENTS.items()
)
# The documents call the binary form a type of JSON; no value is of it.
VALIDATOR = extend(
    Draft202012Validator, type_checker=Draft202012Validator.TYPE_CHECKER.redefine("bytes", lambda *_: False)
)
ERROR = {"type": "object", "required": ["error"], "properties": {"error": {"type": "string", "minLength": 1}}}


def operation(verb: str, path: str) -> tuple[str, dict[str, Any]]:
    """The schema's own words for a call, and the document they stand in. LookupError where it has none."""
    for name, document in DOCUMENTS.items():
        for template, verbs in document["paths"].items():
            if matches(template, path) and verb.lower() in verbs:
                return name, verbs[verb.lower()]
    raise LookupError(f"{verb} {path} is not in the schema")


def matches(template: str, path: str) -> bool:
    """Whether *path* is one of those that *template* means."""
    return re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path) is not None


def judge(verb: str, path: str, status: int, body: Any) -> None:
    """Raise ValidationError unless *body* is what the schema says of an answer of that *status* to that call."""
    name, said = operation(verb, path)
    if status != 200:
        check(ERROR, name, body)
        return
    content = said["responses"]["200"].get("content")
    if content is not None:
        check(content["application/json"]["schema"], name, body)


def judge_request(body: Any) -> None:
    """Raise ValidationError unless *body* is a request to infer."""
    check({"$ref": "#/components/schemas/InferenceRequest"}, "dataplane.json", body)


def check(schema: dict[str, Any], name: str, value: Any) -> None:
    """Raise ValidationError unless *value* is as *schema*, out of the document of that *name*, says."""
    absolute = json.loads(json.dumps(schema).replace('"$ref": "#', f'"$ref": "{name}#'))
    VALIDATOR(absolute, registry=REGISTRY).validate(value)
