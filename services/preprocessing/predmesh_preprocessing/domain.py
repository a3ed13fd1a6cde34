"""What preprocessing promises: which columns come, which tensors leave; not how they are computed."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol

import numpy as np
from predmesh_bundle.schema import Bundle, TensorSpec
from predmesh_bundle.store import StoredBundle
from predmesh_frame import Column, DataType, Frame
from predmesh_frame.blocks import BlockColumns
from predmesh_frame.columns import Array, microseconds
from predmesh_frame.oip import dtype_of
from predmesh_rpc.errors import FailedPrecondition, InvalidInput, NotFound, Violation

STAGE: Final = "preprocessing"
MAX_ROWS = 10_000
Tensors = Mapping[str, Array]


class Unusable(Exception):
    """The bundle's preprocessing does not fit the bundle; the text names every mismatch."""


class Transformer(Protocol):
    """One bundle's preprocessing, loaded."""

    blocking: bool
    """Whether it runs foreign code, which must never hold up the event loop."""

    def transform(self, frame: Frame) -> Tensors:
        """The tensors of *frame*, rows first; called from one thread at a time when blocking."""
        ...

    def close(self) -> None:
        """Give everything back."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnSpec:
    """A column that a request of this bundle brings."""

    name: str
    type: DataType
    row_shape: tuple[int, ...] = ()
    example: Any = None
    """A value to try with; None makes the row absent."""
    may_be_missing: bool = False
    """Whether rows without a value must be expected."""


def columns_of(stored: StoredBundle) -> tuple[ColumnSpec, ...]:
    """The columns that prediction sends: the inputs, then the features."""
    return (*_inputs(stored.bundle), *_features(stored))


def example(columns: Sequence[ColumnSpec]) -> Frame:
    """One row as it may come, to try a transformer with."""
    return Frame(1, {spec.name: Column.of(spec.type, [spec.example], spec.row_shape) for spec in columns})


def complete(frame: Frame, columns: Sequence[ColumnSpec]) -> Frame:
    """The declared columns of a request; one that may be missing and did not come is absent in every row.

    Raises:
        InvalidInput: a column is missing, or of another type or shape; tells all of them.
    """
    found = [Violation(spec.name, problem) for spec in columns if (problem := _problem(frame, spec))]
    if not 1 <= frame.rows <= MAX_ROWS:
        found.append(Violation("frame.rows", f"is {frame.rows}; send 1 to {MAX_ROWS} rows"))
    if found:
        text = "; ".join(f"{violation.field} {violation.description}" for violation in found)
        raise InvalidInput("ERROR_REASON_INVALID_REQUEST", f"the frame does not fit the bundle: {text}", found)
    return Frame(frame.rows, {spec.name: frame.columns.get(spec.name) or _absent(spec, frame.rows) for spec in columns})


class Fitting:
    """`complete` for a transformer that takes columns by name: what has been found to fit before passes as it is."""

    def __init__(self, columns: Sequence[ColumnSpec]) -> None:
        self._columns = columns
        self._names = frozenset(spec.name for spec in columns)
        self._fits: object = None

    def complete(self, frame: Frame) -> Frame:
        """*frame* where it holds the declared columns and no others, in any order; else as `complete`.

        Raises:
            InvalidInput: as `complete`.
        """
        layout = _layout(frame)
        if layout == self._fits and 1 <= frame.rows <= MAX_ROWS:
            return frame
        completed = complete(frame, self._columns)
        if frame.columns.keys() != self._names:
            return completed
        self._fits = layout
        return frame


def conform(tensors: Tensors, specs: Sequence[TensorSpec], *, rows: int) -> dict[str, Array]:
    """The model's inputs among *tensors*, of exactly the declared element types.

    Raises:
        Unusable: one is absent, or of another kind or shape; tells all of them.
    """
    problems = [problem for spec in specs if (problem := _mismatch(tensors.get(spec.name), spec, rows))]
    if problems:
        raise Unusable("; ".join(problems))
    return {spec.name: _typed(tensors[spec.name], spec) for spec in specs}


def failed(bundle_id: str, error: BaseException) -> FailedPrecondition:
    """What a caller hears when the bundle's own code fails: the kind of error, never its text."""
    return FailedPrecondition(
        "ERROR_REASON_MODEL_FAILED",
        f"the preprocessing of {bundle_id} failed on this input with {type(error).__name__}; the log holds the rest",
        bundleId=bundle_id,
        stage=STAGE,
    )


