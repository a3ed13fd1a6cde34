"""Makes the model and runs it without a server; a script for the Python of Triton's environment, which has torch.

`make FOLDER` writes `model.pt2` and `images.npy`; `loop FOLDER SECONDS` runs that file over the images
again and again, as Triton's stub would, and writes `answers.npy`. Both read FOLDER/plan.json and print a JSON object.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from predmesh_runtime import load
from torch import Tensor, nn

SIDE, CLASSES, SEED = 16, 10, 0
TRIAL_BLOCKS, MOST_BLOCKS = 2, 64
TRIAL_RUNS = 5


class Residual(nn.Module):  # type: ignore[misc]
    """From images, (rows, 16, 16), to probabilities, (rows, 10)."""

    def __init__(self, channels: int, blocks: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, channels, 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(), nn.Conv2d(channels, channels, 3, padding=1)
            )
            for _ in range(blocks)
        )
        self.head = nn.Linear(channels * SIDE * SIDE, CLASSES)

    def forward(self, image: Tensor) -> Tensor:
        """Probabilities."""
        found = torch.relu(self.stem(image.unsqueeze(1)))
        for block in self.blocks:
            # Each adds its share, so that a deep model rounds no worse than a shallow one.
            found = found + block(found) / len(self.blocks)
        return torch.softmax(self.head(found.flatten(1)), dim=1)


def make(folder: Path, plan: dict[str, Any]) -> dict[str, Any]:
    """Writes a model that takes about the planned time for a batch on the planned device, and images to ask it."""
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    images = torch.randn(plan["images"], SIDE, SIDE)
    batch, device = images[: plan["batch_rows"]], torch.device("cuda" if plan["gpu"] else "cpu")
    trial = Residual(plan["channels"], TRIAL_BLOCKS).eval().to(device)
    blocks = round(TRIAL_BLOCKS * plan["batch_seconds"] / _seconds(trial, batch.to(device)))
    model = Residual(plan["channels"], min(max(1, blocks), MOST_BLOCKS)).eval()
    rows = {"image": {0: torch.export.Dim("rows", min=1)}}
    torch.export.save(torch.export.export(model, (batch,), dynamic_shapes=rows), folder / "model.pt2")
    np.save(folder / "images.npy", images.numpy())
    return {
        "blocks": len(model.blocks),
        "channels": plan["channels"],
        "parameters": sum(each.numel() for each in model.parameters()),
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name() if plan["gpu"] else "CPU, 1 thread",
    }


def _seconds(model: nn.Module, batch: Tensor) -> float:
    """Of the quickest of a few runs."""
    took = []
    with torch.inference_mode():
        for _ in range(TRIAL_RUNS):
            begin = time.perf_counter()
            model(batch).cpu()  # Waits for the device.
            took.append(time.perf_counter() - begin)
    return min(took)


def loop(folder: Path, plan: dict[str, Any], seconds: float) -> dict[str, Any]:
    """Rows a second over full batches, those of the first pass left out: it warms up and tells the answers."""
    model = load(folder, plan["inference"], gpu=plan["gpu"])
    images = np.load(folder / "images.npy")
    batches = [{"image": part} for part in np.split(images, len(images) // plan["batch_rows"])]
    answers = [model.infer(batch)["probabilities"] for batch in batches]
    np.save(folder / "answers.npy", np.concatenate(answers))
    runs, begin = 0, time.perf_counter()
    while (took := time.perf_counter() - begin) < seconds:
        model.infer(batches[runs % len(batches)])
        runs += 1
    return {"rows_per_second": runs * plan["batch_rows"] / took}


def main(verb: str, folder: Path, *rest: str) -> None:
    """Does what *verb* says."""
    plan = json.loads((folder / "plan.json").read_text())
    print(json.dumps(make(folder, plan) if verb == "make" else loop(folder, plan, float(*rest))))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
