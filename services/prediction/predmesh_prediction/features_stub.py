"""Looks features up with the features service, over any channel."""

from __future__ import annotations

import grpc
from google.protobuf import duration_pb2
from predmesh.features.v1 import feature_service_pb2 as pb
from predmesh.features.v1.feature_service_pb2_grpc import FeatureServiceStub
from predmesh_frame import Frame, FrameError
from predmesh_frame.wire import frame_to_proto

from predmesh_prediction.asking import asked, unreadable
from predmesh_prediction.domain import Looked
from predmesh_prediction.wire_columns import WireColumns

_UNAVAILABLE = bytes([pb.VALUE_STATUS_UNAVAILABLE])


class StubFeatures:
    """The features stage behind a stub."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = FeatureServiceStub(channel)

    async def lookup(self, bundle_id: str, keys: Frame, max_age_seconds: float | None) -> Looked:
        """The features of each row of *keys*. Raises PredmeshError."""
        request = pb.LookupFeaturesRequest(bundle_id=bundle_id, entity_keys=frame_to_proto(keys))
        if max_age_seconds is not None:
            request.max_age.CopyFrom(_duration(max_age_seconds))
        response = await asked("features", self._stub.LookupFeatures(request))
        rows = response.features.rows
        if rows != keys.rows:
            raise unreadable("features", FrameError("", f"{rows} rows where {keys.rows} were asked for"))
        columns = WireColumns("features", response.features)
        return Looked(
            Frame(rows, columns), _UNAVAILABLE in response.statuses, max(response.read_age_seconds, default=0.0)
        )


def _duration(seconds: float) -> duration_pb2.Duration:
    duration = duration_pb2.Duration()
    duration.FromMicroseconds(round(seconds * 1e6))
    return duration
