"""PyTorch programs exported by ``torch.export.save`` (.pt2)."""

from __future__ import annotations

import torch

from predmesh_runtime.errors import LoadError
from predmesh_runtime.model import Run, Source
from predmesh_runtime.torch_running import device_of, runner


def open_model(source: Source) -> Run:
    """The exported program's outputs, in the bundle's order."""
    if source.path.suffix != ".pt2":
        raise LoadError(
            f"{source.path.name}: save with torch.export.save(program, 'model.pt2'), or name framework torchscript"
        )
    device = device_of(source)
    program = torch.export.load(str(source.path))
    if source.gpu:
        from torch.export.passes import move_to_device_pass

        program = move_to_device_pass(program, device)
    return runner(source, program.module(), device)
