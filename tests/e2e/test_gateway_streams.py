"""Streams over REST through a real Envoy: as they come, to their end, and what a caller sees when they break."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import websockets
from predmesh_gateway import admin
from predmesh_testing.envoy import Gateway, running_echo, running_gateway, settings_over
from predmesh_testing.waiting import until_then as until
from websockets.sync.client import ClientConnection, connect

ORIGIN = "https://app.example"
STREAM = "/v1/models/{}:streamPredict"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("gs")
    settings = settings_over(folder / "p.sock", request_timeout_seconds=0.2, cors_origins=(ORIGIN,))
    metrics = f"unix:{folder / 'metrics.sock'}"
    with running_echo(folder / "p.sock", ECHO_METRICS_ADDRESS=metrics), running_gateway(settings, folder) as found:
        yield found


@pytest.fixture(scope="module")
def rest(gateway: Gateway) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=gateway.url, timeout=10) as client:
        yield client


def in_flight(gateway: Gateway) -> int:
    """Streams that prediction is at."""
    page = admin.get(f"unix:{Path(gateway.settings.admin_address[5:]).parent / 'metrics.sock'}", "/metrics")
    (line,) = [line for line in page.splitlines() if "in_flight{" in line and '"StreamPredictHttp"' in line]
    return int(float(line.split()[-1]))


def test_a_stream_brings_what_was_sent_and_keeps_its_type(rest: httpx.Client):
    answer = rest.post(STREAM.format("abc/versions/3"), content=b"1\n2\n", headers={"content-type": "a/b"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/x-ndjson")
    first, second = map(json.loads, answer.text.splitlines())
    assert first == {"index": 0}
    assert (second["model"], second["version"], second["bytes"], second["contentType"]) == ("abc", "3", 4, "a/b")
    assert second["metadata"]["accept"] == "*/*"


def test_what_is_there_comes_at_once_and_outlives_the_time_of_unary_calls(rest: httpx.Client, gateway: Gateway):
    began = time.monotonic()
    with rest.stream("POST", STREAM.format("slow"), content=b"x") as answer:
        lines = answer.iter_lines()
        assert next(lines) == '{"index":0}'
        until(lambda: time.monotonic() > began + 0.5)
        assert in_flight(gateway) == 1
    until(lambda: in_flight(gateway) == 0)


def test_a_process_that_dies_half_way_cuts_the_stream_visibly(tmp_path: Path):
    settings = settings_over(tmp_path / "p.sock")
    with (
        running_echo(tmp_path / "p.sock"),
        running_gateway(settings, tmp_path) as gateway,
        httpx.stream("POST", gateway.url + STREAM.format("die"), content=b"x", timeout=10) as answer,
    ):
        lines = answer.iter_lines()
        assert next(lines) == '{"index":0}'
        with pytest.raises(httpx.RemoteProtocolError):
            next(lines)


@pytest.mark.parametrize("verb", ["GET", "PUT"])
def test_other_verbs_are_refused(rest: httpx.Client, verb: str):
    answer = rest.request(verb, STREAM.format("abc"))
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


def test_a_body_that_is_too_large_is_refused(rest: httpx.Client):
    answer = rest.post(STREAM.format("abc"), content=b"x" * (4 * 1024 * 1024 + 1))
    assert (answer.status_code, answer.json()["code"]) == (413, 3)


def opened(gateway: Gateway, model: str = "abc", **headers: str) -> ClientConnection:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return connect(f"ws://{gateway.address}{STREAM.format(model)}", additional_headers=given, proxy=None)


def test_a_websocket_brings_messages_both_ways_and_outlives_the_time_of_unary_calls(gateway: Gateway):
    with opened(gateway, "abc/versions/3") as socket:
        socket.send("{}")
        first = json.loads(socket.recv(10))
        began = time.monotonic()
        until(lambda: time.monotonic() > began + 0.5)
        socket.send("[1, 2]")
        second = json.loads(socket.recv(10))
    assert [(each["model"], each["version"], each["bytes"]) for each in (first, second)] == [
        ("abc", "3", 2),
        ("abc", "3", 6),
    ]
    assert first["metadata"]["x-request-id"]


@pytest.mark.parametrize("origin", [ORIGIN, "http://{}"], ids=["allowed", "own"])
def test_pages_of_the_gateways_origin_and_of_allowed_ones_may_open_websockets(gateway: Gateway, origin: str):
    with opened(gateway, origin=origin.format(gateway.address)) as socket:
        socket.send("{}")
        assert json.loads(socket.recv(10))["model"] == "abc"


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": ORIGIN + ".evil.example"},
        {"origin": "https://evil.example", "x_predmesh_allowed_origin": "https://evil.example"},
        {"origin": "https://evil.example", "x_predmesh_origin": "evil.example"},
    ],
    ids=["other", "none of its own", "longer", "claims to be allowed", "claims to be own"],
)
def test_pages_of_other_origins_may_not(gateway: Gateway, headers: dict[str, str]):
    with pytest.raises(websockets.InvalidStatus) as caught:
        opened(gateway, **headers)
    assert caught.value.response.status_code == 403
    assert b"ERROR_REASON_ORIGIN" in caught.value.response.body


@pytest.mark.parametrize("path", ["/v1/models/abc:predict", "/v1/models", "/"])
def test_nothing_else_is_upgraded(gateway: Gateway, path: str):
    with pytest.raises(websockets.InvalidStatus) as caught:
        connect(f"ws://{gateway.address}{path}", proxy=None)
    assert 400 <= caught.value.response.status_code < 500


def test_a_process_that_dies_cuts_the_websocket_visibly(tmp_path: Path):
    settings = settings_over(tmp_path / "p.sock")
    with (
        running_echo(tmp_path / "p.sock"),
        running_gateway(settings, tmp_path) as gateway,
        opened(gateway, "die") as socket,
    ):
        socket.send("{}")
        with pytest.raises(websockets.ConnectionClosedError):
            socket.recv(10)
        assert socket.close_code == 1006
