"""Which transformer a bundle asks for, tried with its own example before anything depends on it."""

from __future__ import annotations

from dataclasses import dataclass

from predmesh_bundle.schema import Preprocessing, TensorSpec
from predmesh_bundle.store import StoredBundle
from predmesh_rpc.errors import PredmeshError

from predmesh_preprocessing.domain import ColumnSpec, Fitting, Transformer, Unusable, columns_of, conform, example
from predmesh_preprocessing.onnx_graph import OnnxGraph
from predmesh_preprocessing.plugin import Plugin


@dataclass(frozen=True, slots=True)
class Loaded:
    """A bundle's preprocessing, ready."""

    bundle_id: str
    columns: tuple[ColumnSpec, ...]
    tensors: tuple[TensorSpec, ...]
    transformer: Transformer
    fitting: Fitting


def open_transformer(stored: StoredBundle) -> Loaded | None:
    """Load the preprocessing of *stored* and try it; None where it declares none.

    Raises:
        Unusable: it cannot be loaded, or does not give the model's tensors for the bundle's own example.
    """
    declared = stored.bundle.preprocessing
    if declared is None:
        return None
    columns, tensors = columns_of(stored), stored.bundle.inference.inputs
    loaded = Loaded(stored.bundle_id, columns, tensors, _transformer(stored, declared, columns), Fitting(columns))
    try:
        _try(loaded)
    except Unusable:
        loaded.transformer.close()
        raise
    return loaded


def _transformer(stored: StoredBundle, declared: Preprocessing, columns: tuple[ColumnSpec, ...]) -> Transformer:
    if declared.onnx is not None:
        return OnnxGraph(stored.folder / declared.onnx, columns, stored.bundle.inference.inputs)
    return Plugin(str(declared.plugin), stored.folder, stored.bundle_id)


def _try(loaded: Loaded) -> None:
    """Two rows show a batch size that was exported fixed; one would not."""
    rows = example(loaded.columns).take([0, 0])
    try:
        given = loaded.transformer.transform(rows)
    except PredmeshError as error:
        raise Unusable(f"the preprocessing refuses the bundle's example: {error}") from error
    except Exception as error:  # foreign code and foreign graphs may raise anything
        kind = type(error).__name__
        raise Unusable(f"the preprocessing fails on the bundle's example: {kind}: {error}") from error
    conform(given, loaded.tensors, rows=rows.rows)
