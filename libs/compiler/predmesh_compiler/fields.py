"""The fields of a contract's Inputs and Outputs, worked out of a bundle whose numbers are known."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

from predmesh_bundle.contract_names import enum_name
from predmesh_bundle.schema import Bundle, Input, Output, bound_text
from predmesh_frame import DataType

from predmesh_compiler.lock import Lock, Numbers

_LONGEST_EXAMPLE = 80
_MOST_NAMED = 40
FLOAT_MOST = 3.4028234663852886e38
"""Largest number of 32 bits."""

_INTEGERS = {DataType.INT32: 32, DataType.INT64: 64}


@dataclass(frozen=True, slots=True, kw_only=True)
class TypedField:
    """One field of Inputs or Outputs."""

    name: str
    """Its name in the bundle, in the contract and in JSON."""
    number: int
    """Its field number."""
    type: DataType
    """Type of its values."""
    shape: tuple[int, ...] = ()
    """Shape of one row's value, -1 where any length goes; empty for a single value."""
    enum: str = ""
    """Name of its enum in the contract's package; empty where it has none."""
    values: Numbers = field(default_factory=Numbers)
    """Numbers of its categories or labels, where it has an enum."""
    comment: tuple[str, ...] = ()
    """What it means, a line of any length each."""
    required: bool = False
    """Whether a row must bring it."""
    presence: bool = False
    """Whether a message tells "not there" from zero: inputs do, outputs are always there."""
    minimum: int | float | None = None
    """Smallest value allowed, of the field's type."""
    maximum: int | float | None = None
    """Largest value allowed, of the field's type."""
    categories: tuple[str, ...] = ()
    """Texts allowed; empty where any is."""

    @property
    def repeated(self) -> bool:
        """Whether it is a list of values, row-major."""
        return bool(self.shape)

    @property
    def size(self) -> int | None:
        """Values that it holds; None where any number of them may be."""
        return None if -1 in self.shape else prod(self.shape)

    @property
    def texts(self) -> dict[int, str]:
        """Category or label of each number of its enum."""
        return {number: text for text, number in self.values.used.items()}


def input_fields(bundle: Bundle, lock: Lock) -> tuple[TypedField, ...]:
    """The fields of Inputs, in order of their numbers."""
    return _ordered(
        TypedField(
            name=each.name,
            number=_number(each),
            type=each.type,
            shape=each.shape,
            enum=enum_name(each.name) if each.enum else "",
            values=lock.input_values[each.name] if each.enum else Numbers(),
            comment=tuple(filter(None, _input_comment(each))),
            required=each.required,
            presence=True,
            minimum=_bound(each.minimum, each.type, lowest=True),
            maximum=_bound(each.maximum, each.type, lowest=False),
            categories=each.categories,
        )
        for each in bundle.inputs
    )


def output_fields(bundle: Bundle, lock: Lock) -> tuple[TypedField, ...]:
    """The fields of Outputs, in order of their numbers."""
    tensors = {each.name: each.shape for each in bundle.inference.outputs}
    shapes = {each.name: _output_shape(each, tensors[each.tensor]) for each in bundle.outputs}
    return _ordered(
        TypedField(
            name=each.name,
            number=_number(each),
            type=each.type,
            shape=shapes[each.name],
            enum=enum_name(each.name) if each.enum else "",
            values=lock.output_values[each.name] if each.enum else Numbers(),
            comment=tuple(filter(None, _output_comment(each, shapes[each.name]))),
            minimum=_bound(each.minimum, each.type, lowest=True),
            maximum=_bound(each.maximum, each.type, lowest=False),
            categories=each.labels,
        )
        for each in bundle.outputs
    )


def one_line(text: str) -> str:
    """*text* on one line, without what cannot be printed."""
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())


def shown(value: Any) -> str:
    """A value of a bundle as documentation shows it, shortened where it is long."""
    text = one_line(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str))
    return f"`{text}`" if len(text) <= _LONGEST_EXAMPLE else f"`{text[: _LONGEST_EXAMPLE - 1]}…`"


def _ordered(fields: Iterator[TypedField]) -> tuple[TypedField, ...]:
    return tuple(sorted(fields, key=lambda each: each.number))


def _number(each: Input | Output) -> int:
    if each.number is None:
        raise ValueError(f"{each.name!r} has no number: `numbered` gives it one")
    return each.number


def _output_shape(output: Output, tensor: Sequence[int]) -> tuple[int, ...]:
    if output.labels:
        return ()
    shape = tuple(tensor if output.index is None else tensor[:-1])
    return () if shape == (1,) else shape


def _bound(bound: float | None, type: DataType, *, lowest: bool) -> int | float | None:
    """*bound* in the field's own type; None where the type bounds it already."""
    if bound is None or math.isinf(bound) or (type is DataType.FLOAT and abs(bound) > FLOAT_MOST):
        return None
    if type not in _INTEGERS:
        return bound
    whole = math.ceil(bound) if lowest else math.floor(bound)
    most = 1 << (_INTEGERS[type] - 1)
    return whole if -most <= whole < most else None


def _input_comment(each: Input) -> Iterator[str]:
    meaning = _sentence(each.description)
    yield " ".join(filter(None, ("Required." if each.required else "", meaning))) or f"The input `{each.name}`."
    yield " ".join(_facts(each.unit, each.minimum, each.maximum, each.shape, each.categories))
    if not each.required and each.default is None:
        yield "May be left out; it is then missing to the model."
    elif not each.required:
        yield f"May be left out; it then is {shown(each.default)}."
    if each.entity_key is not None:
        yield f"Names the entity `{each.entity_key}`, whose features are looked up."
    if each.personal:
        yield "Personal data" + (": it names the person that the row is about." if each.subject else ".")
    yield f"Example: {shown(each.example)}."


def _output_comment(each: Output, shape: tuple[int, ...]) -> Iterator[str]:
    yield _sentence(each.description) or f"The output `{each.name}`."
    yield " ".join(_facts(each.unit, each.minimum, each.maximum, shape, each.labels))


def _facts(
    unit: str, minimum: float | None, maximum: float | None, shape: tuple[int, ...], texts: Sequence[str]
) -> Iterator[str]:
    if unit:
        yield f"Unit: {one_line(unit)}."
    if minimum is not None and maximum is not None:
        yield f"Range: {bound_text(minimum)} to {bound_text(maximum)}."
    elif minimum is not None:
        yield f"At least {bound_text(minimum)}."
    elif maximum is not None:
        yield f"At most {bound_text(maximum)}."
    if texts:
        named = ", ".join(shown(each) for each in texts[:_MOST_NAMED])
        yield (
            f"One of {named}." if len(texts) <= _MOST_NAMED else f"One of {named} and {len(texts) - _MOST_NAMED} more."
        )
    if len(shape) > 1:
        yield (
            f"Shape: {list(shape)}, row-major, -1 being any length."
            if -1 in shape
            else f"Shape: {list(shape)}, row-major."
        )
    elif shape and shape != (-1,):
        yield f"{shape[0]} values."


def _sentence(text: str) -> str:
    plain = one_line(text)
    return plain if not plain or plain[-1] in ".!?…" else f"{plain}."
