"""Bundles and stores for the tests of predmesh_bundle."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from predmesh_bundle.store import Store

YAML = """\
name: wine
version: "1"
owner: cellar
description: Tells the cultivar of a wine.
inputs:
  - name: alcohol
    type: double
    unit: percent
    minimum: 0
    maximum: 100
    example: 13.2
  - name: hue
    type: double
    example: 1.05
inference:
  framework: onnx
  file: model.onnx
  inputs:
    - name: features
      datatype: FP32
      shape: [2]
      feature_names: [alcohol, hue]
  outputs:
    - name: probabilities
      datatype: FP32
      shape: [3]
outputs:
  - name: cultivar
    type: string
    tensor: probabilities
    labels: [barolo, grignolino, barbera]
  - name: barolo_probability
    type: double
    tensor: probabilities
    index: 0
budget: 200ms
"""

Document = dict[str, Any]
WriteBundle = Callable[..., Path]


@pytest.fixture
def write_bundle(tmp_path: Path) -> WriteBundle:
    """Writes a bundle's folder: the text given, or the wine bundle with some top-level keys changed."""

    def write(text: str | None = None, *, folder: str = "wine", model: bytes = b"weights", **changes: object) -> Path:
        root = tmp_path / folder
        root.mkdir(exist_ok=True)
        if text is None:
            text = yaml.safe_dump(yaml.safe_load(YAML) | changes, sort_keys=False) if changes else YAML
        (root / "predmesh.yaml").write_text(text)
        (root / "model.onnx").write_bytes(model)
        return root

    return write


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def document() -> Document:
    """The wine bundle as plain values."""
    values: Document = yaml.safe_load(YAML)
    return values
