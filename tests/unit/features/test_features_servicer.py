"""The service through a real channel, over a store in memory."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from predmesh.features.v1 import feature_service_pb2 as pb
from predmesh.features.v1.feature_service_pb2_grpc import FeatureServiceStub, add_FeatureServiceServicer_to_server
from predmesh_bundle.clock import FixedClock
from predmesh_bundle.read_plan import FeaturePlan, FeatureType, ReadPlan
from predmesh_bundle.schema import FeatureCache
from predmesh_features.catalogue import Catalogue
from predmesh_features.domain import Status
from predmesh_features.servicer import FeatureServicer
from predmesh_frame.columns import Column, DataType
from predmesh_frame.frames import Frame
from predmesh_frame.wire import frame_from_proto, frame_to_proto
from predmesh_rpc.server import build
from predmesh_rpc.settings import ServiceSettings
from predmesh_testing.fake_store import FakeStore

BUNDLE = "flight-delay-1-0123456789ab"
Asked = Callable[..., Frame]


def bundle(plan: ReadPlan | None, bundle_id: str = BUNDLE, cache: FeatureCache | None = None) -> Any:
    features = SimpleNamespace(max_age_seconds=None, cache=cache)
    return SimpleNamespace(bundle_id=bundle_id, bundle=SimpleNamespace(features=features), read_plan=lambda: plan)


@pytest.fixture
async def catalogue(plan: ReadPlan) -> Catalogue:
    catalogue = Catalogue()
    await catalogue.load(bundle(plan))
    return catalogue


@pytest.fixture
async def stub(catalogue: Catalogue, store: FakeStore, now: datetime, tmp_path: Path) -> AsyncIterator[Any]:
    settings = ServiceSettings(address="127.0.0.1:0", store=tmp_path, grace_seconds=0)
    servicer = FeatureServicer(catalogue, store, FixedClock(now))
    async with (
        build(settings, [(add_FeatureServiceServicer_to_server, servicer)]) as server,
        grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        yield FeatureServiceStub(channel)


def weather(*origins: str, **columns: list[Any]) -> pb.PushFeaturesRequest:
    rows = len(origins)
    usual: dict[str, list[Any]] = {"wind": [1.0] * rows, "sky": ["clear"] * rows, "temperature": [9.5] * rows}
    values = usual | columns
    types = {"wind": DataType.FLOAT, "sky": DataType.STRING, "temperature": DataType.FLOAT}
    frame = Frame.of(
        {"origin": Column.of(DataType.STRING, origins)} | {name: Column.of(types[name], values[name]) for name in types}
    )
    return pb.PushFeaturesRequest(bundle_id=BUNDLE, feature_view="weather", rows=frame_to_proto(frame))


def lookup(frame: Frame, **fields: Any) -> pb.LookupFeaturesRequest:
    return pb.LookupFeaturesRequest(bundle_id=BUNDLE, entity_keys=frame_to_proto(frame), **fields)


def statuses(answer: pb.LookupFeaturesResponse) -> dict[str, list[int]]:
    frame = frame_from_proto(answer.features)
    assert len(answer.statuses) == frame.rows * len(frame.columns)
    return {
        name: list(answer.statuses[index * frame.rows : (index + 1) * frame.rows])
        for index, name in enumerate(frame.columns)
    }


async def test_what_was_pushed_is_looked_up_with_age_and_status(stub: Any, asked: Asked, now: datetime) -> None:
    request = weather("EWR", "JFK", temperature=[9.5, None])
    for minutes in (10, 90):
        request.event_times.add().FromDatetime(now - timedelta(minutes=minutes))
    pushed = await stub.PushFeatures(request)
    assert (pushed.rows_written, pushed.rows_skipped) == (2, 0)
    answer = await stub.LookupFeatures(lookup(asked("EWR", "JFK", "LGA")))
    assert statuses(answer)["temperature"] == [Status.PRESENT, Status.OUTSIDE_MAX_AGE, Status.NOT_FOUND]
    assert frame_from_proto(answer.features).columns["temperature"].to_list() == [9.5, 15.0, 15.0]
    assert list(answer.feature_views) == ["weather", "runways", "route"]
    assert answer.age_seconds[:2] == [600.0, 5400.0]
    assert len(answer.age_seconds) == 3 * 3
    assert answer.clock_time.ToDatetime(UTC) == now
    assert answer.features.rows == 3


async def test_features_of_one_type_come_as_one_block_and_say_nothing_where_all_is_well(
    stub: Any, catalogue: Catalogue, plan: ReadPlan, asked: Asked
) -> None:
    alone = dataclasses.replace(plan, views=plan.views[:1], on_demand=(), features=("temperature", "sky", "wind"))
    await catalogue.load(bundle(alone, "alone-1-0123456789ab"))
    await stub.PushFeatures(weather("EWR", "JFK"))
    frame = asked("JFK", "EWR", "JFK").select(["origin"])
    request = lookup(frame)
    request.bundle_id = "alone-1-0123456789ab"
    answer = await stub.LookupFeatures(request)
    assert [list(block.names) for block in answer.features.blocks] == [["wind", "temperature"]]
    assert [column.name for column in answer.features.columns] == ["sky"]
    assert answer.statuses == b""
    assert frame_from_proto(answer.features).columns["temperature"].to_list() == [9.5, 9.5, 9.5]


async def test_rows_pushed_without_a_time_are_of_now_and_not_again(stub: Any) -> None:
    assert (await stub.PushFeatures(weather("EWR"))).rows_written == 1
    again = await stub.PushFeatures(weather("EWR", "JFK"))
    assert (again.rows_written, again.rows_skipped) == (1, 1)


async def test_the_callers_maximum_age_counts(stub: Any, asked: Asked, now: datetime) -> None:
    request = weather("EWR")
    request.event_times.add().FromDatetime(now - timedelta(seconds=30))
    await stub.PushFeatures(request)
    limited = lookup(asked("EWR"))
    limited.max_age.FromSeconds(20)
    assert statuses(await stub.LookupFeatures(limited))["temperature"] == [Status.OUTSIDE_MAX_AGE]


async def test_what_is_served_is_listed(stub: Any, catalogue: Catalogue, plan: ReadPlan) -> None:
    await catalogue.load(bundle(plan, "another-1-0123456789ab"))
    await catalogue.load(bundle(None, "without-1-0123456789ab"))
    services = (await stub.ListFeatureServices(pb.ListFeatureServicesRequest())).feature_services
    assert [each.bundle_id for each in services] == ["another-1-0123456789ab", BUNDLE]
    assert (services[0].name, services[0].project) == ("delays", "flights")
    assert list(services[0].join_keys) == ["origin", "carrier"]
    assert [(each.name, each.type, each.feature_view, each.description) for each in services[0].features][-1] == (
        "runways",
        DataType.INT64,
        "runways",
        "open now",
    )


async def test_an_unloaded_bundle_is_unknown(stub: Any, catalogue: Catalogue, asked: Asked) -> None:
    await catalogue.unload(BUNDLE)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.LookupFeatures(lookup(asked("EWR")))
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND
    assert BUNDLE in (caught.value.details() or "")


@pytest.mark.parametrize("rows", [0, 10_001])
async def test_no_rows_and_too_many_are_refused(stub: Any, rows: int) -> None:
    frame = Frame(rows, {"origin": Column.of(DataType.STRING, ["EWR"] * rows)})
    with pytest.raises(grpc.aio.AioRpcError, match="1 to 10,000 are allowed") as caught:
        await stub.LookupFeatures(lookup(frame))
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


async def test_a_frame_that_is_none_is_refused_by_its_column(stub: Any, asked: Asked) -> None:
    request = lookup(asked("EWR"))
    request.entity_keys.rows = 2
    with pytest.raises(grpc.aio.AioRpcError, match=r"entity_keys\.origin"):
        await stub.LookupFeatures(request)


async def refusal(stub: Any, request: pb.PushFeaturesRequest) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.PushFeatures(request)
    return caught.value


async def test_an_unknown_view_is_refused_with_the_nearest(stub: Any) -> None:
    request = weather("EWR")
    request.feature_view = "wether"
    error = await refusal(stub, request)
    assert error.code() == grpc.StatusCode.NOT_FOUND
    assert b"ERROR_REASON_FEATURE_UNKNOWN" in dict(error.trailing_metadata() or ())["grpc-status-details-bin"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda request: request.rows.columns.pop(), b"a row is written whole"),
        (lambda request: request.rows.columns.add(name="winds", type=4, packed=b"\0" * 4), b"did you mean 'wind'"),
        (lambda request: request.event_times.add() and request.event_times.add(), b"holds 2 times for 1 rows"),
        (lambda request: setattr(request.rows.columns[0], "validity", b"\0"), b"is absent in a row"),
    ],
    ids=["missing", "unknown", "times", "no-key"],
)
async def test_rows_that_do_not_fit_are_refused_and_nothing_is_written(
    stub: Any, store: FakeStore, change: Callable[[Any], Any], words: bytes
) -> None:
    request = weather("EWR")
    change(request)
    error = await refusal(stub, request)
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert words in dict(error.trailing_metadata() or ())["grpc-status-details-bin"]
    assert not store.hashes


async def test_a_view_of_odd_types_takes_no_rows(stub: Any, catalogue: Catalogue, plan: ReadPlan) -> None:
    odd = dataclasses.replace(plan.views[0], unwritable="its features v have types that are not served")
    await catalogue.unload(BUNDLE)
    await catalogue.load(bundle(dataclasses.replace(plan, views=(odd, *plan.views[1:]))))
    error = await refusal(stub, weather("EWR"))
    assert error.code() == grpc.StatusCode.UNIMPLEMENTED


async def test_features_that_no_model_takes_are_written_too(stub: Any, catalogue: Catalogue, plan: ReadPlan) -> None:
    wider = dataclasses.replace(plan.views[0], unread=(FeaturePlan(name="rain", type=FeatureType.FLOAT),))
    await catalogue.unload(BUNDLE)
    await catalogue.load(bundle(dataclasses.replace(plan, views=(wider, *plan.views[1:]))))
    assert (await refusal(stub, weather("EWR"))).code() == grpc.StatusCode.INVALID_ARGUMENT


async def test_a_store_that_is_down_is_unavailable(stub: Any, store: FakeStore, asked: Asked) -> None:
    store.down = True
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.LookupFeatures(lookup(asked("EWR")))
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE


async def test_what_is_pushed_is_answered_at_once_also_where_rows_are_kept(
    plan: ReadPlan, catalogue: Catalogue, stub: Any, store: FakeStore, asked: Callable[..., Frame]
) -> None:
    await catalogue.unload(BUNDLE)
    await catalogue.load(bundle(plan, cache=FeatureCache(max_age=3600.0)))
    await stub.PushFeatures(weather("EWR", "JFK", wind=[1.0, 2.0]))
    first = await stub.LookupFeatures(lookup(asked("EWR", "JFK")))
    assert not first.read_age_seconds
    again = await stub.LookupFeatures(lookup(asked("EWR", "JFK")))
    assert len(store.reads) == 1
    assert len(again.read_age_seconds) == len(again.feature_views) * 2
    assert min(again.read_age_seconds) > 0
    assert (again.features, again.age_seconds) == (first.features, again.age_seconds)
    newer = weather("JFK", wind=[5.0])
    newer.event_times.add(seconds=2_000_000_000)
    await stub.PushFeatures(newer)
    after = await stub.LookupFeatures(lookup(asked("EWR", "JFK")))
    assert frame_from_proto(after.features).columns["wind"].to_list() == [1.0, 5.0]
    ages = dict(
        zip([(view, row) for view in after.feature_views for row in (0, 1)], after.read_age_seconds, strict=True)
    )
    assert ages["weather", 1] == 0 < ages["weather", 0]


async def test_the_callers_deadline_ends_a_slow_lookup(stub: Any, store: FakeStore, asked: Asked) -> None:
    store.gate.clear()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.LookupFeatures(lookup(asked("EWR")), timeout=0.1)
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED


async def test_a_callers_cancel_ends_the_read(stub: Any, store: FakeStore, asked: Asked) -> None:
    store.gate.clear()
    ended = asyncio.Event()
    ping = store.ping

    async def watched() -> None:
        try:
            await ping()
        except asyncio.CancelledError:
            ended.set()
            raise

    store.ping = watched  # type: ignore[method-assign]
    call = stub.LookupFeatures(lookup(asked("EWR")))
    await store.entered.wait()
    call.cancel()
    async with asyncio.timeout(5):
        await ended.wait()
