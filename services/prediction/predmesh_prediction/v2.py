"""The Open Inference Protocol without its messages: tensors to rows and back, and a model's description."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from predmesh_bundle.nearest import nearest
from predmesh_bundle.schema import Bundle, TensorSpec
from predmesh_frame import Column, DataType, Frame, oip
from predmesh_frame.columns import Array, object_array

from predmesh_prediction.descriptions import row_shape
from predmesh_prediction.inputs import MISSING
from predmesh_prediction.validation import ROWS
from predmesh_prediction.values import timestamp_text
from predmesh_prediction.violations import Violations

RAW = ".raw"
"""Suffix of a model's name that means its own tensors, without the rest of the graph."""

TWICE = "is there twice: send it once"
"""What is said of a tensor whose name another has."""

NO_NAME = "is required and must be a string"
"""What is said of a tensor that has no name."""

_MOST_TENSORS = 4096

DATATYPES: dict[DataType, str] = {
    DataType.BOOL: "BOOL",
    DataType.INT32: "INT32",
    DataType.INT64: "INT64",
    DataType.FLOAT: "FP32",
    DataType.DOUBLE: "FP64",
    DataType.STRING: "BYTES",
    DataType.BYTES: "BYTES",
    DataType.TIMESTAMP: "BYTES",
}
"""The protocol's type of each column type; text is UTF-8, a timestamp RFC 3339 text."""

_COLUMNS: dict[str, DataType] = {
    "BOOL": DataType.BOOL,
    "INT8": DataType.INT32,
    "INT16": DataType.INT32,
    "INT32": DataType.INT32,
    "UINT8": DataType.INT32,
    "UINT16": DataType.INT32,
    "UINT32": DataType.INT64,
    "INT64": DataType.INT64,
    "FP16": DataType.FLOAT,
    "FP32": DataType.FLOAT,
    "FP64": DataType.DOUBLE,
}


@dataclass(frozen=True, slots=True)
class Named:
    """One tensor that came or goes."""

    name: str
    datatype: str
    values: Array


@dataclass(frozen=True, slots=True)
class Described:
    """One tensor of a model's description; -1 stands for any length."""

    name: str
    datatype: str
    shape: tuple[int, ...]


def described_inputs(bundle: Bundle) -> list[Described]:
    """The bundle's inputs as tensors."""
    return [Described(spec.name, DATATYPES[spec.type], (-1, *spec.shape)) for spec in bundle.inputs]


def described_outputs(bundle: Bundle) -> list[Described]:
    """The bundle's outputs as tensors."""
    return [Described(spec.name, DATATYPES[spec.type], (-1, *row_shape(spec, bundle))) for spec in bundle.outputs]


def described_raw(specs: Sequence[TensorSpec]) -> list[Described]:
    """The model's own tensors."""
    return [Described(spec.name, spec.datatype, (-1, *spec.shape)) for spec in specs]


def check_count(count: int, side: str, model: str) -> None:
    """Raise InvalidInput when a request names more tensors than any model has."""
    if count > _MOST_TENSORS:
        violations = Violations()
        violations.add(side, f"are {count} tensors; at most {_MOST_TENSORS} are read")
        violations.check(model)


def blame(error: oip.TensorError, datatype: str, at: str, violations: Violations) -> None:
    """Note what is wrong with the tensor at *at* of that *datatype*."""
    place = at if error.part == "data" else f"{at}.{error.part}"
    violations.add(place, error.reason, nearest(datatype, oip.NUMPY) if error.part == "datatype" else "")


def frame_of(bundle: Bundle, tensors: Sequence[Named]) -> Frame:
    """The columns that *tensors* are, one an input; not checked against the inputs' rules yet.

    A scalar input may come as [rows] or [rows, 1].

    Raises:
        InvalidInput: a name is there twice, the tensors differ in rows, or one is of a type that no input has.
    """
    violations = Violations()
    shapes = {spec.name: spec.shape for spec in bundle.inputs}
    texts = {spec.name for spec in bundle.inputs if spec.type is not DataType.BYTES}
    rows = _rows(tensors, violations)
    columns: dict[str, Column] = {}
    for tensor in tensors:
        at = f"inputs.{tensor.name}"
        values = tensor.values
        if tensor.name in columns:
            violations.add(at, TWICE)
        elif values.shape[:1] == (rows,):
            if shapes.get(tensor.name) == () and values.shape[1:] == (1,):
                values = values[:, 0]
            column = _column(tensor.datatype, values, tensor.name in texts, at, violations)
            columns |= {} if column is None else {tensor.name: column}
    violations.check(bundle.name)
    return Frame(rows, columns)


