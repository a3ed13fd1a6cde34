"""WebSockets: a row a message, answers in order, errors in-band; who may open one, and how it ends."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from predmesh_rpc.health import Dependency
from predmesh_rpc.server import Server, build
from predmesh_rpc.settings import ServiceSettings
from predmesh_rpc.socket_front import SocketFront
from predmesh_rpc.table import Limits, Table
from websockets.asyncio.client import ClientConnection, connect, unix_connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.unit.prediction.prediction_fakes import FLIGHT, Mesh
from tests.unit.prediction.test_prediction_rest import ID, post, without_timings

PATH = "/v1/models/flight-delay:streamPredict"
TYPED = "/v1/models/flight-delay/versions/1/typed:streamPredict"
ROW = json.dumps(FLIGHT)


@pytest.fixture
async def server(mesh: Mesh, tmp_path: Path) -> AsyncIterator[Server]:
    settings = ServiceSettings(
        address=f"unix:{tmp_path}/g.sock", websocket_address="127.0.0.1:0", max_message_bytes=5 << 20, grace_seconds=1
    )
    async with build(settings, mesh.service.servicers) as server:
        yield server


def opened(
    server: Server, path: str = PATH, headers: tuple[tuple[str, str], ...] = (), **options: Any
) -> AbstractAsyncContextManager[ClientConnection]:
    address = f"ws://127.0.0.1:{server.websocket_port}{path}"
    return connect(address, additional_headers=headers, proxy=None, **options)


async def heard(socket: ClientConnection) -> dict[str, Any]:
    message = await socket.recv()
    assert isinstance(message, str)
    return dict(orjson.loads(message))


async def test_each_message_is_answered_as_its_row_would_be_alone(mesh: Mesh, server: Server) -> None:
    async with opened(server, headers=ID) as socket:
        await socket.send(ROW)
        first = await heard(socket)
        await socket.send(ROW)
        second = await heard(socket)
    assert (first["index"], second["index"]) == (0, 1)
    alone = without_timings(await post(mesh, {"instances": [FLIGHT]}))
    assert without_timings(second["response"]) == alone | {"requestId": "r-1-1", "predictionIds": ["r-1-1-0"]}


async def test_the_gateway_is_told_how_the_process_is(mesh: Mesh, tmp_path: Path) -> None:
    down = True

    async def check() -> None:
        if down:
            raise RuntimeError

    settings = ServiceSettings(address=f"unix:{tmp_path}/g.sock", websocket_address="127.0.0.1:0", grace_seconds=0)
    async with build(settings, mesh.service.servicers, [Dependency("store", check)]) as server:
        url = f"http://127.0.0.1:{server.websocket_port}/healthz"
        async with httpx.AsyncClient() as client:
            await server.health.refresh()
            assert [(await client.get(url + more)).status_code for more in ("", "?service=store")] == [503, 503]
            down = False
            await server.health.refresh()
            assert [(await client.get(url + more)).status_code for more in ("", "?service=store")] == [200, 200]
            assert (await client.get(url + "?service=other")).status_code == 503


async def test_a_bad_message_is_answered_in_its_place_and_the_rest_goes_on(server: Server) -> None:
    bad = (json.dumps(FLIGHT | {"carrier": 7}), "{oops", '{"carrier": "AA", "carrier": "DL"}', "7")
    async with opened(server, PATH.replace(":", "/versions/1:")) as socket:
        for message in (ROW, *bad, ROW):
            await socket.send(message)
        answers = [await heard(socket) for _ in range(6)]
    assert [each["index"] for each in answers] == list(range(6))
    assert "response" in answers[0] and "response" in answers[5]
    said = [each["error"]["message"] for each in answers[1:5]]
    assert said[0].startswith("instance.carrier: must be a string")
    assert said[1].startswith("the body is no JSON")
    assert said[2].startswith("instance.carrier: is there twice")
    assert said[3].startswith("instance: must be an object")


async def test_typed_rows_get_the_typed_answers_and_the_same_errors(server: Server) -> None:
    wrong = json.dumps(FLIGHT | {"carrier": 7})
    async with opened(server, TYPED, headers=ID) as typed, opened(server) as generic:
        for message in (ROW, wrong, "{oops"):
            await typed.send(message)
            await generic.send(message)
        good, *bad = [await heard(typed) for _ in range(3)]
        _, *generic_bad = [await heard(generic) for _ in range(3)]
    assert good["index"] == 0
    assert good["response"].keys() == {"prediction", "predictionId", "provenance"}
    assert good["response"]["predictionId"] == "r-1-0-0"
    assert bad == generic_bad


async def test_an_unknown_model_is_told_in_band(server: Server) -> None:
    async with opened(server, "/v1/models/flight-dela:streamPredict") as socket:
        await socket.send(ROW)
        error = (await heard(socket))["error"]
    assert error["reason"] == "ERROR_REASON_MODEL_UNKNOWN"
    assert "flight-delay" in error["message"]


async def ended(socket: ClientConnection) -> tuple[int | None, str | None]:
    with pytest.raises(ConnectionClosed):
        await socket.recv()
    return socket.close_code, socket.close_reason


async def test_a_binary_message_ends_the_stream_with_its_error(server: Server) -> None:
    async with opened(server) as socket:
        await socket.send(ROW)
        await socket.send(ROW.encode())
        assert "response" in await heard(socket)
        assert (await heard(socket))["error"]["reason"] == "ERROR_REASON_CONTENT_TYPE"
        assert await ended(socket) == (1008, "the message is binary: send JSON as text")


async def test_a_message_that_is_too_long_ends_the_stream(server: Server) -> None:
    async with opened(server) as socket:
        await socket.send("1" * (1024 * 1024 + 1))
        code, _ = await ended(socket)
    assert code == 1009


@pytest.mark.parametrize(
    ("path", "headers", "status", "reason"),
    [
        ("/v1/models/flight-delay:predict", (), 501, "ERROR_REASON_NOT_OFFERED"),
        (PATH + "?version=1&odd=2", (), 400, "ERROR_REASON_INVALID_REQUEST"),
        (PATH, (("origin", "https://evil.example"),), 403, "ERROR_REASON_ORIGIN"),
        (PATH, (("origin", "null"), ("x-predmesh-origin", "mesh:1")), 403, "ERROR_REASON_ORIGIN"),
        (PATH, (("origin", "http://mesh:2"), ("x-predmesh-origin", "mesh:1")), 403, "ERROR_REASON_ORIGIN"),
        (PATH, (("origin", "http://a.b"), ("x-predmesh-allowed-origin", "http://a")), 403, "ERROR_REASON_ORIGIN"),
    ],
)
async def test_who_may_not_is_told_why(
    server: Server, path: str, headers: tuple[tuple[str, str], ...], status: int, reason: str
) -> None:
    with pytest.raises(InvalidStatus) as caught:
        async with opened(server, path, headers):
            pass
    assert caught.value.response.status_code == status
    assert orjson.loads(caught.value.response.body)["details"][0]["reason"] == reason


@pytest.mark.parametrize(
    "headers",
    [
        (("origin", "http://mesh:1"), ("x-predmesh-origin", "mesh:1")),
        (("origin", "https://a.b"), ("x-predmesh-origin", "mesh:1"), ("x-predmesh-allowed-origin", "https://a.b")),
    ],
)
async def test_pages_of_the_gateways_origin_and_of_allowed_ones_may(
    server: Server, headers: tuple[tuple[str, str], ...]
) -> None:
    async with opened(server, headers=headers) as socket:
        await socket.send(ROW)
        assert "response" in await heard(socket)


async def test_a_client_that_leaves_stops_the_work(mesh: Mesh, server: Server) -> None:
    mesh.inference.gate = asyncio.Event()
    async with opened(server) as socket:
        await socket.send(ROW)
        await mesh.inference.entered.wait()
    await mesh.inference.cancelled.wait()


async def test_what_has_come_is_answered_before_the_server_ends(mesh: Mesh, tmp_path: Path) -> None:
    mesh.inference.gate = asyncio.Event()
    front = SocketFront(Table(Limits(), mesh.service.servicers), serving=lambda name: True)
    address = tmp_path / "w.sock"
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(front.listening(f"unix:{address}"))
        async with unix_connect(str(address), f"ws://mesh{PATH}") as socket:
            await socket.send(ROW)
            await mesh.inference.entered.wait()
            ending = asyncio.create_task(stack.aclose())
            await asyncio.sleep(0)
            mesh.inference.gate.set()
            assert "response" in await heard(socket)
            assert await ended(socket) == (1001, "draining")
        await ending
    assert not address.exists()


async def test_an_idle_websocket_holds_up_no_end_and_a_stuck_one_for_the_grace_alone(
    mesh: Mesh, tmp_path: Path
) -> None:
    mesh.inference.gate = asyncio.Event()
    front = SocketFront(Table(Limits(), mesh.service.servicers), serving=lambda name: True, grace_seconds=0.1)
    path = str(tmp_path / "w.sock")
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(front.listening(f"unix:{path}"))
        async with (
            unix_connect(path, f"ws://mesh{PATH}") as stuck,
            unix_connect(path, f"ws://mesh{PATH}") as idle,
        ):
            await stuck.send(ROW)
            await mesh.inference.entered.wait()
            ending = asyncio.create_task(stack.aclose())
            assert [await ended(socket) for socket in (idle, stuck)] == [(1001, "draining")] * 2
        await ending


async def test_one_too_many_is_refused_and_disturbs_nobody(mesh: Mesh, tmp_path: Path) -> None:
    front = SocketFront(Table(Limits(), mesh.service.servicers), serving=lambda name: True, most=1)
    path = str(tmp_path / "w.sock")
    async with front.listening(f"unix:{path}"), unix_connect(path, f"ws://mesh{PATH}") as first:
        await first.send(ROW)
        assert (await heard(first))["index"] == 0
        with pytest.raises(InvalidStatus) as caught:
            await unix_connect(path, f"ws://mesh{PATH}")
        assert caught.value.response.status_code == 429
        assert orjson.loads(caught.value.response.body)["details"][0]["reason"] == "ERROR_REASON_OVERLOADED"
        await first.send(ROW)
        assert (await heard(first))["index"] == 1
