"""BentoML with adaptive batching: `bentoml serve loadtests.peers.bentoml.server:FlightDelayService`."""

# mypy: disable-error-code="import-not-found,untyped-decorator"

import os

import bentoml
from pydantic import BaseModel

from loadtests.peers.shared.flight_delay import FlightDelay


class Flight(BaseModel):
    """One row."""

    carrier: str
    origin: str
    dest: str
    tailnum: str | None = None
    scheduled_departure: str
    distance_miles: float


@bentoml.service(
    workers=int(os.environ["PEER_WORKERS"]),
    traffic={"timeout": 10},
    logging={"access": {"enabled": False}},
)
class FlightDelayService:
    """Predicts flights."""

    def __init__(self) -> None:
        self._flight_delay = FlightDelay.from_environment()

    @bentoml.api(batchable=True, max_batch_size=512, max_latency_ms=int(os.environ["PEER_MAX_LATENCY_MS"]))
    def predict(self, instances: list[Flight]) -> list[float]:
        """The rows of several requests at once."""
        return self._flight_delay.predict([flight.model_dump() for flight in instances])
