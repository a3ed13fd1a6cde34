"""TensorFlow: a SavedModel folder's serving signature, or a Keras file."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from predmesh_runtime.errors import LoadError
from predmesh_runtime.model import Run, Source
from predmesh_runtime.specs import Array

SIGNATURE = "serving_default"


def open_model(source: Source) -> Run:
    """A SavedModel's outputs by their names in the signature; a Keras model's in the bundle's order."""
    with contextlib.suppress(RuntimeError):  # another model of this process has set them already
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        if not source.gpu:
            tf.config.set_visible_devices([], "GPU")
    return _keras(source) if source.path.suffix == ".keras" else _saved_model(source)


def _saved_model(source: Source) -> Run:
    saved = tf.saved_model.load(str(source.path))
    if SIGNATURE not in saved.signatures:
        raise LoadError(f"{source.path.name} has no signature {SIGNATURE}: export it with model.export(folder)")
    signature = saved.signatures[SIGNATURE]

    def run(tensors: Mapping[str, Array]) -> Mapping[str, Array]:
        # `saved` is held here because a signature alone does not keep the variables alive.
        answers = _call(saved.signatures[SIGNATURE], {name: tf.constant(array) for name, array in tensors.items()})
        return {name: value.numpy() for name, value in answers.items()}

    takes = set(signature.structured_input_signature[1])
    if takes != {spec.name for spec in source.inputs}:
        raise LoadError(f"the signature takes {', '.join(sorted(takes))}: name these as inputs in predmesh.yaml")
    return run


def _call(signature: Callable[..., Any], arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    answers: Mapping[str, Any] = signature(**arguments)
    return answers


def _keras(source: Source) -> Run:
    model = tf.keras.models.load_model(str(source.path), compile=False, safe_mode=True)

    def run(tensors: Mapping[str, Array]) -> Mapping[str, Array]:
        arguments = [tf.constant(tensors[spec.name]) for spec in source.inputs]
        answer = model(arguments[0] if len(arguments) == 1 else arguments, training=False)
        values = answer if isinstance(answer, tuple | list) else [answer]
        return {spec.name: np.asarray(value) for spec, value in zip(source.outputs, values, strict=False)}

    return run
