"""The compiled validator of one bundle: a request's rows or columns to the frame of its inputs, or every violation."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

from predmesh_bundle.schema import Bundle
from predmesh_frame import Column, Frame
from predmesh_frame.rows import Field, RowColumns
from predmesh_rpc.errors import InvalidInput, Violation

from predmesh_prediction.inputs import compile_input
from predmesh_prediction.typed_inputs import read_column
from predmesh_prediction.values import kind
from predmesh_prediction.violations import Violations

ROWS = 10_000
"""Rows that one request may bring."""

BYTES = 4 * 1024 * 1024
"""Bytes that one request's body may hold."""

FEW = 16
"""Up to as many rows are read one by one: making arrays of so few costs more than checking them."""

TOO_LARGE = "ERROR_REASON_TOO_LARGE"


class Validator:
    """Reads the requests of one bundle; built once, when the bundle is loaded.

    Attributes:
        names: of the inputs, in the order of the bundle.
    """

    def __init__(self, bundle: Bundle) -> None:
        self._model = bundle.name
        self._inputs = [compile_input(spec) for spec in bundle.inputs]
        self.names = frozenset(spec.name for spec in self._inputs)
        scalar = all(not spec.shape for spec in self._inputs)
        self._fields = (
            [Field(spec.name, spec.type, spec.fill.item(), spec.defaulted) for spec in self._inputs] if scalar else []
        )
        self._scalars = [(spec.name, spec.rule.one, spec.required) for spec in self._inputs]

    def of_instances(self, rows: Sequence[Any]) -> Frame:
        """The frame of *rows*, JSON objects from input name to value.

        Raises:
            InvalidInput: with every violation; or there are too many rows.
        """
        if self._fields and 0 < len(rows) <= FEW:
            kept = self._rows(rows)
            if kept is not None:
                return Frame(len(rows), RowColumns(self._fields, kept))
        violations = Violations()
        _check_rows(len(rows), "instances", violations)
        columns = self._columns(rows) if not set(map(type, rows)) - {dict} else None
        if columns is None or violations.count:
            self._explain(rows, violations)
            violations.check(self._model)
        return Frame(len(rows), columns or {})

    def of_columns(self, frame: Frame, place: str = "columns") -> Frame:
        """The checked frame, in the order and types of the bundle.

        Args:
            frame: one column an input, as it came.
            place: what the columns are called in the request.

        Raises:
            InvalidInput: with every violation; or there are too many rows.
        """
        violations = Violations()
        _check_rows(frame.rows, place, violations)
        for name in frame.columns:
            if name not in self.names:
                violations.unknown(f"{place}.{name}", "is no input of this model", name, self.names)
        columns: dict[str, Column] = {}
        for spec in self._inputs:
            given = frame.columns.get(spec.name)
            if given is not None:
                column = read_column(spec, given, f"{place}.{spec.name}", violations)
                columns |= {} if column is None else {spec.name: column}
            elif spec.required:
                violations.add(f"{place}.{spec.name}", "is required and missing")
            else:
                columns[spec.name] = spec.read([None] * frame.rows) or Column(spec.type, spec.fill)
        violations.check(self._model)
        return Frame(frame.rows, columns)

    def _rows(self, rows: Sequence[Any]) -> list[list[Any]] | None:
        kept = []
        for row in rows:
            if type(row) is not dict or not self.names.issuperset(row):
                return None
            values = []
            for name, one, required in self._scalars:
                value = row.get(name)
                if value is not None:
                    value = one(value)
                    if value is None:
                        return None
                elif required:
                    return None
                values.append(value)
            kept.append(values)
        return kept

    def _columns(self, rows: Sequence[dict[str, Any]]) -> dict[str, Column] | None:
        if not self.names.issuperset(chain.from_iterable(rows)):
            return None
        columns: dict[str, Column] = {}
        for spec in self._inputs:
            name = spec.name
            column = spec.read([row.get(name) for row in rows])
            if column is None:
                return None
            columns[name] = column
        return columns

    def _explain(self, rows: Sequence[Any], violations: Violations) -> None:
        objects = [(row, given) for row, given in enumerate(rows) if isinstance(given, dict)]
        if len(objects) < len(rows):
            _blame_others(rows, violations)
        self._blame_unknown(objects, violations)
        for spec in self._inputs:
            spec.explain([(row, given.get(spec.name)) for row, given in objects], violations)

    def _blame_unknown(self, rows: list[tuple[int, dict[str, Any]]], violations: Violations) -> None:
        for row, given in rows:
            for name in given:
                if name in self.names:
                    continue
                at = f"instances[{row}].{name}"
                violations.unknown(at[:200], "is no input of this model", name, self.names)


def check_row_count(rows: int, place: str) -> None:
    """Raise InvalidInput when a request brings too many rows."""
    if rows > ROWS:
        text = f"holds {rows} rows; at most {ROWS} are allowed: send them in parts"
        raise InvalidInput(TOO_LARGE, f"{place}: {text}", [Violation(place, text)], rows=str(rows), limitRows=str(ROWS))


def check_some_rows(rows: int, place: str, model: str) -> None:
    """Raise InvalidInput when a request brings no rows, or too many."""
    violations = Violations()
    if rows == 0:
        violations.add(place, f"is empty; bring 1 to {ROWS} rows")
    violations.check(model)
    check_row_count(rows, place)


def _check_rows(rows: int, place: str, violations: Violations) -> None:
    if rows == 0:
        violations.add(place, f"is empty; bring 1 to {ROWS} rows, as instances or as columns")
    check_row_count(rows, place)


def check_bytes(size: int) -> None:
    """Raise InvalidInput when a body of *size* bytes is too large."""
    if size > BYTES:
        raise InvalidInput(
            TOO_LARGE,
            f"the request holds {size:,} bytes where {BYTES:,} are allowed: send it in parts",
            sizeBytes=str(size),
            limitBytes=str(BYTES),
        )


def _blame_others(rows: Sequence[Any], violations: Violations) -> None:
    for row, given in enumerate(rows):
        if not isinstance(given, dict):
            violations.add(f"instances[{row}]", f"must be an object from input name to value, not {kind(given)}")
