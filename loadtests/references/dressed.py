"""The echo in the mesh's own clothes: grpcio's server, the mesh's edge, metrics and validation of rows, no stages.

It reads DRESSED_… as a service of the mesh reads its variables.
"""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any

from predmesh.prediction.v1 import prediction_service_pb2 as pb
from predmesh.prediction.v1 import prediction_service_pb2_grpc as pb_grpc
from predmesh_bundle.store import Store
from predmesh_prediction.messages import rows_of
from predmesh_prediction.validation import Validator
from predmesh_rpc.metrics_http import metrics_served
from predmesh_rpc.server import launch
from predmesh_rpc.service import settle
from predmesh_rpc.settings import ServiceSettings
from predmesh_rpc.table import Limits

from loadtests.references.grpcio import serving


class Settings(ServiceSettings):
    """Settings of the dressed echo."""

    answer: Path
    """File of a serialised PredictResponse."""

    model: str
    """Live model whose inputs are validated."""

    max_message_bytes: int = 5 * 1024 * 1024
    """As prediction has it."""


class DressedEcho(pb_grpc.PredictionServiceServicer):
    """Validates every row, then answers with *answer*."""

    def __init__(self, validator: Validator, answer: pb.PredictResponse) -> None:
        self._validator = validator
        self._answer = answer

    async def Predict(self, request: pb.PredictRequest, context: Any) -> pb.PredictResponse:
        """The answer, if the rows are right."""
        self._validator.of_instances(rows_of(request).instances or ())
        return self._answer


async def main(settings: Settings) -> None:
    """Serve until asked to end."""
    store = Store(settings.store)
    live = next(each for each in store.current().models if each.name == settings.model)
    answer = pb.PredictResponse.FromString(settings.answer.read_bytes())
    echo = DressedEcho(Validator(store.bundle(live.bundle_id).bundle), answer)  # type: ignore[abstract]
    limits = Limits(settings.default_deadline_seconds, settings.stream_deadline_seconds, settings.max_message_bytes)
    servicers = [(pb_grpc.add_PredictionServiceServicer_to_server, echo)]
    async with metrics_served(settings.metrics_address), serving(limits, servicers, settings.addresses):
        settle()
        asked = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asked.set)
        await asked.wait()


if __name__ == "__main__":
    launch(main, Settings, "DRESSED_")
