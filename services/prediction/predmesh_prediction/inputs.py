"""One input of a bundle, compiled: what can be worked out before the first request."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain
from typing import Any

import numpy as np
from predmesh_bundle.schema import Input
from predmesh_bundle.values import exact
from predmesh_frame import Column, DataType
from predmesh_frame.columns import Array, Mask

from predmesh_prediction.rules import Rule, rule_of
from predmesh_prediction.values import kind, shown
from predmesh_prediction.violations import Violations

MISSING = "is required and missing"
"""What is said of a required input that a row does not bring."""


@dataclass(frozen=True, slots=True)
class CompiledInput:
    """What is asked of one input.

    Attributes:
        name: as the bundle declares it.
        type: type of its values.
        shape: shape of one row's value; empty for a scalar.
        unit: shown beside wrong numbers.
        required: whether a row must bring it.
        personal: whether its values stay out of error messages.
        rule: what one value must be.
        fill: (shape) what stands in a row that does not bring it.
        defaulted: whether `fill` is a declared default, so that the row counts as present.
    """

    name: str
    type: DataType
    shape: tuple[int, ...]
    unit: str
    required: bool
    personal: bool
    rule: Rule
    fill: Array
    defaulted: bool = False

    def read(self, values: list[Any]) -> Column | None:
        """The column of one JSON value a row, None where a row brings none; None when a rule is broken."""
        if None not in values:
            array = self.array(values)
            return None if array is None else Column(self.type, array)
        if self.required:
            return None
        array = self.array([value for value in values if value is not None])
        return None if array is None else self.filled(array, np.array([value is not None for value in values]))

    def array(self, values: list[Any]) -> Array | None:
        """(rows, shape) of JSON *values*, none of them null; None when one breaks the rule."""
        if not self.shape:
            return self.rule.read(values)
        flat = flattened(values, self.shape)
        array = None if flat is None else self.rule.read(flat)
        return None if array is None else array.reshape((len(values), *self.shape))

    def filled(self, brought: Array, mask: Mask) -> Column:
        """The column whose rows in *mask* hold what was *brought*, and the others `fill`."""
        values = np.empty((len(mask), *self.shape), self.type.numpy)
        values[:] = self.fill
        values[mask] = brought
        return Column(self.type, values, None if self.defaulted else mask)

    def explain(self, values: Iterable[tuple[int, Any]], violations: Violations) -> None:
        """Say which of the JSON *values*, each with its row, `read` refuses, and why."""
        for row, value in values:
            if value is None:
                if self.required:
                    violations.add(f"instances[{row}].{self.name}", MISSING)
            elif self.array([value]) is None:
                self._explain_row(value, f"instances[{row}].{self.name}", violations)

    def blame(self, value: Any, at: str, violations: Violations) -> None:
        """Say what is wrong with one element, at its place in the request."""
        fault = self.rule.fault(value)
        unit = f" {self.unit}" if self.unit and type(value) in (int, float) else ""
        got = kind(value) if self.personal else shown(value) + unit
        violations.add(at, f"{fault.text} (got {got})", fault.nearest)

    def shape_text(self, found: tuple[int, ...] | None) -> str:
        """What is said of a value of another shape; None stands for a ragged array."""
        wanted = f"must have shape {list(self.shape)}" if self.shape else "must be a single value"
        return f"{wanted}, not {'a ragged array' if found is None else list(found) if found else 'a single value'}"

    def _explain_row(self, value: Any, at: str, violations: Violations) -> None:
        if violations.full:
            violations.skip()
        elif not self.shape:
            self.blame(value, at, violations)
        elif (found := _shape(value)) != self.shape:
            violations.add(at, self.shape_text(found))
        else:
            for where, element in _elements(value):
                if self.rule.one(element) is None:
                    self.blame(element, at + where, violations)


def compile_input(spec: Input) -> CompiledInput:
    """The compiled form of *spec*.

    Raises:
        ValueError: the declared default breaks the input's own rules.
    """
    rule = rule_of(spec.type, spec.minimum, spec.maximum, spec.categories)
    fill = np.full(spec.shape, spec.type.empty, spec.type.numpy)
    plain = CompiledInput(spec.name, spec.type, spec.shape, spec.unit, spec.required, spec.personal, rule, fill)
    if spec.default is None:
        return plain
    value = spec.default.isoformat() if isinstance(spec.default, datetime) else exact(spec.type, spec.default)
    default = plain.array([value])
    if default is None:
        raise ValueError(f"input {spec.name!r}: its default {shown(value)} breaks its own rules")
    return replace(plain, fill=default.reshape(spec.shape), required=False, defaulted=True)


def flattened(values: list[Any], shape: tuple[int, ...]) -> list[Any] | None:
    """The elements of *values*, each of which is nested as *shape* says; None where one is not."""
    for size in shape:
        if set(map(type, values)) - {list} or set(map(len, values)) - {size}:
            return None
        values = list(chain.from_iterable(values))
    return values


def _shape(value: Any) -> tuple[int, ...] | None:
    if not isinstance(value, list):
        return ()
    inner = {_shape(each) for each in value}
    if len(inner) > 1 or None in inner:
        return None
    return (len(value), *(inner.pop() or ())) if inner else (0,)


def _elements(value: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    if not isinstance(value, list):
        yield where, value
        return
    for index, each in enumerate(value):
        yield from _elements(each, f"{where}[{index}]")