def unknown_bundle(bundle_id: str) -> NotFound:
    """What a caller hears of a bundle that this process has not loaded."""
    return NotFound("ERROR_REASON_BUNDLE_UNKNOWN", f"bundle {bundle_id!r} is not loaded here", bundleId=bundle_id)


def without_preprocessing(bundle_id: str) -> InvalidInput:
    """What a caller hears of a bundle whose columns are its tensors."""
    text = "declares no preprocessing: its tensors are its columns, to be sent to the model as they are"
    return InvalidInput("ERROR_REASON_INVALID_REQUEST", f"{bundle_id} {text}", [Violation("bundle_id", text)])


def _layout(frame: Frame) -> object:
    """What `complete` looks at besides the number of rows."""
    columns = frame.columns
    blocks = columns.blocks if isinstance(columns, BlockColumns) else ()
    single = columns.single if isinstance(columns, BlockColumns) else columns
    return (
        [(name, column.type, column.row_shape) for name, column in single.items()],
        [(block.names, block.type) for block in blocks],
    )


def _inputs(bundle: Bundle) -> list[ColumnSpec]:
    return [
        ColumnSpec(
            name=given.name,
            type=given.type,
            row_shape=given.shape,
            example=_input_example(given.type, given.example),
            may_be_missing=not given.required and given.default is None,
        )
        for given in bundle.inputs
    ]


def _features(stored: StoredBundle) -> list[ColumnSpec]:
    plan = stored.read_plan()
    described = plan.described() if plan else ()
    return [
        ColumnSpec(
            name=feature.name,
            type=DataType[feature.type.name],
            row_shape=feature.row_shape,
            example=feature.default,
            may_be_missing=feature.default is None,
        )
        for _, feature in described
    ]


def _input_example(type: DataType, value: Any) -> Any:
    """An example as `Column.of` takes it; YAML holds times and bytes as text."""
    if isinstance(value, list):
        return [_input_example(type, each) for each in value]
    if type is DataType.TIMESTAMP:
        return microseconds(datetime.fromisoformat(value))
    return base64.b64decode(value) if type is DataType.BYTES else value


def _absent(spec: ColumnSpec, rows: int) -> Column:
    return Column.of(spec.type, [None] * rows, spec.row_shape)


def _problem(frame: Frame, spec: ColumnSpec) -> str | None:
    column = frame.columns.get(spec.name)
    if column is None:
        return None if spec.may_be_missing else "is missing"
    if column.type is not spec.type:
        return f"is {column.type.name}; send {spec.type.name}"
    if column.row_shape != spec.row_shape:
        return f"has rows of shape {list(column.row_shape)}; send {list(spec.row_shape)}"
    return None


def _mismatch(array: Array | None, spec: TensorSpec, rows: int) -> str | None:
    if not isinstance(array, np.ndarray):
        return f"it gives no array {spec.name!r}, which the model takes"
    if array.shape[:1] != (rows,) or not _fits(array.shape[1:], spec.shape):
        wanted = ", ".join(map(str, (rows, *spec.shape)))
        return f"it gives {spec.name!r} of shape {list(array.shape)} where the model takes [{wanted}]"
    if (array.dtype.kind in "OSU") != (spec.datatype == "BYTES") or not _castable(array, spec):
        return f"it gives {spec.name!r} as {array.dtype} where the model takes {spec.datatype}"
    return None


def _castable(array: Array, spec: TensorSpec) -> bool:
    return spec.datatype == "BYTES" or np.can_cast(array.dtype, dtype_of(spec.datatype), casting="same_kind")


def _fits(shape: Sequence[int], wanted: Sequence[int]) -> bool:
    return len(shape) == len(wanted) and all(want in (-1, have) for have, want in zip(shape, wanted, strict=True))


def _typed(array: Array, spec: TensorSpec) -> Array:
    return array if spec.datatype == "BYTES" else np.ascontiguousarray(array, dtype=dtype_of(spec.datatype))
