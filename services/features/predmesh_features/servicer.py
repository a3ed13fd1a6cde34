"""The FeatureService: messages to lookups and back, no decisions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from predmesh.features.v1 import feature_service_pb2 as pb
from predmesh.features.v1.feature_service_pb2_grpc import FeatureServiceServicer as Generated
from predmesh.type.v1 import frame_pb2
from predmesh_bundle.clock import Clock
from predmesh_bundle.read_plan import FeatureType, ReadPlan
from predmesh_frame.blocks import ColumnBlock
from predmesh_frame.columns import FrameError, microseconds
from predmesh_frame.frames import Frame
from predmesh_frame.wire import block_to_proto, column_to_proto, frame_from_proto
from predmesh_rpc.errors import InvalidInput, Violation

from predmesh_features.catalogue import Catalogue
from predmesh_features.domain import FeatureBlock, FeatureColumn, Lookup, OnlineStore, Status
from predmesh_features.lookup_plan import DATA_TYPES
from predmesh_features.pushing import find_view, hash_writes

MAX_ROWS = 10_000
"""Rows of one call."""

_PRESENT = bytes([Status.PRESENT])


class FeatureServicer(Generated):
    """Serves the bundles in a catalogue from one store, by the mesh's clock."""

    def __init__(self, catalogue: Catalogue, store: OnlineStore, clock: Clock) -> None:
        """Serve *catalogue* from *store*."""
        self._catalogue = catalogue
        self._store = store
        self._clock = clock

    async def LookupFeatures(self, request: pb.LookupFeaturesRequest, context: Any) -> pb.LookupFeaturesResponse:
        """See the contract."""
        frame = frame_of(request.entity_keys, "entity_keys")
        max_age = request.max_age.ToTimedelta().total_seconds() if request.HasField("max_age") else None
        return lookup_to_proto(await self.lookup(request.bundle_id, frame, max_age))

    async def lookup(self, bundle_id: str, keys: Frame, max_age_seconds: float | None) -> Lookup:
        """The features of each row of *keys* as they stand now. Raises PredmeshError."""
        reader = self._catalogue.reader(bundle_id)
        return await reader.lookup(keys, self._store, now=self._clock.now(), max_age_seconds=max_age_seconds)

    async def PushFeatures(self, request: pb.PushFeaturesRequest, context: Any) -> pb.PushFeaturesResponse:
        """See the contract."""
        plan = self._catalogue.reader(request.bundle_id).plan
        view = find_view(plan, request.feature_view)
        frame = frame_of(request.rows, "rows")
        writes = hash_writes(plan, view, frame, self._event_nanos(request, frame))
        try:
            written = await self._store.write(writes)
        finally:  # A push that fails may have written some.
            self._catalogue.forget({write.key for write in writes})
        return pb.PushFeaturesResponse(rows_written=sum(written), rows_skipped=len(written) - sum(written))

    async def ListFeatureServices(
        self, request: pb.ListFeatureServicesRequest, context: Any
    ) -> pb.ListFeatureServicesResponse:
        """See the contract."""
        plans = sorted((bundle_id, reader.plan) for bundle_id, reader in self._catalogue.readers.items())
        return pb.ListFeatureServicesResponse(feature_services=[plan_to_proto(*each) for each in plans])

    def _event_nanos(self, request: pb.PushFeaturesRequest, frame: Frame) -> list[int]:
        if not request.event_times:
            return [microseconds(self._clock.now()) * 1000] * frame.rows
        if len(request.event_times) != frame.rows:
            reason = f"holds {len(request.event_times)} times for {frame.rows} rows"
            raise _invalid("event_times", reason)
        return [time.seconds * 1_000_000_000 + time.nanos for time in request.event_times]


def frame_of(message: frame_pb2.Frame, field: str) -> Frame:
    """The frame in *message*, the request's *field*.

    Raises:
        InvalidInput: it is no frame of 1 to 10,000 rows.
    """
    if not 1 <= message.rows <= MAX_ROWS:
        raise _invalid(field, f"has {message.rows} rows; 1 to {MAX_ROWS:,} are allowed")
    try:
        return frame_from_proto(message)
    except FrameError as error:
        raise _invalid(f"{field}.{error.column}" if error.column else field, error.reason) from None


def lookup_to_proto(lookup: Lookup) -> pb.LookupFeaturesResponse:
    """The answer that says *lookup*."""
    single = [each for block in lookup.blocks if not block.type.packs for each in block.features()]
    single += lookup.single
    packed = [block for block in lookup.blocks if block.type.packs]
    response = pb.LookupFeaturesResponse(
        features=frame_pb2.Frame(
            rows=lookup.rows,
            columns=[column_to_proto(each.name, each.column) for each in single],
            blocks=[block_to_proto(ColumnBlock(each.names, each.type, each.values, each.valid)) for each in packed],
        ),
        statuses=_statuses(lookup, single, packed),
        feature_views=lookup.views,
        age_seconds=lookup.ages.ravel().tolist(),
        read_age_seconds=[] if lookup.read_ages is None else lookup.read_ages.ravel().tolist(),
        stored_features=[pb.StoredFeature(name=each.name, values=each.messages) for each in lookup.stored],
    )
    response.clock_time.FromDatetime(lookup.clock_time)
    return response


def plan_to_proto(bundle_id: str, plan: ReadPlan) -> pb.FeatureServiceDescription:
    """What *plan*, compiled for a bundle, serves."""
    features = [
        pb.FeatureDescription(
            name=feature.name,
            type=_type(feature.type),
            feature_view=view,
            description=feature.description,
            row_shape=feature.row_shape,
        )
        for view, feature in plan.described()
    ]
    features += [
        pb.FeatureDescription(
            name=feature.name, feature_view=view, description=feature.description, feast_type=feature.feast_type
        )
        for view, feature in plan.described_stored()
    ]
    return pb.FeatureServiceDescription(
        name=plan.feature_service,
        project=plan.project,
        bundle_id=bundle_id,
        join_keys=[key.column for key in plan.join_keys],
        features=features,
    )


def _statuses(lookup: Lookup, single: Sequence[FeatureColumn], packed: Sequence[FeatureBlock]) -> bytes:
    """One byte a value, *single* features first, stored ones last; none when every value is there."""
    alone = [each.statuses for each in lookup.single] + [each.statuses for each in lookup.stored]
    if all((states == Status.PRESENT).all() for states in alone) and all(
        block.statuses is None for block in lookup.blocks
    ):
        return b""
    parts = [each.statuses.tobytes() for each in single]
    parts += [_PRESENT * block.values.size if block.statuses is None else block.statuses.tobytes() for block in packed]
    parts += [each.statuses.tobytes() for each in lookup.stored]
    return b"".join(parts)


def _type(type: FeatureType) -> Any:
    return int(DATA_TYPES[type])


def _invalid(field: str, reason: str) -> InvalidInput:
    return InvalidInput("ERROR_REASON_INVALID_REQUEST", f"{field} {reason}", violations=[Violation(field, reason)])
