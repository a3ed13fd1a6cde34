"""A loaded model: checks what goes in and what comes out, and leaves the rest to its framework's adapter."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from predmesh_runtime.errors import InputError, LoadError, ModelError, RunError
from predmesh_runtime.specs import Array, TensorSpec, check_inputs, read_specs, shaped

Run = Callable[[Mapping[str, Array]], Mapping[str, Array]]
"""What an adapter makes of a file: tensors in, tensors out, both by name."""


@dataclass(frozen=True)
class Source:
    """What an adapter is given."""

    path: Path
    """The model's file or folder."""
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    gpu: bool
    """Whether to run on the GPU."""


@dataclass(frozen=True)
class Framework:
    """How one framework is reached."""

    module: str
    """The adapter, imported when first needed; it has ``open_model(source) -> Run``."""
    library: str
    """The library that the adapter imports."""
    extra: str
    """The extra of Triton's environment that brings the library; empty where it is always there."""


FRAMEWORKS: dict[str, Framework] = {
    "onnx": Framework("onnx_model", "onnxruntime", ""),
    "xgboost": Framework("xgboost_model", "xgboost", ""),
    "lightgbm": Framework("lightgbm_model", "lightgbm", ""),
    "sklearn": Framework("sklearn_model", "skops", ""),
    "pytorch": Framework("torch_model", "torch", "torch"),
    "torchscript": Framework("torchscript_model", "torch", "torch"),
    "tensorflow": Framework("tensorflow_model", "tensorflow", "tensorflow"),
    "python": Framework("python_model", "numpy", ""),
}
"""The frameworks by the names that a bundle uses."""


class Model:
    """A model that answers arrays; not safe for two threads at once."""

    def __init__(self, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...], run: Run) -> None:
        self.inputs = inputs
        self.outputs = outputs
        self._run = run

    def infer(self, tensors: Mapping[str, Array]) -> dict[str, Array]:
        """The model's outputs for *tensors*, each with the rows first.

        Raises:
            InputError: the tensors are none the model takes.
            RunError: the model failed, or gave what its specification does not say.
        """
        rows = check_inputs(self.inputs, tensors)
        if rows == 0:
            raise InputError("there are no rows: send at least one")
        try:
            answers = self._run(tensors)
        except ModelError:
            raise
        except Exception as error:  # a model is foreign code: it may raise anything
            raise RunError(f"the model failed on this input: {type(error).__name__}: {error}") from error
        return {spec.name: shaped(spec, _answer(answers, spec.name), rows) for spec in self.outputs}


def load(folder: Path, inference: Mapping[str, Any], *, gpu: bool = False) -> Model:
    """Open the model of the bundle in *folder*, as the *inference* section of its compiled JSON says.

    Raises:
        LoadError: the file is missing, unsafe or broken, or a library is not installed.
    """
    framework = FRAMEWORKS.get(inference["framework"])
    if framework is None:
        raise LoadError(f"framework {inference['framework']!r} is unknown; use one of {', '.join(FRAMEWORKS)}")
    path = folder / inference["file"]
    if not path.exists():
        raise LoadError(f"the bundle has no {inference['file']}")
    source = Source(path, read_specs(inference["inputs"]), read_specs(inference["outputs"]), gpu)
    return Model(source.inputs, source.outputs, _open(framework, source))


def _open(framework: Framework, source: Source) -> Run:
    try:
        adapter = import_module(f"predmesh_runtime.{framework.module}")
        run: Run = adapter.open_model(source)
    except ModelError:
        raise
    except ModuleNotFoundError as error:
        raise LoadError(_missing(framework, error)) from error
    except Exception as error:  # a broken file raises whatever its library likes
        raise LoadError(f"{source.path.name} cannot be opened: {type(error).__name__}: {error}") from error
    return run


def _missing(framework: Framework, error: ModuleNotFoundError) -> str:
    extra = f" --extra {framework.extra}" if framework.extra else ""
    need = f"the model needs {error.name or framework.library}, which is not installed here"
    return f"{need}: run `python -m predmesh_inference.install{extra}`"


def _answer(answers: Mapping[str, Array], name: str) -> Array:
    if name not in answers:
        raise RunError(f"the model gave no {name}, only {', '.join(answers)}: correct the outputs in predmesh.yaml")
    return answers[name]
