"""Rows of a request to keys of the store, each once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from predmesh_bundle.nearest import nearest
from predmesh_bundle.read_plan import FeatureType, JoinKey
from predmesh_frame.columns import Column, DataType
from predmesh_frame.frames import Frame
from predmesh_rpc.errors import InvalidInput, Violation

from predmesh_features import feast_layout
from predmesh_features.lookup_plan import KeyGroup

_TAKEN = {
    FeatureType.STRING: (DataType.STRING,),
    FeatureType.BYTES: (DataType.BYTES,),
    FeatureType.INT32: (DataType.INT32, DataType.INT64),
    FeatureType.INT64: (DataType.INT64, DataType.INT32),
    FeatureType.TIMESTAMP: (DataType.TIMESTAMP,),
}
_SECOND = 1_000_000


@dataclass(frozen=True, slots=True)
class EntityKeys:
    """Keys to read, and which of them belongs to each row.

    Attributes:
        keys: each once.
        rows: (rows,) index of the row's key; that after the last where a join key of the row is absent.
        incomplete: whether there is such a row.
        in_order: whether each row has a key of its own, in the order of the rows.
    """

    keys: list[bytes]
    rows: npt.NDArray[np.intp]
    incomplete: bool = False
    in_order: bool = False


def check_keys(frame: Frame, join_keys: Sequence[JoinKey]) -> None:
    """Raise InvalidInput unless *frame* brings every join key, in a type that fits; tells all that do not."""
    violations = [found for key in join_keys if (found := _violation(frame, key))]
    if violations:
        raise InvalidInput(
            "ERROR_REASON_INVALID_REQUEST", "the entity keys do not fit the read plan", violations=violations
        )


def entity_keys(group: KeyGroup, frame: Frame) -> EntityKeys:
    """The keys of *frame*'s rows in *group*; the frame has passed `check_keys`."""
    if group.entityless:
        return EntityKeys(_written(group, [[""]]), np.zeros(frame.rows, dtype=np.intp))
    columns = [frame.columns[key.column] for key in group.join_keys]
    values = [_values(key, column) for key, column in zip(group.join_keys, columns, strict=True)]
    absent = _absent(columns)
    if absent is not None and absent.any():
        return _incomplete(group, values, absent)
    asked = values[0] if len(values) == 1 else list(zip(*values, strict=True))
    unique = dict.fromkeys(asked)
    if len(unique) == len(asked):
        return EntityKeys(_written(group, values), np.arange(len(asked)), in_order=True)
    places = dict(zip(unique, range(len(unique)), strict=True))
    rows = np.fromiter(map(places.__getitem__, asked), dtype=np.intp, count=len(asked))
    return EntityKeys(_written(group, [list(unique)] if len(values) == 1 else list(zip(*unique, strict=True))), rows)


def _incomplete(group: KeyGroup, values: Sequence[Sequence[Any]], absent: npt.NDArray[np.bool_]) -> EntityKeys:
    unique: dict[Any, int] = {}
    rows = [
        -1 if gone else unique.setdefault(row, len(unique))
        for row, gone in zip(zip(*values, strict=True), absent.tolist(), strict=True)
    ]
    indices = np.array(rows, dtype=np.intp)
    indices[absent] = len(unique)
    columns: list[Any] = list(zip(*unique, strict=True)) or [[]] * len(values)
    return EntityKeys(_written(group, columns), indices, incomplete=True)


def _written(group: KeyGroup, columns: Sequence[Sequence[Any]]) -> list[bytes]:
    """The keys of the entities whose join keys stand in *columns*, one a join key."""
    types = [key.type for key in group.join_keys]
    return feast_layout.keys(types, columns, prefix=group.prefix, project=group.project)


def _values(key: JoinKey, column: Column) -> list[Any]:
    values = column.values // _SECOND if key.type is FeatureType.TIMESTAMP else column.values
    return values.tolist()  # type: ignore[no-any-return]


def _absent(columns: Sequence[Column]) -> npt.NDArray[np.bool_] | None:
    marked = [~column.valid for column in columns if column.valid is not None]
    return np.logical_or.reduce(marked) if marked else None


def _violation(frame: Frame, key: JoinKey) -> Violation | None:
    column = frame.columns.get(key.column)
    if column is None:
        return Violation(key.column, "is missing", nearest(key.column, frame.columns))
    if column.type not in _TAKEN[key.type]:
        return Violation(key.column, f"is {column.type.name.lower()}; the join key is {key.type}")
    if column.row_shape:
        return Violation(key.column, "holds several values a row; a join key is one")
    if key.type is FeatureType.INT32 and column.type is DataType.INT64 and not _fits(column):
        return Violation(key.column, "holds a value that does not fit 32 bits")
    return None


def _fits(column: Column) -> bool:
    values = column.values[column.mask]
    return bool(((values >= -(2**31)) & (values < 2**31)).all())
