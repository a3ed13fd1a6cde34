"""Has the explanation service attribute answers, over any channel."""

from __future__ import annotations

import math

import grpc
import numpy as np
from predmesh.explanation.v1 import explanation_service_pb2 as pb
from predmesh.explanation.v1.explanation_service_pb2_grpc import ExplanationServiceStub
from predmesh_frame import FrameError
from predmesh_frame.wire import tensor_to_proto
from predmesh_rpc import deadline

from predmesh_prediction.asking import asked, unreadable
from predmesh_prediction.domain import Explained, Tensors


class StubExplanation:
    """The explanation stage behind a stub."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = ExplanationServiceStub(channel)

    async def explain(self, bundle_id: str, tensors: Tensors, output_index: int) -> Explained:
        """The attributions of each row. Raises PredmeshError."""
        request = pb.ExplainRequest(
            bundle_id=bundle_id,
            tensors=[tensor_to_proto(name, tensor) for name, tensor in tensors.items()],
            output_index=output_index,
        )
        left = deadline.remaining()
        if left < math.inf:
            request.budget.FromMicroseconds(round(left * 1e6))
        response = await asked("explanation", self._stub.Explain(request))
        names, bases = tuple(response.feature_names), np.array(response.base_values, np.float64)
        contributions = np.frombuffer(response.contributions, "<f8")
        if contributions.size != len(bases) * len(names):
            reason = f"{contributions.size} contributions of {len(bases)} rows and {len(names)} features"
            raise unreadable("explanation", FrameError("", reason))
        return Explained(response.method, response.space, names, bases, contributions.reshape(len(bases), len(names)))
