"""Triton's python-based backend `predmesh`: one stub process a model instance, each running `predmesh_runtime`.

A version folder holds `bundle`, what the model may read of its bundle, and `inference.json`, its inference section.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb
from predmesh_runtime import InputError, Model, ModelError, load

MAX_NUMPY_MAJOR = 1
"""The stub's pybind11 predates numpy 2: with it, arrays are corrupted without an error."""

BOOSTERS = ("xgboost", "lightgbm")

Tensors = dict[str, np.ndarray[Any, Any]]


class TritonPythonModel:
    """What Triton calls: once to start, then with every batch of requests."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Open the model; an exception here fails the load, with its text."""
        if int(np.__version__.split(".", maxsplit=1)[0]) > MAX_NUMPY_MAJOR:
            raise pb.TritonModelException(
                f"numpy {np.__version__} corrupts data in this Triton: run `python -m predmesh_inference.install`"
            )
        folder = Path(args["model_repository"]) / args["model_version"]
        inference = json.loads((folder / "inference.json").read_bytes())
        if inference["framework"] in BOOSTERS:
            # They import scikit-learn where it is there and need none of it: 100 MB and a second of every stub.
            sys.modules["sklearn"] = None  # type: ignore[assignment]
        try:
            self._model = load(folder / "bundle", inference, gpu=args["model_instance_kind"] == "GPU")
        except ModelError as error:
            raise pb.TritonModelException(str(error)) from None
        self._limit_rows = int(inference["max_batch_rows"])

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """One response a request, in order; requests that Triton gathered are one call of the model."""
        tensors = [_tensors(self._model, request) for request in requests]
        if len(requests) > 1:
            try:
                return [_response(answer) for answer in _together(self._model, tensors)]
            except ModelError:
                pass  # one of them is at fault: each is asked alone, so that the others are answered
        return [self._alone(each) for each in tensors]

    def _alone(self, tensors: Tensors) -> Any:
        try:
            if (rows := max(len(array) for array in tensors.values())) > self._limit_rows:
                raise InputError(f"{rows} rows are more than the {self._limit_rows} that the model takes at once")
            return _response(self._model.infer(tensors))
        except InputError as error:
            return pb.InferenceResponse(error=pb.TritonError(str(error), pb.TritonError.INVALID_ARG))
        except ModelError as error:
            return pb.InferenceResponse(error=pb.TritonError(str(error), pb.TritonError.INTERNAL))


def _tensors(model: Model, request: Any) -> Tensors:
    return {spec.name: pb.get_input_tensor_by_name(request, spec.name).as_numpy() for spec in model.inputs}


def _together(model: Model, parts: Sequence[Tensors]) -> list[Tensors]:
    ends = np.cumsum([len(next(iter(part.values()))) for part in parts])[:-1]
    try:
        joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    except ValueError as error:  # rows of different lengths
        raise InputError(str(error)) from None
    split = {name: np.split(array, ends) for name, array in model.infer(joined).items()}
    return [{name: pieces[at] for name, pieces in split.items()} for at in range(len(parts))]


def _response(answer: Tensors) -> Any:
    return pb.InferenceResponse([pb.Tensor(name, array) for name, array in answer.items()])
