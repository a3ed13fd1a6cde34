"""A YAML file as plain values, with the line that each stands on; says nothing about what they mean.

Scalars resolve as in YAML 1.2, so that `no`, `12:30` and `2013-12-31` are text, as their writer meant them.
"""

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from predmesh_bundle.problems import BundleError, Problem

MAX_BYTES = 1 << 20
"""Size of the largest file that is read."""
MAX_VALUES = 100_000
"""Most values that a file may expand to: aliases of aliases grow without bound."""

Path = tuple[str | int, ...]


@dataclass(slots=True)
class Document:
    """The values of a file and where they stand."""

    file: str
    """Name of the file, for problems."""
    values: Any = None
    """Dicts, lists and scalars."""
    lines: dict[Path, int] = field(default_factory=dict)
    """Line of each value, by its path; its key's, where it has one."""
    problems: list[Problem] = field(default_factory=list)
    """What was wrong already with the form."""

    def line(self, path: Path) -> int | None:
        """The line of what *path* leads to, or of its nearest ancestor that is there."""
        for length in range(len(path), -1, -1):
            if path[:length] in self.lines:
                return self.lines[path[:length]]
        return None

    def problem(self, path: Path, message: str) -> Problem:
        """The problem *message*, located at *path*."""
        return Problem(self.file, self.line(path), message)


class _Loader(yaml.SafeLoader):
    """Builds nothing but plain values."""


_Loader.yaml_implicit_resolvers = {}
_FLOAT = r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+0123456789.",
    ),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), list(_first))
_INTEGER = re.compile(r"[-+]?[0-9]+")
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]+$")


def read_yaml(text: bytes, file: str) -> Document:
    """The document that *text* holds.

    Raises:
        BundleError: it is no YAML, or too large.
    """
    if len(text) > MAX_BYTES:
        raise BundleError([Problem(file, None, f"the file holds {len(text)} bytes; at most {MAX_BYTES} are read")])
    document = Document(file)
    try:
        node = yaml.compose(text.decode("utf-8-sig"), Loader=_Loader)
        if node is not None:
            document.values = _Reader(document).value(node, ())
    except UnicodeDecodeError as error:
        raise BundleError(
            [Problem(file, None, f"the file is no UTF-8 text: byte {error.start} cannot be read")]
        ) from error
    except RecursionError as error:
        raise BundleError([Problem(file, None, "the file nests too deeply")]) from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        raise BundleError([Problem(file, line, f"this is no YAML: {error.problem or error.context}")]) from error
    except yaml.YAMLError as error:
        raise BundleError([Problem(file, None, f"this is no YAML: {error}")]) from error
    return document


class _Reader:
    """Turns nodes into values and notes where they stood."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._values_left = MAX_VALUES

    def value(self, node: yaml.Node, path: Path) -> Any:
        self._document.lines.setdefault(path, node.start_mark.line + 1)
        self._values_left -= 1
        if self._values_left < 0:
            raise yaml.YAMLError(f"it expands to more than {MAX_VALUES} values")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(each, (*path, index)) for index, each in enumerate(node.value)]
        return self._scalar(node, path)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            key: str | None = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            if key is None:
                self._note(line, "a key must be a name")
            elif key == "<<":
                self._note(line, "merge keys (`<<`) are not read: write the keys out")
            elif key in values:
                first = self._document.lines[(*path, key)]
                self._note(line, f"the key {key!r} is here twice; the first is on line {first}")
            else:
                self._document.lines[(*path, key)] = line
                values[key] = self.value(value_node, (*path, key))
        return values

    def _scalar(self, node: yaml.Node, path: Path) -> Any:
        text: str = node.value
        match node.tag.removeprefix("tag:yaml.org,2002:"):
            case "str":
                return text
            case "null":
                return None
            case "bool" if text.lower() in ("true", "false"):
                return text.lower() == "true"
            case "float" | "int":
                return self._number(text, node, path)
        return self._note(node.start_mark.line + 1, f"the tag {node.tag!r} is not read: write a plain value")

    def _number(self, text: str, node: yaml.Node, path: Path) -> Any:
        if _LEADING_ZERO.match(text):
            return text  # `010` is a version or a code, and its zeros count.
        try:
            if _INTEGER.fullmatch(text) and len(text) < 40:
                return int(text)
            return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
        except ValueError:
            return self._note(node.start_mark.line + 1, f"{text!r} is no number")

    def _note(self, line: int, message: str) -> None:
        self._document.problems.append(Problem(self._document.file, line, message))
