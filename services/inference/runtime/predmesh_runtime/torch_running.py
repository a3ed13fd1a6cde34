"""What PyTorch's two file kinds share: one thread, no gradients, tensors in the bundle's order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from predmesh_runtime.errors import LoadError, RunError
from predmesh_runtime.model import Run, Source
from predmesh_runtime.specs import Array


def device_of(source: Source) -> torch.device:
    """Where the model runs; one thread on the CPU."""
    torch.set_num_threads(1)
    return torch.device("cuda" if source.gpu else "cpu")


def runner(source: Source, module: Callable[..., Any], device: torch.device) -> Run:
    """Calls *module* with the inputs in the bundle's order; its outputs are named in order, or by its dict's keys."""
    if any(spec.datatype == "BYTES" for spec in source.inputs):
        raise LoadError("PyTorch takes no text: encode it in preprocessing")

    def run(tensors: Mapping[str, Array]) -> Mapping[str, Array]:
        with torch.inference_mode():
            # A copy, because the arrays of a request are read-only and torch warns of those.
            arguments = [torch.from_numpy(np.array(tensors[spec.name])).to(device) for spec in source.inputs]
            return _named(source, module(*arguments))

    return run


def _named(source: Source, answer: Any) -> dict[str, Array]:
    if isinstance(answer, Mapping):
        return {str(name): value.cpu().numpy() for name, value in answer.items()}
    values = answer if isinstance(answer, tuple | list) else (answer,)
    if len(values) != len(source.outputs):
        raise RunError(
            f"the module gives {len(values)} outputs, the bundle names {len(source.outputs)}: correct predmesh.yaml"
        )
    return {spec.name: value.cpu().numpy() for spec, value in zip(source.outputs, values, strict=True)}
