"""What Envoy answers by itself is the mesh's own error document, for every kind of caller."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from predmesh.prediction.v1 import prediction_service_pb2 as pb
from predmesh.prediction.v1.prediction_service_pb2_grpc import PredictionServiceStub
from predmesh_gateway import admin
from predmesh_gateway.bootstrap import to_yaml
from predmesh_gateway.envoy import argv
from predmesh_gateway.settings import Settings
from predmesh_testing.envoy import Gateway, running_echo, running_gateway, settings_over
from predmesh_testing.waiting import until_then as until

MIB = 1024 * 1024
GET_MODEL = "/predmesh.prediction.v1.PredictionService/GetModel"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("errors")


@pytest.fixture(scope="module")
def gateway(folder: Path) -> Iterator[Gateway]:
    settings = settings_over(folder / "p.sock", request_timeout_seconds=1.0)
    with running_echo(folder / "p.sock"), running_gateway(settings, folder) as found:
        yield found


@pytest.fixture(scope="module")
def rest(gateway: Gateway) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=gateway.url, timeout=10) as client:
        yield client


@pytest.fixture
def orphan(tmp_path: Path) -> Iterator[Gateway]:
    """A gateway whose prediction is not there."""
    settings = settings_over(tmp_path / "none.sock", health_interval_seconds=0.1)
    with running_gateway(settings, tmp_path) as found:
        yield found


def told(answer: httpx.Response) -> tuple[int, int, str]:
    """HTTP status, code and message of a document that is of the mesh's shape."""
    assert answer.headers["content-type"] == "application/json"
    document = answer.json()
    of_open_inference = {"error"} if answer.request.url.path.startswith("/v2") else set()
    assert set(document) == {"code", "message", "details"} | of_open_inference
    assert document.get("error", document["message"]) == document["message"]
    info, request = document["details"]
    assert (info["@type"], info["domain"]) == ("type.googleapis.com/google.rpc.ErrorInfo", "predmesh.dev")
    assert (info["reason"], set(info["metadata"])) == ("ERROR_REASON_GATEWAY", {"flags"})
    assert request["@type"] == "type.googleapis.com/google.rpc.RequestInfo"
    assert request.get("requestId") == answer.headers.get("x-request-id")
    return answer.status_code, document["code"], document["message"]


@pytest.mark.parametrize(
    ("method", "path", "more", "expected"),
    [
        pytest.param("GET", "/nowhere", {}, (404, 5), id="no route"),
        pytest.param("GET", "/v1/nowhere", {}, (404, 5), id="no method"),
        pytest.param("POST", "/v1/models/a:forget", {"json": {}}, (404, 5), id="no verb"),
        pytest.param("GET", "/v1/models/a:predict", {}, (405, 12), id="get for post"),
        pytest.param("POST", "/v1/models/a", {"json": {}}, (405, 12), id="post for get"),
        pytest.param("DELETE", "/v2", {}, (405, 12), id="delete"),
        pytest.param("GET", "/v2/nowhere", {}, (404, 5), id="no path of v2"),
        pytest.param("GET", "/v2/models/a/infer", {}, (405, 12), id="get for infer"),
        pytest.param("POST", "/v2/models/a/ready", {}, (405, 12), id="post for ready"),
        pytest.param("DELETE", "/v2/logging", {}, (405, 12), id="delete of an extension"),
        pytest.param("POST", GET_MODEL, {"json": {}}, (415, 3), id="json for grpc"),
        pytest.param("GET", "/v1/models/a?colour=red", {}, (400, 3), id="unknown query"),
        pytest.param("GET", "/v1/models/a%2Fb", {}, (400, 3), id="escaped slash"),
        pytest.param("GET", "/v1/models", {"headers": {"a_b": "1"}}, (400, 3), id="underscore"),
        pytest.param("GET", "/v1/models", {"headers": {"a": "x" * 40_000}}, (431, 3), id="large headers"),
        pytest.param("POST", "/v1/models/a:predict", {"content": b"x" * (4 * MIB + 1)}, (413, 3), id="large body"),
        pytest.param("POST", "/v1/models/a:predict", {"content": [b"x" * 65536] * 100}, (413, 3), id="large stream"),
        pytest.param("POST", "/v2/models/a/infer", {"content": b"x" * (5 * MIB)}, (413, 3), id="large v2 body"),
    ],
)
def test_rest_callers_get_a_document(
    rest: httpx.Client, method: str, path: str, more: dict[str, Any], expected: tuple[int, int]
):
    status, code, message = told(rest.request(method, path, **more))
    assert (status, code) == expected
    assert len(message) > 20


