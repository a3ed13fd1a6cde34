"""A prediction service without models: it says back what reached it, and fails on demand; for tests of the gateway.

The name of the model says what shall happen; `python -m predmesh_testing.echo_prediction` serves it.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
from google.api import httpbody_pb2
from predmesh.prediction.v1 import open_inference_http_service_pb2 as oip_pb
from predmesh.prediction.v1 import open_inference_http_service_pb2_grpc as oip_grpc
from predmesh.prediction.v1 import prediction_http_service_pb2 as http_pb
from predmesh.prediction.v1 import prediction_http_service_pb2_grpc as http_grpc
from predmesh.prediction.v1 import prediction_service_pb2 as pb
from predmesh.prediction.v1 import prediction_service_pb2_grpc as pb_grpc
from predmesh_rpc import context, deadline
from predmesh_rpc.errors import DependencyDown, InvalidInput, NotFound, Violation
from predmesh_rpc.server import Dependency, build, launch, run
from predmesh_rpc.settings import ServiceSettings
from tritonclient.grpc import service_pb2, service_pb2_grpc

LENGTH = "inference-header-content-length"


class Settings(ServiceSettings):
    """Settings of the echo; variables begin with ``ECHO_``."""

    max_message_bytes: int = 4 * 1024 * 1024 + 64 * 1024
    """A body of 4 MiB, and the message around it."""

    need: Path | None = None
    """A file without which the echo says that it is not healthy, and answers all the same."""


class Demands:
    """Does what the name of a model asks for, before anything is answered."""

    def __init__(self) -> None:
        self._attempts: Counter[str] = Counter()

    async def meet(self, model: str, wire: Any) -> None:
        """`flaky` is unavailable once a request id, `slow` never answers, `die` ends the process, `code-5` fails so.

        `missing-anything` is not found, in these words.
        """
        match model.partition("-"):
            case "flaky", _, _:
                self._attempts[context.request_id()] += 1
                if self._attempts[context.request_id()] == 1:
                    raise DependencyDown("ERROR_REASON_STORE_DOWN", "the store is away; retry", store="redis")
            case "missing", _, _:
                raise NotFound("ERROR_REASON_MODEL_UNKNOWN", f"no model {model!r} is live", model=model)
            case "bad", _, _:
                violations = [Violation("instances[0].a", "is missing"), Violation("instances[0].b", "is no number")]
                raise InvalidInput("ERROR_REASON_INVALID_REQUEST", "two things are wrong", violations)
            case "slow", _, _:
                await asyncio.Event().wait()
            case "die", _, _:
                os._exit(1)
            case "code", _, number:
                code = next(code for code in grpc.StatusCode if code.value[0] == int(number))
                await wire.abort(code, "as asked")

    def told(self) -> str:
        """What came with the request at hand, as JSON."""
        request = context.current()
        metadata = (
            {key: value if isinstance(value, str) else value.hex() for key, value in request.metadata}
            if request
            else {}
        )
        attempts = self._attempts[context.request_id()]
        return json.dumps({"metadata": metadata, "seconds": deadline.remaining(), "attempts": attempts})


class Prediction(pb_grpc.PredictionServiceServicer):
    """Says back what the typed calls bring."""

    def __init__(self, demands: Demands) -> None:
        self._demands = demands

    async def GetModel(self, request: pb.GetModelRequest, context: Any) -> pb.GetModelResponse:
        """The request, in a model's fields."""
        await self._demands.meet(request.model, context)
        told = self._demands.told()
        model = pb.Model(name=request.model, version=request.version, bundle_id="echo", description=told)
        return pb.GetModelResponse(model=model)

    async def ListModels(self, request: pb.ListModelsRequest, context: Any) -> pb.ListModelsResponse:
        """No models, and a number beyond what JavaScript can hold."""
        return pb.ListModelsResponse(generation=2**53 + 1)

    async def Predict(self, request: pb.PredictRequest, context: Any) -> pb.PredictResponse:
        """The request's model, and as many predictions as it has instances."""
        await self._demands.meet(request.model, context)
        return pb.PredictResponse(model=request.model, predictions=request.instances)

    async def StreamPredict(self, request_iterator: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        """One answer a request."""
        index = 0
        async for request in request_iterator:
            yield pb.StreamPredictResponse(index=index, response=pb.PredictResponse(model=request.request.model))
            index += 1


class PredictionHttp(http_grpc.PredictionHttpServiceServicer):
    """Says back what bodies bring."""

    def __init__(self, demands: Demands) -> None:
        self._demands = demands

    async def PredictHttp(self, request: http_pb.PredictHttpRequest, context: Any) -> httpbody_pb2.HttpBody:
        """The body's length, hash and type."""
        await self._demands.meet(request.model, context)
        return _described(request, self._demands)

    async def StreamPredictHttp(
        self, request: http_pb.StreamPredictHttpRequest, context: Any
    ) -> AsyncIterator[httpbody_pb2.HttpBody]:
        """A line, and the body's length, hash and type once the demands are met."""
        yield httpbody_pb2.HttpBody(content_type="application/x-ndjson", data=b'{"index":0}\n')
        await asyncio.sleep(0)  # what was said leaves in this turn of the loop
        await self._demands.meet(request.model, context)
        described = _described(request, self._demands)
        yield httpbody_pb2.HttpBody(content_type="application/x-ndjson", data=described.data + b"\n")

    async def StreamPredictMessages(
        self, request_iterator: AsyncIterator[http_pb.StreamPredictMessagesRequest], context: Any
    ) -> AsyncIterator[httpbody_pb2.HttpBody]:
        """What each message brings."""
        async for request in request_iterator:
            await self._demands.meet(request.model, context)
            yield _described(request, self._demands)

    async def GetHomePage(self, request: http_pb.GetHomePageRequest, context: Any) -> httpbody_pb2.HttpBody:
        """A page."""
        return httpbody_pb2.HttpBody(content_type="text/html; charset=utf-8", data=b"<h1>Predmesh</h1>")


class OpenInferenceHttp(oip_grpc.OpenInferenceHttpServiceServicer):
    """Says back what V2 bodies bring."""

    def __init__(self, demands: Demands) -> None:
        self._demands = demands

    async def ServerReadyHttp(self, request: oip_pb.ServerReadyHttpRequest, context: Any) -> httpbody_pb2.HttpBody:
        """Ready."""
        return httpbody_pb2.HttpBody(content_type="application/json", data=b'{"ready":true}')

    async def ModelInferHttp(self, request: oip_pb.ModelInferHttpRequest, wire: Any) -> httpbody_pb2.HttpBody:
        """The body's length, hash and type, and the header that marks the binary form."""
        context.send_initial_metadata(LENGTH, context.header(LENGTH))
        return _described(request, self._demands)


class OpenInference(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
    """Lives."""

    async def ServerLive(self, request: Any, context: Any) -> Any:
        """That it does."""
        return service_pb2.ServerLiveResponse(live=True)


def _described(request: Any, demands: Demands) -> httpbody_pb2.HttpBody:
    told = json.loads(demands.told()) | {
        "model": request.model,
        "version": request.version,
        "bytes": len(request.body.data),
        "sha256": hashlib.sha256(request.body.data).hexdigest(),
        "contentType": request.body.content_type,
    }
    return httpbody_pb2.HttpBody(content_type="application/json", data=json.dumps(told).encode())


async def main(settings: Settings) -> None:
    """Serve until asked to end."""
    demands = Demands()
    # What is not implemented answers UNIMPLEMENTED, as the generated bases do.
    servicers = [
        (pb_grpc.add_PredictionServiceServicer_to_server, Prediction(demands)),  # type: ignore[abstract]
        (http_grpc.add_PredictionHttpServiceServicer_to_server, PredictionHttp(demands)),  # type: ignore[abstract]
        (oip_grpc.add_OpenInferenceHttpServiceServicer_to_server, OpenInferenceHttp(demands)),  # type: ignore[abstract]
        (service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server, OpenInference()),
    ]

    async def needed() -> None:
        if settings.need is not None and not settings.need.exists():
            raise DependencyDown("ERROR_REASON_STORE_DOWN", "the needed file is not there")

    async with build(settings, servicers, [Dependency("need", needed)]) as server:
        await run(server, settings.grace_seconds)


if __name__ == "__main__":
    launch(main, Settings, prefix="ECHO_")
