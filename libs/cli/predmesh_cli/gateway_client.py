"""Asks a running mesh through its gateway, over REST or gRPC; both give the same JSON documents."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any, Protocol
from urllib.parse import quote

from predmesh_cli.errors import CliError, ExitCode

Document = Mapping[str, Any]
TIMEOUT_SECONDS = 30.0
CALLERS_FAULT = frozenset({3, 5, 7, 9, 11, 12, 16})
"""Codes of google.rpc.Code that the caller must act on."""


class Gateway(Protocol):
    """What the commands ask of a mesh."""

    def describe(self, model: str, version: str) -> Document:
        """The JSON form of `Model`."""
        ...

    def predict(self, model: str, version: str, rows: list[Any]) -> Document:
        """The JSON form of PredictResponse."""
        ...

    def explain(self, model: str, version: str, rows: list[Any], *, top: int, output: str) -> Document:
        """The JSON form of ExplainResponse."""
        ...


class RestGateway:
    """A mesh over REST."""

    def __init__(self, url: str) -> None:
        self._url = url

    def describe(self, model: str, version: str) -> Document:
        """GET /v1/models/{model}."""
        return dict(self._ask("GET", self._path(model, version), None)["model"])

    def predict(self, model: str, version: str, rows: list[Any]) -> Document:
        """POST /v1/models/{model}:predict."""
        return self._ask("POST", f"{self._path(model, version)}:predict", {"instances": rows})

    def explain(self, model: str, version: str, rows: list[Any], *, top: int, output: str) -> Document:
        """POST /v1/models/{model}:explain."""
        body = {"instances": rows, **({"top": top} if top else {}), **({"output": output} if output else {})}
        return self._ask("POST", f"{self._path(model, version)}:explain", body)

    @staticmethod
    def _path(model: str, version: str) -> str:
        path = f"/v1/models/{quote(model, safe='')}"
        return f"{path}/versions/{quote(version, safe='')}" if version else path

    def _ask(self, verb: str, path: str, body: Any) -> dict[str, Any]:
        content = None if body is None else json.dumps(body).encode()
        headers = {"content-type": "application/json"} if content else {}
        request = urllib.request.Request(self._url + path, data=content, headers=headers, method=verb)  # noqa: S310
        try:
            with _DIRECT.open(request, timeout=TIMEOUT_SECONDS) as answer:
                return _parsed(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                fallback = f"the mesh answered {error.code} to {verb} {path}"
                raise refused(_parsed(error.read()), fallback=fallback) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise unreachable(self._url, getattr(error, "reason", error)) from None


# A proxy of the caller's environment has no business between a shell and its own machine.
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _parsed(text: bytes) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


class GrpcGateway:
    """A mesh over gRPC, by the generated stub."""

    def __init__(self, address: str) -> None:
        self._address = address

    def describe(self, model: str, version: str) -> Document:
        """GetModel."""
        from predmesh.prediction.v1 import prediction_service_pb2 as pb

        return dict(self._ask("GetModel", pb.GetModelRequest(model=model, version=version))["model"])

    def predict(self, model: str, version: str, rows: list[Any]) -> Document:
        """Predict."""
        from predmesh.prediction.v1 import prediction_service_pb2 as pb

        request = pb.PredictRequest(model=model, version=version)
        _add(request.instances, rows)
        return self._ask("Predict", request)

    def explain(self, model: str, version: str, rows: list[Any], *, top: int, output: str) -> Document:
        """Explain."""
        from predmesh.prediction.v1 import prediction_service_pb2 as pb

        request = pb.ExplainRequest(model=model, version=version, top=top, output=output)
        _add(request.instances, rows)
        return self._ask("Explain", request)

    def _ask(self, method: str, request: Any) -> dict[str, Any]:
        import grpc
        from google.protobuf import json_format
        from grpc_status import rpc_status
        from predmesh.prediction.v1.prediction_service_pb2_grpc import PredictionServiceStub

        with grpc.insecure_channel(self._address, options=(("grpc.enable_http_proxy", 0),)) as channel:
            call: Callable[..., Any] = getattr(PredictionServiceStub(channel), method)
            try:
                return dict(json_format.MessageToDict(call(request, timeout=TIMEOUT_SECONDS)))
            except grpc.RpcError as error:
                details = rpc_status.from_call(error)
                if details is None and error.code() is grpc.StatusCode.UNAVAILABLE:
                    raise unreachable(self._address, error.details()) from None
                document = json_format.MessageToDict(details) if details else {"code": error.code().value[0]}
                raise refused(document, fallback=str(error.details())) from None


def _add(instances: Any, rows: list[Any]) -> None:
    for row in rows:
        if not isinstance(row, dict):
            raise CliError(f"a row must be a JSON object, not {json.dumps(row)[:60]}", code=ExitCode.USAGE)
        instances.add().update(row)


def unreachable(where: str, error: object) -> CliError:
    """Nothing answers at the gateway."""
    return CliError(
        f"no mesh answers at {where} ({error})", hint="start it with `predmesh up`", code=ExitCode.NOT_RUNNING
    )


def refused(document: Document, *, fallback: str) -> CliError:
    """The mesh's google.rpc.Status *document* as an error: its message and every violation."""
    lines = [str(document.get("message") or fallback), *_violations(document)]
    callers_fault = document.get("code") in CALLERS_FAULT
    return CliError(
        "\n  ".join(lines),
        hint="" if callers_fault else "see `predmesh status`, and `predmesh logs prediction` for the cause",
        code=ExitCode.REFUSED if callers_fault else ExitCode.FAILED,
    )


def _violations(document: Document) -> list[str]:
    details = document.get("details") or []
    found = [violation for detail in details for violation in detail.get("fieldViolations", [])]
    return [f"{violation.get('field', '')}: {violation.get('description', '')}" for violation in found]
