"""Has the preprocessing service make tensors, over any channel."""

from __future__ import annotations

from collections.abc import Sequence

import grpc
from predmesh.preprocessing.v1 import preprocessing_service_pb2 as pb
from predmesh.preprocessing.v1.preprocessing_service_pb2_grpc import PreprocessingServiceStub
from predmesh_frame import Frame, FrameError
from predmesh_frame.wire import tensor_from_proto

from predmesh_prediction.asking import asked, unreadable
from predmesh_prediction.domain import Tensors
from predmesh_prediction.wire_columns import add_joined


class StubPreprocessing:
    """The preprocessing stage behind a stub."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = PreprocessingServiceStub(channel)

    async def transform(self, bundle_id: str, frames: Sequence[Frame]) -> Tensors:
        """The tensors of the rows that *frames* hold side by side. Raises PredmeshError."""
        request = pb.TransformRequest(bundle_id=bundle_id)
        add_joined(request.frame, frames)
        response = await asked("preprocessing", self._stub.Transform(request))
        try:
            return dict(tensor_from_proto(each) for each in response.tensors)
        except FrameError as error:
            raise unreadable("preprocessing", error) from None
