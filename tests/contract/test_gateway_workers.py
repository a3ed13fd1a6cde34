"""A real Envoy before several workers of prediction, most of which are dead."""

import time
from collections.abc import Iterator

import httpx
import pytest
from predmesh_gateway import admin
from predmesh_gateway.settings import Settings
from predmesh_testing.envoy import Gateway, running_echo, running_gateway


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One worker of three lives."""
    folder = tmp_path_factory.mktemp("gateway")
    settings = Settings(
        prediction_addresses=tuple(f"unix:{folder}/{number}.sock" for number in range(3)),
        health_interval_seconds=0.05,
    )
    with (
        running_echo(folder / "1.sock"),
        running_gateway(settings, folder) as running,
    ):
        end = time.monotonic() + 30
        while (healthy(running, "prediction"), healthy(running, "prediction_unary")) != (1, 1):
            assert time.monotonic() < end, "the worker that lives was never found healthy"
            time.sleep(0.02)
        yield running


def healthy(gateway: Gateway, cluster: str) -> int:
    return counted(gateway, f"cluster.{cluster}.membership_healthy")


def counted(gateway: Gateway, name: str) -> int:
    text = admin.get(gateway.settings.admin_address, f"/stats?filter=^{name}$")
    return int(text.rpartition(":")[2])


def test_no_call_is_tried_on_a_dead_worker_while_one_lives(gateway: Gateway) -> None:
    for _ in range(20):
        assert httpx.post(f"{gateway.url}/v1/models/echo:predict", json={}).status_code == 200
    assert counted(gateway, "cluster.prediction_unary.upstream_rq_retry") == 0
    assert counted(gateway, "cluster.prediction_unary.upstream_cx_connect_fail") == 0


def test_the_gateway_is_well_while_one_worker_is(gateway: Gateway) -> None:
    assert httpx.get(f"{gateway.url}/healthz").status_code == 200
