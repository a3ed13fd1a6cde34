"""PyTorch modules saved by ``torch.jit.save``."""

from __future__ import annotations

import warnings

import torch

from predmesh_runtime.model import Run, Source
from predmesh_runtime.torch_running import device_of, runner


def open_model(source: Source) -> Run:
    """The module's outputs, in the bundle's order."""
    device = device_of(source)
    with warnings.catch_warnings():
        # TorchScript is deprecated upstream; a bundle that has one is served all the same.
        warnings.simplefilter("ignore", FutureWarning)
        module = torch.jit.load(str(source.path), map_location=device)
    return runner(source, module.eval(), device)
