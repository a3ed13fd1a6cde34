"""Rows of a prediction from the command line: a file, stdin, or ``key=value`` by the model's own description."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from predmesh_bundle.nearest import hint

from predmesh_cli.errors import CliError, ExitCode

BOOLEANS = {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False}


def rows_from_file(name: str) -> list[Any]:
    """The rows in the file *name*, ``-`` for stdin: a document with `instances`, a list, one row, or a row a line."""
    try:
        text = sys.stdin.read() if name == "-" else Path(name).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise _wrong(f"cannot read {name}: {error}", "name a file of JSON, or - for stdin") from None
    try:
        return rows_from_document(json.loads(text))
    except ValueError:
        return _rows_from_lines(name, text)


def rows_from_document(document: Any) -> list[Any]:
    """The rows of a parsed *document*."""
    if isinstance(document, dict) and isinstance(document.get("instances"), list):
        return list(document["instances"])
    return list(document) if isinstance(document, list) else [document]


def _rows_from_lines(name: str, text: str) -> list[Any]:
    try:
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    except ValueError as error:
        raise _wrong(f"{name} is not JSON: {error}", "give rows as JSON objects from input name to value") from None


def row_from_words(words: Sequence[str], inputs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One row from ``key=value`` *words*, each value of the type that the model's *inputs* declare.

    What the model would refuse goes through as it is, because the model's own answer names every violation.
    """
    types = {str(field["name"]): field for field in inputs}
    return dict(_pair(word, types) for word in words)


def _pair(word: str, types: Mapping[str, Mapping[str, Any]]) -> tuple[str, Any]:
    name, equals, text = word.partition("=")
    if not equals or not name:
        raise _wrong(f"{word!r} is not key=value", f"write each input as {next(iter(types), 'name')}=value")
    field = types.get(name)
    if field is None:
        raise _wrong(f"the model has no input {name!r}", hint(name, types))
    return name, value(text, str(field.get("type", "")), shaped=bool(field.get("rowShape")))


def value(text: str, data_type: str, *, shaped: bool) -> Any:
    """*text* as a JSON value of *data_type*, a name of predmesh.type.v1.DataType; *text* itself where it is none."""
    if shaped:
        return _or_text(json.loads, text)
    match data_type.removeprefix("DATA_TYPE_"):
        case "BOOL":
            return BOOLEANS.get(text.lower(), text)
        case "INT32" | "INT64":
            return _or_text(int, text)
        case "FLOAT" | "DOUBLE":
            return _or_text(float, text)
        case _:
            return text


def _or_text(parse: Callable[[str], Any], text: str) -> Any:
    try:
        return parse(text)
    except ValueError:
        return text


def _wrong(message: str, advice: str) -> CliError:
    return CliError(message, hint=advice, code=ExitCode.USAGE)
