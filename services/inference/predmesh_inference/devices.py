"""Where a model runs: decided from what the bundle asks for, what the machine has and what the framework can."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Collection

from predmesh_bundle.schema import Inference

from predmesh_inference.domain import Device, LoadFailed

# Our Triton environment has the CPU builds of ONNX Runtime and XGBoost; PyTorch and TensorFlow bring CUDA.
GPU_FRAMEWORKS = frozenset({"pytorch", "torchscript"})
GPU_BACKENDS = frozenset({"onnxruntime", "pytorch", "fil", "tensorrt"})


def count_gpus() -> int:
    """NVIDIA GPUs that the driver shows; 0 where there is no driver."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return 0
    try:
        done = subprocess.run([program, "-L"], capture_output=True, text=True, timeout=10, check=False)
    except subprocess.TimeoutExpired:
        return 0
    return sum(line.startswith("GPU ") for line in done.stdout.splitlines()) if done.returncode == 0 else 0


def choose_device(inference: Inference, backend: str, gpus: int) -> Device:
    """Where the model runs on a machine with *gpus* GPUs under Triton's *backend*.

    Raises:
        LoadFailed: the bundle insists on a GPU that is not to be had.
    """
    able = backend in GPU_BACKENDS or inference.framework in GPU_FRAMEWORKS
    if inference.device == "gpu" and not gpus:
        raise LoadFailed("the bundle asks for a GPU and this machine shows none: set `device: auto` or `cpu`")
    if inference.device == "gpu" and not able:
        raise LoadFailed(
            f"{inference.framework} runs on the CPU here: set `device: auto` or `cpu`, or use ONNX or PyTorch"
        )
    return "gpu" if gpus and able and inference.device != "cpu" else "cpu"


def choose_backend(inference: Inference, native: Collection[str]) -> str:
    """Triton's backend for a model: a native one where the server has it and the tensor names suit it, else ours."""
    if inference.framework == "onnx" and "onnxruntime" in native:
        return "onnxruntime"
    names = [spec.name for spec in (*inference.inputs, *inference.outputs)]
    if inference.framework == "torchscript" and "pytorch" in native and _follow(names, "INPUT__", "OUTPUT__"):
        return "pytorch"
    if inference.framework in ("xgboost", "lightgbm") and "fil" in native and _follow(names, "input__", "output__"):
        return "fil"
    return "predmesh"


def _follow(names: Collection[str], *prefixes: str) -> bool:
    return all(name.startswith(prefixes) for name in names)
