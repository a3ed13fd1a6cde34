"""Answers what it is asked: a model that shows whether Triton and its Python hand arrays over unchanged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import triton_python_backend_utils as pb


class TritonPythonModel:
    """The identity, on purpose without any check of its own."""

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Each request's ``x`` as its ``y``."""
        return [
            pb.InferenceResponse([pb.Tensor("y", pb.get_input_tensor_by_name(request, "x").as_numpy())])
            for request in requests
        ]