def named_outputs(frame: Frame, wanted: Sequence[str]) -> list[Named]:
    """The columns of *frame* as tensors; of the *wanted* names, or all where none is."""
    columns = frame.columns
    return [Named(name, DATATYPES[columns[name].type], _tensor(columns[name])) for name in wanted or columns]


def checked_raw(bundle: Bundle, tensors: Sequence[Named]) -> tuple[dict[str, Array], int]:
    """The model's own input tensors, and how many rows they have.

    Raises:
        InvalidInput: one is unknown, missing, there twice, or not of its declared type or shape; or they hold no row.
    """
    violations = Violations()
    specs = {spec.name: spec for spec in bundle.inference.inputs}
    found: dict[str, Array] = {}
    rows = _rows(tensors, violations)
    for tensor in tensors:
        at = f"inputs.{tensor.name}"
        spec = specs.get(tensor.name)
        if tensor.name in found:
            violations.add(at, TWICE)
        elif spec is None:
            violations.unknown(at, "is no tensor of this model", tensor.name, specs)
        elif tensor.datatype != spec.datatype:
            violations.add(at, f"must be of datatype {spec.datatype}, not {tensor.datatype}", spec.datatype)
        elif tensor.values.shape[:1] != (rows,) or not _fits(tensor.values.shape[1:], spec.shape):
            violations.add(at, f"must have shape {[-1, *spec.shape]}, not {list(tensor.values.shape)}")
        found[tensor.name] = tensor.values
    for name in specs:
        if name not in found:
            violations.add(f"inputs.{name}", MISSING)
    if not rows:
        violations.add("inputs", f"hold no row; bring 1 to {ROWS}")
    violations.check(bundle.name)
    return found, rows


def check_batch(rows: int, bundle: Bundle) -> None:
    """Raise InvalidInput when *rows* are more than the model takes at once, where they cannot go in parts."""
    most = bundle.inference.max_batch_rows
    if rows > most:
        violations = Violations()
        violations.add("inputs", f"hold {rows} rows; this model takes {most} at once: send them in parts")
        violations.check(bundle.name)


def check_wanted(wanted: Sequence[str], known: Collection[str], model: str) -> None:
    """Raise InvalidInput when an output is asked for that the model does not give."""
    violations = Violations()
    for name in wanted:
        if name not in known:
            violations.unknown(f"outputs.{name}"[:120], "is no output of this model", name, known)
    violations.check(model)


def check_once(wanted: Sequence[str], model: str) -> None:
    """Raise InvalidInput when an output is asked for twice."""
    violations = Violations()
    for name, count in Counter(wanted).items():
        if count > 1:
            violations.add(f"outputs.{name}"[:120], "is there twice: ask for it once")
    violations.check(model)


def _rows(tensors: Sequence[Named], violations: Violations) -> int:
    if not tensors:
        violations.add("inputs", "are empty; bring a tensor an input")
        return 0
    rows = tensors[0].values.shape[0] if tensors[0].values.ndim else -1
    for tensor in tensors:
        if not tensor.values.ndim:
            violations.add(f"inputs.{tensor.name}", "must have shape [rows] or [rows, …], not []")
        elif tensor.values.shape[0] != rows and rows >= 0:
            first = tensors[0].name
            violations.add(f"inputs.{tensor.name}", f"has {tensor.values.shape[0]} rows where {first!r} has {rows}")
    return max(rows, 0)


def _column(datatype: str, values: Array, text: bool, at: str, violations: Violations) -> Column | None:
    if datatype == "BYTES":
        return _texts(values, at, violations) if text else Column(DataType.BYTES, values)
    type = _COLUMNS.get(datatype)
    if type is None:
        violations.add(at, f"is of datatype {datatype}, which no input has", "INT64")
        return None
    return Column(type, values.astype(type.numpy, copy=False))


def _texts(values: Array, at: str, violations: Violations) -> Column | None:
    try:
        return Column(DataType.STRING, _each(values, lambda value: value.decode()))
    except UnicodeDecodeError as error:
        violations.add(at, f"must be UTF-8 text: {error.reason} at byte {error.start} of an element")
        return None


def _tensor(column: Column) -> Array:
    if column.type is DataType.TIMESTAMP:
        return _each(column.values, lambda value: timestamp_text(int(value)).encode())
    if column.type is DataType.STRING:
        return _each(column.values, str.encode)
    return column.values


def _each(values: Array, change: Callable[..., object]) -> Array:
    return object_array([change(value) for value in values.ravel().tolist()], values.shape)


def _fits(shape: tuple[int, ...], declared: tuple[int, ...]) -> bool:
    return len(shape) == len(declared) and all(want in (-1, size) for size, want in zip(shape, declared, strict=True))
