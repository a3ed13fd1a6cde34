"""An echo of nothing but grpc.aio: takes a PredictRequest, gives the same PredictResponse to every caller.

It has what a good server of grpc.aio has (uvloop, messages of generated code, no garbage collection of what stays) and
nothing else: no deadline, metrics, logs or validation. Health is there because the gateway asks for it.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import signal
from pathlib import Path
from typing import Any

import grpc
import uvloop
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from predmesh.prediction.v1 import prediction_service_pb2 as pb
from predmesh.prediction.v1 import prediction_service_pb2_grpc as pb_grpc


class Echo(pb_grpc.PredictionServiceServicer):
    """Answers every prediction with *answer*."""

    def __init__(self, answer: pb.PredictResponse) -> None:
        self._answer = answer

    async def Predict(self, request: pb.PredictRequest, context: Any) -> pb.PredictResponse:
        """The answer, whatever was asked."""
        return self._answer


async def main(socket: Path, answer: pb.PredictResponse) -> None:
    """Serve until asked to end."""
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    pb_grpc.add_PredictionServiceServicer_to_server(Echo(answer), server)  # type: ignore[abstract]
    alive = health.aio.HealthServicer()
    await alive.set("", health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(alive, server)
    server.add_insecure_port(f"unix:{socket}")
    await server.start()
    gc.freeze()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asyncio.current_task().cancel)  # type: ignore[union-attr]
    try:
        await server.wait_for_termination()
    except asyncio.CancelledError:
        await server.stop(0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--socket", type=Path, required=True)
    parser.add_argument("--answer", type=Path, required=True, help="file of a serialised PredictResponse")
    given = parser.parse_args()
    uvloop.run(main(given.socket, pb.PredictResponse.FromString(given.answer.read_bytes())))
