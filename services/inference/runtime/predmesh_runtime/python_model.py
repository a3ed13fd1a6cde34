"""A model that is Python code of the bundle itself: ``class Model`` in the bundle's file."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location

from predmesh_runtime.errors import LoadError
from predmesh_runtime.model import Run, Source


def open_model(source: Source) -> Run:
    """``Model(folder).infer(tensors)`` of the file: arrays by name in, arrays by name out."""
    found = spec_from_file_location(f"predmesh_bundle_model_{abs(hash(source.path))}", source.path)
    if found is None or found.loader is None:
        raise LoadError(f"{source.path.name} is no Python file")
    module = module_from_spec(found)
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # a stored bundle never changes
    try:
        found.loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = before
    if not hasattr(module, "Model"):
        raise LoadError(f"{source.path.name} has no class Model with __init__(folder) and infer(tensors)")
    run: Run = module.Model(source.path.parent).infer
    return run
