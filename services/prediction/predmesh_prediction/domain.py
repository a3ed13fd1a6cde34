"""The stages that a graph is made of, in the words that they share; no transport, no protobuf."""

from __future__ import annotations

from dataclasses import dataclass

from predmesh_bundle.stages import Explained, Explanation, Features, Inference, Looked, Preprocessing, Tensors

__all__ = ["Explained", "Explanation", "Features", "Inference", "Looked", "Preprocessing", "Stages", "Tensors"]


@dataclass(frozen=True, slots=True)
class Stages:
    """The stages that a graph is made of."""

    features: Features
    preprocessing: Preprocessing
    inference: Inference
    explanation: Explanation
