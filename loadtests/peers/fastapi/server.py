"""FastAPI and the Feast SDK: `uvicorn loadtests.peers.fastapi.server:app`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
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


class Instances(BaseModel):
    """A request."""

    instances: list[Flight]


class Predictions(BaseModel):
    """An answer, in the order of the request."""

    predictions: list[float]


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Loads once a worker."""
    app.state.flight_delay = FlightDelay.from_environment()
    yield


app = FastAPI(lifespan=lifespan)


@app.post("/predict")
def predict(body: Instances, request: Request) -> Predictions:
    """Not async, so that FastAPI runs it in its thread pool: the Feast SDK blocks."""
    rows = [flight.model_dump() for flight in body.instances]
    return Predictions(predictions=request.app.state.flight_delay.predict(rows))
