"""PreprocessingService: frames in, tensors out; decides nothing."""

from __future__ import annotations

from typing import Any

from predmesh.preprocessing.v1 import preprocessing_service_pb2 as pb
from predmesh.preprocessing.v1.preprocessing_service_pb2_grpc import PreprocessingServiceServicer
from predmesh_frame import FrameError
from predmesh_frame.wire import frame_from_proto, tensor_to_proto
from predmesh_rpc.errors import InvalidInput, Violation

from predmesh_preprocessing.preprocessor import Preprocessor


class PreprocessingServicer(PreprocessingServiceServicer):
    """Answers from a `Preprocessor`."""

    def __init__(self, preprocessor: Preprocessor) -> None:
        self._preprocessor = preprocessor

    async def Transform(self, request: pb.TransformRequest, context: Any) -> pb.TransformResponse:
        """The model's tensors for the frame's rows."""
        try:
            frame = frame_from_proto(request.frame)
        except FrameError as error:
            violation = Violation(f"frame.{error.column}" if error.column else "frame", error.reason)
            raise InvalidInput("ERROR_REASON_INVALID_REQUEST", str(error), [violation]) from error
        tensors = await self._preprocessor.transform(request.bundle_id, frame)
        return pb.TransformResponse(tensors=[tensor_to_proto(name, array) for name, array in tensors.items()])
