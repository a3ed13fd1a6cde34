"""Runs a model of any framework on plain arrays; knows neither Triton, gRPC nor the bundle's other parts.

Works with numpy 1.26 (Triton's environment) and numpy 2 (the workspace).
"""

from predmesh_runtime.errors import InputError, LoadError, ModelError, RunError
from predmesh_runtime.model import Model, load
from predmesh_runtime.specs import TensorSpec

__all__ = ["InputError", "LoadError", "Model", "ModelError", "RunError", "TensorSpec", "load"]
