"""The model's file, and what it does without a server, through the Python of Triton's environment."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

Floats = NDArray[np.float32]

SCRIPT = Path(__file__).with_name("model.py")
BUNDLE = Path(__file__).with_name("bundle")
BATCHES = 8
"""Distinct full batches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How heavy the model is, and how it is served.

    Attributes:
        gpu: whether it runs on one.
        instances: copies that Triton runs at once; on a GPU one copies while the other computes.
        batch_rows: rows of a full batch.
        channels: of its convolutions.
        batch_seconds: what a full batch should take; the number of convolutions follows.
    """

    gpu: bool
    instances: int
    batch_rows: int
    channels: int
    batch_seconds: float = 0.015

    @property
    def inference(self) -> dict[str, Any]:
        """That section of the bundle."""
        section = yaml.safe_load((BUNDLE / "predmesh.yaml").read_text())["inference"]
        device = "gpu" if self.gpu else "cpu"
        return {**section, "instances": self.instances, "max_batch_rows": self.batch_rows, "device": device}

    @property
    def images(self) -> int:
        """Distinct rows that are asked."""
        return BATCHES * self.batch_rows


def plan_for(gpus: int) -> Plan:
    """What suits a machine with *gpus* GPUs."""
    if gpus:
        return Plan(gpu=True, instances=2, batch_rows=256, channels=256)
    return Plan(gpu=False, instances=1, batch_rows=32, channels=16)


@dataclass(frozen=True, slots=True)
class Offline:
    """The model without a server."""

    python: Path
    folder: Path
    """Where its file, the images and the answers lie."""
    made: Mapping[str, Any]
    """What was made, and for which device."""

    @classmethod
    def make(cls, plan: Plan, python: Path, folder: Path) -> Offline:
        """Writes a model for *plan* into *folder*."""
        document = {**asdict(plan), "inference": plan.inference, "images": plan.images}
        (folder / "plan.json").write_text(json.dumps(document))
        return cls(python, folder, _told(python, "make", folder))

    def rows_per_second(self, seconds: float) -> float:
        """What a loop over full batches does, one after another, on the same device."""
        return float(_told(self.python, "loop", self.folder, f"{seconds:g}")["rows_per_second"])

    def known(self) -> tuple[Floats, Floats]:
        """Images, (rows, 16, 16), and their answers, (rows, 10), once the loop has run."""
        return np.load(self.folder / "images.npy"), np.load(self.folder / "answers.npy")


def _told(python: Path, verb: str, folder: Path, *rest: str) -> dict[str, Any]:
    done = subprocess.run([str(python), str(SCRIPT), verb, str(folder), *rest], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{SCRIPT.name} {verb} failed:\n{done.stderr}")
    return dict(json.loads(done.stdout))
