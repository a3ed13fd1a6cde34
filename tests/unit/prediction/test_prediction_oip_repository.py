"""The model repository extension: read by anybody, written by nobody, and that only to administrators' faces."""

from typing import Any

import grpc
import orjson
import pytest
from google.api import httpbody_pb2
from predmesh.prediction.v1 import open_inference_http_service_pb2 as http_pb
from predmesh_prediction.oip_repository import SCOPES_HEADER
from predmesh_rpc.errors import DependencyDown, InvalidInput, PermissionDenied
from predmesh_rpc.translate import translate
from tritonclient.grpc import service_pb2 as pb

from tests.unit.prediction.prediction_fakes import DIGITS, FLIGHTS, Mesh, changed

ADMIN = ((SCOPES_HEADER, "predict admin"),)
NO_ADMIN = [
    pytest.param((), id="no scopes"),
    pytest.param(((SCOPES_HEADER, "predict"),), id="another scope"),
    pytest.param(((SCOPES_HEADER, "admins administrator"),), id="longer words"),
]


async def index(mesh: Mesh, body: bytes = b"") -> list[dict[str, str]]:
    """What both faces list, which is the same."""
    ready = bool(body) and orjson.loads(body).get("ready", False)
    over_grpc = (await mesh.oip.RepositoryIndex(pb.RepositoryIndexRequest(ready=ready))).models
    request = http_pb.RepositoryIndexHttpRequest(body=httpbody_pb2.HttpBody(data=body))
    over_rest: list[dict[str, str]] = orjson.loads((await mesh.oip_http.RepositoryIndexHttp(request)).data)
    assert over_rest == [
        {"name": each.name, "version": each.version, "state": each.state, "reason": each.reason} for each in over_grpc
    ]
    return over_rest


async def fault(call: Any) -> Any:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return translate(caught.value, "")


def load(mesh: Mesh, face: str, model: str = "digits", body: bytes = b"{}", metadata: Any = ADMIN) -> Any:
    if face == "grpc":
        request = pb.RepositoryModelLoadRequest(model_name=model)
        for name, value in (orjson.loads(body).get("parameters") or {}).items():
            request.parameters[name].string_param = value
        return mesh.oip.RepositoryModelLoad(request, metadata=metadata)
    over_rest = http_pb.RepositoryModelLoadHttpRequest(model=model, body=httpbody_pb2.HttpBody(data=body))
    return mesh.oip_http.RepositoryModelLoadHttp(over_rest, metadata=metadata)


def unload(mesh: Mesh, face: str, metadata: Any = ADMIN) -> Any:
    if face == "grpc":
        return mesh.oip.RepositoryModelUnload(pb.RepositoryModelUnloadRequest(model_name="digits"), metadata=metadata)
    request = http_pb.RepositoryModelUnloadHttpRequest(model="digits")
    return mesh.oip_http.RepositoryModelUnloadHttp(request, metadata=metadata)


both_faces = pytest.mark.parametrize("face", ["grpc", "rest"])


async def test_every_live_version_is_listed(mesh: Mesh) -> None:
    await mesh.deploy(DIGITS, changed(DIGITS, version="2"), FLIGHTS)
    assert [(each["name"], each["version"], each["state"]) for each in await index(mesh)] == [
        ("digits", "1", "READY"),
        ("digits", "2", "READY"),
        ("flight-delay", "1", "READY"),
    ]


async def test_what_cannot_answer_says_why_and_is_left_out_on_demand(mesh: Mesh) -> None:
    mesh.inference.is_ready = False
    assert {(each["state"], bool(each["reason"])) for each in await index(mesh)} == {("UNAVAILABLE", True)}
    assert await index(mesh, b'{"ready": true}') == []


async def test_there_is_one_repository(mesh: Mesh) -> None:
    error = await fault(mesh.oip.RepositoryIndex(pb.RepositoryIndexRequest(repository_name="other")))
    assert isinstance(error, InvalidInput) and error.violations[0].field == "repository_name"


