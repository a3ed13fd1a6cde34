"""The lock: which numbers the names of a contract have, and had; a file beside `predmesh.yaml`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from predmesh_bundle.problems import BundleError, Problem
from predmesh_bundle.reading import Document, read_yaml

LOCK_FILE = "predmesh.lock.yaml"
"""Name of the file."""

MOST = 536_870_911
"""Largest field number."""

PROTOBUFS_OWN = range(19_000, 20_000)
"""Field numbers that protobuf keeps to itself."""

_MOST_VALUE = 2**31 - 1
_HEAD = """\
# The field numbers of this model's contract, written by `predmesh compile` and `predmesh deploy`: commit it.
# A number is never moved and never given to another name; docs/contracts.md says why.
"""


@dataclass(frozen=True, slots=True)
class Numbers:
    """The numbers of one message or enum."""

    used: Mapping[str, int] = field(default_factory=dict)
    """Number of each name."""
    gone: Mapping[str, int] = field(default_factory=dict)
    """Number that each name had that is no longer there; after a rename it has another name now."""

    @property
    def reserved(self) -> list[int]:
        """Numbers that nothing may have, in order."""
        return sorted(set(self.gone.values()) - set(self.used.values()))


@dataclass(frozen=True, slots=True)
class Lock:
    """The numbers of a contract."""

    inputs: Numbers = Numbers()
    """Those of the inputs."""
    outputs: Numbers = Numbers()
    """Those of the outputs."""
    input_values: Mapping[str, Numbers] = field(default_factory=dict)
    """Those of each input's categories, where they are an enum."""
    output_values: Mapping[str, Numbers] = field(default_factory=dict)
    """Those of each output's labels, where they are an enum."""

    def to_yaml(self) -> str:
        """What the file says: in order of the numbers, so that the order in the bundle changes nothing."""
        document: dict[str, Any] = {"inputs": _written(self.inputs), "outputs": _written(self.outputs)}
        texts: list[str] = []
        for key, enums in (("input_values", self.input_values), ("output_values", self.output_values)):
            if enums:
                document[key] = {name: _written(enums[name]) for name in sorted(enums)}
            texts += [text for each in enums.values() for text in (*each.used, *each.gone)]
        # PyYAML writes some line ends that it then reads as spaces, unless it escapes all that is no ASCII.
        plain = all(map(str.isprintable, texts))
        return _HEAD + yaml.safe_dump(document, sort_keys=False, allow_unicode=plain, width=10_000)


def read_lock(folder: Path) -> Lock:
    """The lock beside the bundle in *folder*; an empty one where there is none.

    Raises:
        BundleError: it is none; tells everything that is wrong with it.
    """
    try:
        text = (folder / LOCK_FILE).read_bytes()
    except FileNotFoundError:
        return Lock()
    except OSError as error:
        raise BundleError([Problem(LOCK_FILE, None, f"the file cannot be read: {error.strerror}")]) from error
    return parse_lock(text)


def parse_lock(text: bytes) -> Lock:
    """The lock that a file's *text* holds.

    Raises:
        BundleError: it is none; tells everything that is wrong with it.
    """
    document = read_yaml(text, LOCK_FILE)
    reader = _Reader(document)
    lock = reader.lock()
    if document.problems:
        raise BundleError(document.problems)
    return lock


def _written(numbers: Numbers) -> dict[str, dict[str, int]]:
    kinds = {"used": numbers.used, "gone": numbers.gone}
    return {
        kind: dict(sorted(each.items(), key=lambda item: (item[1], item[0]))) for kind, each in kinds.items() if each
    }


class _Reader:
    """Reads the parts and notes what is wrong with them."""

    def __init__(self, document: Document) -> None:
        self._document = document

    def lock(self) -> Lock:
        values = self._mapping(self._document.values, ())
        for key in values.keys() - {"inputs", "outputs", "input_values", "output_values"}:
            self._note((key,), f"`{key}` is no key here: there are inputs, outputs, input_values and output_values")
        return Lock(
            inputs=self._numbers(values.get("inputs"), ("inputs",), MOST),
            outputs=self._numbers(values.get("outputs"), ("outputs",), MOST),
            input_values=self._enums(values.get("input_values"), "input_values"),
            output_values=self._enums(values.get("output_values"), "output_values"),
        )

    def _enums(self, value: Any, key: str) -> dict[str, Numbers]:
        return {
            name: self._numbers(each, (key, name), _MOST_VALUE) for name, each in self._mapping(value, (key,)).items()
        }

    def _numbers(self, value: Any, at: tuple[str, ...], most: int) -> Numbers:
        kinds = self._mapping(value, at)
        for key in kinds.keys() - {"used", "gone"}:
            self._note((*at, key), f"`{key}` is no key here: there are used and gone")
        used = self._kind(kinds.get("used"), (*at, "used"), most)
        owners: dict[int, str] = {}
        for name, number in used.items():
            if (owner := owners.setdefault(number, name)) != name:
                self._note(
                    (*at, "used", name), f"{name!r} has the number of {owner!r}, {number}: take back what was edited"
                )
        return Numbers(used, self._kind(kinds.get("gone"), (*at, "gone"), most))

    def _kind(self, value: Any, at: tuple[str, ...], most: int) -> dict[str, int]:
        numbers = self._mapping(value, at)
        for name, number in numbers.items():
            if type(number) is not int or not 1 <= number <= most or (most == MOST and number in PROTOBUFS_OWN):
                self._note((*at, name), f"{number!r} is no number that {name!r} can have")
        return numbers

    def _mapping(self, value: Any, at: tuple[str, ...]) -> dict[str, Any]:
        if value is not None and not isinstance(value, dict):
            self._note(at, f"`{'.'.join(at) or LOCK_FILE}` is no mapping: take back what was edited")
        return value if isinstance(value, dict) else {}

    def _note(self, at: tuple[str, ...], message: str) -> None:
        self._document.problems.append(self._document.problem(at, message))