@pytest.mark.parametrize(("method", "path", "allowed"), [("GET", "/v1/models/a:explain", "POST"), ("PUT", "/", "GET")])
def test_a_wrong_method_is_told_the_right_one(rest: httpx.Client, method: str, path: str, allowed: str):
    assert rest.request(method, path).headers["allow"] == allowed


def test_the_callers_time_ends_the_call(rest: httpx.Client):
    started = time.monotonic()
    answer = rest.get("/v1/models/slow", headers={"grpc-timeout": "100m"})
    assert (answer.status_code, answer.json()["code"]) == (504, 4)
    # Prediction and gateway both watch the clock; either may be first to say so.
    assert answer.json()["details"][0]["reason"] in ("ERROR_REASON_DEADLINE", "ERROR_REASON_GATEWAY")
    assert time.monotonic() - started < 0.9


def test_an_unknown_query_parameter_is_named(rest: httpx.Client):
    assert "colour" in told(rest.get("/v1/models/a?colour=red"))[2]


def failure(address: str, model: str, *, timeout: float = 10) -> tuple[grpc.StatusCode, str, str]:
    """Code, reason and details of a failed gRPC call."""
    with grpc.insecure_channel(address) as channel, pytest.raises(grpc.RpcError) as caught:
        PredictionServiceStub(channel).GetModel(pb.GetModelRequest(model=model), timeout=timeout)
    status, info = rpc_status.from_call(caught.value), error_details_pb2.ErrorInfo()
    assert status is not None
    assert status.details[0].Unpack(info)
    details = caught.value.details() or ""
    assert status.message == details
    return caught.value.code(), info.reason, details


def test_a_prediction_that_hangs_costs_the_time_allowed(tmp_path: Path):
    settings = settings_over(tmp_path / "p.sock", request_timeout_seconds=0.3)
    with running_echo(tmp_path / "p.sock") as echo, running_gateway(settings, tmp_path) as gateway:
        assert httpx.get(f"{gateway.url}/v1/models/a").status_code == 200
        echo.send_signal(signal.SIGSTOP)
        assert told(httpx.get(f"{gateway.url}/v1/models/a"))[:2] == (504, 4)
        code, reason, details = failure(gateway.address, "a")
        assert (code, reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "ERROR_REASON_GATEWAY")
        assert details.startswith("No answer in the time allowed")
        echo.send_signal(signal.SIGCONT)
        assert httpx.get(f"{gateway.url}/v1/models/a").status_code == 200


def test_an_unknown_service_is_not_offered(gateway: Gateway):
    with grpc.insecure_channel(gateway.address) as channel, pytest.raises(grpc.RpcError) as caught:
        ask: Any = channel.unary_unary("/nowhere.Service/Method")
        ask(b"", timeout=5)
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_without_prediction_rest_gets_a_document(orphan: Gateway):
    for answer in (httpx.get(f"{orphan.url}/v1/models"), httpx.post(f"{orphan.url}/v1/models/a:predict", json={})):
        status, code, message = told(answer)
        assert (status, code) == (503, 14)
        assert "predmesh status" in message
        assert "sock" not in answer.text


