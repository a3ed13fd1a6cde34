"""What of a contract that changed would break a client of the earlier one; pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from predmesh_bundle.schema import Input, Output

from predmesh_compiler.contracts import Contract
from predmesh_compiler.fields import TypedField

_Rule = Callable[[TypedField, TypedField], Iterator[str]]


@dataclass(frozen=True, slots=True)
class Break:
    """One thing that a client of the earlier contract would trip over."""

    field: str
    """What changed, e.g. `inputs.carrier`."""
    reason: str
    """How, in words."""

    def __str__(self) -> str:
        return f"{self.field}: {self.reason}"


def breaks(old: Contract, new: Contract) -> list[Break]:
    """What would break a client of *old* that calls *new*; empty where nothing does.

    A client must be able to send what it sent, by number (gRPC) and by name (JSON), and understand what it gets. Inputs
    may ask less than before, outputs may say no more.
    """
    found = [
        *_side("inputs", old.inputs, new.inputs, (_identity, _asked)),
        *_side("outputs", old.outputs, new.outputs, (_identity, _answered)),
    ]
    known = {each.name for each in old.inputs}
    numbers = {each.number for each in old.inputs}
    for each in new.inputs:
        if each.required and each.name not in known and each.number not in numbers:
            found.append(Break(f"inputs.{each.name}", "is new and required: give it `required: false`"))
    found += _units("inputs", old.bundle.inputs, new.bundle.inputs)
    found += _units("outputs", old.bundle.outputs, new.bundle.outputs)
    if old.bundle.explanation is not None and new.bundle.explanation is None:
        found.append(Break("explanation", "was removed, and with it Explain"))
    return found


def _side(side: str, old: Sequence[TypedField], new: Sequence[TypedField], rules: Sequence[_Rule]) -> Iterator[Break]:
    names = {each.name: each for each in new}
    numbers = {each.number: each for each in new}
    for each in old:
        if (now := names.get(each.name)) is not None:
            yield from (Break(f"{side}.{each.name}", reason) for rule in rules for reason in rule(each, now))
        elif each.number in numbers:
            yield Break(f"{side}.{each.name}", f"was renamed to {numbers[each.number].name!r}; JSON goes by name")
        else:
            yield Break(f"{side}.{each.name}", "was removed")


def _units(side: str, old: Sequence[Input] | Sequence[Output], new: Sequence[Input] | Sequence[Output]) -> list[Break]:
    units = {each.name: each.unit for each in old if each.unit}
    return [
        Break(f"{side}.{each.name}", f"the unit was {units[each.name]!r} and is {each.unit!r}")
        for each in new
        if each.unit and each.unit != units.get(each.name, each.unit)
    ]


def _identity(old: TypedField, new: TypedField) -> Iterator[str]:
    """What must stay as it is on both sides."""
    if new.number != old.number:
        yield f"the number was {old.number} and is {new.number}"
    if _kind(new) != _kind(old):
        yield f"the type was {_kind(old)} and is {_kind(new)}"
    if new.shape != old.shape:
        yield f"the shape was {list(old.shape)} and is {list(new.shape)}"
    for text, number in old.values.used.items():
        if (now := new.values.used.get(text, number)) != number:
            yield f"the number of {text!r} was {number} and is {now}"


def _asked(old: TypedField, new: TypedField) -> Iterator[str]:
    """What an input may not ask beyond what it asked."""
    if new.required and not old.required:
        yield "is now required"
    if _low(new) > _low(old):
        yield f"the minimum was {_bound(old.minimum)} and is {new.minimum}"
    if _high(new) < _high(old):
        yield f"the maximum was {_bound(old.maximum)} and is {new.maximum}"
    if new.categories and not old.categories:
        yield "any text was allowed, and only its categories are"
    elif new.categories and (dropped := [text for text in old.categories if text not in new.categories]):
        yield f"the categor{'ies' if len(dropped) > 1 else 'y'} {_named(dropped)} went"


def _answered(old: TypedField, new: TypedField) -> Iterator[str]:
    """What an output may not say beyond what it said."""
    if _low(new) < _low(old):
        yield f"the minimum was {old.minimum} and is {_bound(new.minimum)}"
    if _high(new) > _high(old):
        yield f"the maximum was {old.maximum} and is {_bound(new.maximum)}"
    if old.categories and not new.categories:
        yield "it was one of its labels, and may be any text"
    elif old.categories and (added := [text for text in new.categories if text not in old.categories]):
        yield f"the label{'s' if len(added) > 1 else ''} {_named(added)} would be new to clients"


def _kind(field: TypedField) -> str:
    return "an enum" if field.enum else field.type.name.lower()


def _low(field: TypedField) -> float:
    return -math.inf if field.minimum is None else field.minimum


def _high(field: TypedField) -> float:
    return math.inf if field.maximum is None else field.maximum


def _bound(bound: float | None) -> str:
    return "none" if bound is None else str(bound)


def _named(texts: Sequence[str]) -> str:
    return ", ".join(map(repr, texts))
