"""Requests of PredictionService as the domain takes them."""

from __future__ import annotations

from predmesh.prediction.v1 import prediction_service_pb2 as pb
from predmesh.type.v1 import frame_pb2
from predmesh_frame import Frame, FrameError
from predmesh_frame.wire import frame_from_proto

from predmesh_prediction.predicting import Rows
from predmesh_prediction.structs import to_plain
from predmesh_prediction.validation import check_bytes, check_row_count
from predmesh_prediction.violations import Violations


def rows_of(request: pb.PredictRequest | pb.ExplainRequest) -> Rows:
    """The rows in *request*.

    Raises:
        InvalidInput: it is too large, or its columns cannot be read.
    """
    check_bytes(request.ByteSize())
    check_row_count(len(request.instances), "instances")
    instances = [to_plain(each) for each in request.instances] if request.instances else None
    columns = read_columns(request.columns, request.model) if request.HasField("columns") else None
    return Rows(instances, columns)


def read_columns(message: frame_pb2.Frame, model: str) -> Frame:
    """The frame in *message*.

    Raises:
        InvalidInput: a column is not what it says it is.
    """
    check_row_count(message.rows, "columns")
    try:
        return frame_from_proto(message)
    except FrameError as error:
        violations = Violations()
        violations.add(f"columns.{error.column}".rstrip("."), error.reason)
        violations.check(model)
        raise


def is_packed(message: frame_pb2.Frame) -> bool:
    """Whether any column of *message* holds packed values, so that the answer does, too."""
    return bool(message.blocks) or any(column.WhichOneof("values") == "packed" for column in message.columns)
