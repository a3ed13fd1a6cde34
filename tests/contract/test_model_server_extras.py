"""Frameworks of several GB, on a real Triton; skipped where Triton's environment does not have them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from predmesh_bundle.schema import Inference, TensorSpec
from predmesh_inference.domain import Model
from predmesh_inference.installation import environment_folder
from predmesh_inference.probes import synthetic
from predmesh_inference.repository import Repository
from predmesh_inference.triton_server import TritonLimits, TritonServer
from predmesh_rpc.channels import connect
from predmesh_testing.triton import RunningTriton, needs_triton
from predmesh_testing.triton import triton as triton  # a fixture

TORCH = """
import numpy, torch
model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Softmax(dim=1)).eval()
rows = torch.randn(6, 4)
batch = torch.export.Dim("batch", min=1, max=1024)
torch.export.save(torch.export.export(model, (rows,), dynamic_shapes=({0: batch},)), "model.pt2")
torch.jit.script(model).save("model.pt")
numpy.savez("known.npz", rows=rows.numpy(), answers=model(rows).detach().numpy())
"""
TENSORFLOW = """
import numpy, tensorflow
model = tensorflow.keras.Sequential([tensorflow.keras.Input((4,), name="rows"), tensorflow.keras.layers.Dense(3)])
rows = numpy.random.default_rng(1).normal(size=(6, 4)).astype("float32")
model.save("model.keras")
model.export("saved")
numpy.savez("known.npz", rows=rows, answers=model(rows).numpy())
"""
CASES = {
    "pt2": ("torch", TORCH, "pytorch", "model.pt2", "output_0"),
    "torchscript": ("torch", TORCH, "torchscript", "model.pt", "output_0"),
    "keras": ("tensorflow", TENSORFLOW, "tensorflow", "model.keras", "output_0"),
    "saved model": ("tensorflow", TENSORFLOW, "tensorflow", "saved", "output_0"),
}


def made(folder: Path, library: str, code: str) -> dict[str, np.ndarray]:
    """What the library itself answers, for a model that it writes to *folder*."""
    if not (environment_folder() / "lib/python3.11/site-packages" / library).exists():
        pytest.skip(f"missing in Triton's environment: {library} (predmesh_inference.install --extra {library})")
    python = environment_folder() / "bin" / "python"
    subprocess.run([python, "-c", code], cwd=folder, check=True, capture_output=True)
    with np.load(folder / "known.npz") as known:
        return dict(known)


@needs_triton
@pytest.mark.parametrize("name", CASES)
async def test_the_answer_is_the_frameworks_own(name: str, triton: RunningTriton, tmp_path: Path) -> None:
    library, code, framework, file, output = CASES[name]
    known = made(tmp_path, library, code)
    inference = Inference(
        framework=framework,  # type: ignore[arg-type]
        file=file,
        inputs=(TensorSpec(name="rows", datatype="FP32", shape=(4,)),),
        outputs=(TensorSpec(name=output, datatype="FP32", shape=(3,)),),
    )
    name = f"extras-{framework}-{file}"
    model = Model(name, name, tmp_path, inference, "cpu", (synthetic(inference),), exact=False)
    async with connect(triton.address) as channel:
        server = TritonServer(channel, triton.address, Repository(triton.repository), TritonLimits(load_seconds=100))
        await server.load(model)
        for rows in (1, 6):
            answer = await server.infer(model.name, {"rows": known["rows"][:rows]}, 20)
            np.testing.assert_allclose(answer[output], known["answers"][:rows], atol=1e-6)
        await server.unload(model.name)
