"""A plain grpc.aio server and the Feast SDK: `python -m loadtests.peers.grpc_aio.server`."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
from typing import Any

import grpc
import grpc.aio

from loadtests.peers.shared.flight_delay import FlightDelay

PROTO = "loadtests/peers/grpc_aio/flight_delay.proto"
FIELDS = ("carrier", "origin", "dest", "tailnum", "scheduled_departure", "distance_miles")


async def serve(port: int) -> None:
    """Serves until it is ended."""
    messages, services = grpc.protos_and_services(PROTO)

    class Servicer(services.FlightDelayServicer):  # type: ignore[misc, name-defined]
        """Predicts flights."""

        def __init__(self) -> None:
            self._flight_delay = FlightDelay.from_environment()

        async def Predict(self, request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            """In a thread, because the Feast SDK blocks."""
            rows = [{name: getattr(flight, name) for name in FIELDS} for flight in request.instances]
            return messages.PredictResponse(predictions=await asyncio.to_thread(self._flight_delay.predict, rows))

    server = grpc.aio.server()
    services.add_FlightDelayServicer_to_server(Servicer(), server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


def worker(port: int) -> None:
    """One process; several share the port, as gRPC's multiprocessing example has it."""
    asyncio.run(serve(port))


def main() -> None:
    """Serves with as many processes as the environment says."""
    port = int(os.environ["PEER_PORT"])
    spawn = multiprocessing.get_context("spawn")
    workers = [spawn.Process(target=worker, args=(port,)) for _ in range(int(os.environ["PEER_WORKERS"]))]
    for each in workers:
        each.start()
    for each in workers:
        each.join()


if __name__ == "__main__":
    main()