def test_without_prediction_grpc_is_unavailable(orphan: Gateway):
    code, reason, details = failure(orphan.address, "a")
    assert (code, reason) == (grpc.StatusCode.UNAVAILABLE, "ERROR_REASON_GATEWAY")
    assert "cannot be reached" in details


def test_without_prediction_grpc_web_is_unavailable(orphan: Gateway):
    headers = {"content-type": "application/grpc-web+proto"}
    answer = httpx.post(f"{orphan.url}{GET_MODEL}", content=b"\0\0\0\0\0", headers=headers)
    assert answer.headers["grpc-status"] == "14"
    assert answer.headers["content-type"] == "application/grpc-web+proto"


def test_without_prediction_the_gateway_is_not_healthy(orphan: Gateway):
    status, code, message = told(httpx.get(f"{orphan.url}/healthz"))
    assert (status, code) == (503, 14)
    assert "healthy" in message


def test_a_prediction_that_dies_is_noticed_and_its_return_too(tmp_path: Path):
    settings = settings_over(tmp_path / "p.sock", health_interval_seconds=0.1)
    with running_gateway(settings, tmp_path) as gateway:
        with running_echo(tmp_path / "p.sock") as echo:
            until(lambda: httpx.get(f"{gateway.url}/healthz").status_code == 200)
            assert told(httpx.get(f"{gateway.url}/v1/models/die"))[:2] == (503, 14)
            echo.wait(10)
            until(lambda: httpx.get(f"{gateway.url}/healthz").status_code == 503)
        (tmp_path / "p.sock").unlink()
        with running_echo(tmp_path / "p.sock"):
            # The first call succeeds: none waits for a health check.
            assert httpx.get(f"{gateway.url}/v1/models").status_code == 200
            until(lambda: httpx.get(f"{gateway.url}/healthz").status_code == 200)


def test_a_prediction_in_trouble_still_speaks_for_itself(tmp_path: Path):
    settings = settings_over(tmp_path / "p.sock", health_interval_seconds=0.1)
    need = tmp_path / "need"
    need.touch()
    with running_echo(tmp_path / "p.sock", ECHO_NEED=str(need)), running_gateway(settings, tmp_path) as gateway:
        until(lambda: httpx.get(f"{gateway.url}/healthz").status_code == 200)
        need.unlink()
        until(lambda: httpx.get(f"{gateway.url}/healthz").status_code == 503)
        assert httpx.get(f"{gateway.url}/v1/models/a").status_code == 200


@pytest.mark.parametrize("code", [4, 13, 14])
def test_what_prediction_answers_does_not_take_it_out(gateway: Gateway, rest: httpx.Client, code: int):
    for _ in range(10):
        assert rest.get(f"/v1/models/code-{code}").json()["code"] == code
    assert rest.get("/healthz").status_code == 200
    ejected = admin.statistics(gateway.settings.admin_address, matching="outlier_detection.ejections_active")
    assert set(ejected.values()) == {0}


def test_a_process_killed_among_several_fails_no_call(tmp_path: Path):
    sockets = [tmp_path / "a.sock", tmp_path / "b.sock"]
    settings = settings_over(*sockets)
    statuses = []
    with (
        running_echo(sockets[0]) as first,
        running_echo(sockets[1]),
        running_gateway(settings, tmp_path) as gateway,
        httpx.Client(base_url=gateway.url, timeout=10) as client,
    ):
        for number in range(60):
            if number == 20:
                first.kill()
            statuses.append(client.get("/v1/models/a").status_code)
    assert statuses == [200] * 60


def test_a_second_gateway_does_not_share_the_port(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = Settings(address=f"127.0.0.1:{port}", admin_address=f"unix:{tmp_path / 'admin.sock'}", access_log="")
        config = tmp_path / "envoy.yaml"
        config.write_text(to_yaml(settings))
        done = subprocess.run(argv(settings, config), capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode != 0
    assert "Address already in use" in done.stderr