@pytest.mark.parametrize("body", [b'{"ready": 1}', b'{"redy": true}', b"[]", b"{"])
async def test_an_index_request_is_read_strictly(mesh: Mesh, body: bytes) -> None:
    request = http_pb.RepositoryIndexHttpRequest(body=httpbody_pb2.HttpBody(data=body))
    assert isinstance(await fault(mesh.oip_http.RepositoryIndexHttp(request)), InvalidInput)


@both_faces
@pytest.mark.parametrize("metadata", NO_ADMIN)
@pytest.mark.parametrize("ask", [load, unload])
async def test_without_the_scope_nothing_is_loaded_or_unloaded(mesh: Mesh, face: str, metadata: Any, ask: Any) -> None:
    error = await fault(ask(mesh, face, metadata=metadata))
    assert isinstance(error, PermissionDenied)
    assert (error.reason, error.metadata) == ("ERROR_REASON_SCOPE_MISSING", {"scope": "admin"})


@both_faces
async def test_what_is_live_is_loaded_already(mesh: Mesh, face: str) -> None:
    await load(mesh, face)


@both_faces
async def test_what_is_not_live_cannot_be_loaded(mesh: Mesh, face: str) -> None:
    error = await fault(load(mesh, face, model="digit"))
    assert (error.reason, error.metadata["nearest"]) == ("ERROR_REASON_MODEL_UNKNOWN", "digits")


@both_faces
async def test_a_model_that_is_being_loaded_is_unavailable(mesh: Mesh, face: str) -> None:
    mesh.inference.is_ready = False
    assert isinstance(await fault(load(mesh, face)), DependencyDown)


@both_faces
async def test_a_configuration_comes_with_a_bundle_alone(mesh: Mesh, face: str) -> None:
    error = await fault(load(mesh, face, body=b'{"parameters": {"config": "{}"}}'))
    assert [each.field for each in error.violations] == ["parameters.config"]
    assert "predmesh deploy" in error.violations[0].reason_text


@both_faces
async def test_unloading_is_left_to_the_command_line(mesh: Mesh, face: str) -> None:
    error = await fault(unload(mesh, face))
    assert error.reason == "ERROR_REASON_NOT_OFFERED" and "predmesh undeploy" in error.message


EXTENSIONS = [
    ("logging", "LogSettings", pb.LogSettingsRequest()),
    ("trace/setting", "TraceSetting", pb.TraceSettingRequest()),
    ("config", "ModelConfig", pb.ModelConfigRequest(name="digits")),
    ("stats", "ModelStatistics", pb.ModelStatisticsRequest(name="digits")),
    ("systemsharedmemory/status", "SystemSharedMemoryStatus", pb.SystemSharedMemoryStatusRequest()),
    (
        "systemsharedmemory/region/a/register",
        "SystemSharedMemoryRegister",
        pb.SystemSharedMemoryRegisterRequest(name="a", key="/a", byte_size=8),
    ),
    ("systemsharedmemory/unregister", "SystemSharedMemoryUnregister", pb.SystemSharedMemoryUnregisterRequest()),
    ("cudasharedmemory/status", "CudaSharedMemoryStatus", pb.CudaSharedMemoryStatusRequest()),
    ("cudasharedmemory/region/a/register", "CudaSharedMemoryRegister", pb.CudaSharedMemoryRegisterRequest(name="a")),
    ("cudasharedmemory/unregister", "CudaSharedMemoryUnregister", pb.CudaSharedMemoryUnregisterRequest()),
]


@pytest.mark.parametrize(("extension", "method", "message"), EXTENSIONS, ids=[each[1] for each in EXTENSIONS])
async def test_an_extension_is_refused_in_the_same_words_on_both_faces(
    mesh: Mesh, extension: str, method: str, message: Any
) -> None:
    over_grpc = await fault(getattr(mesh.oip, method)(message))
    over_rest = await fault(
        mesh.oip_http.RefuseExtensionHttp(http_pb.RefuseExtensionHttpRequest(extension=extension, model="digits"))
    )
    assert (over_grpc.reason, over_grpc.message) == (over_rest.reason, over_rest.message)
    assert over_grpc.metadata == {"method": f"inference.GRPCInferenceService/{method}"}
