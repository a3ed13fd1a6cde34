"""What the tests ask of a generated Python client; runs where only that client is installed. Prints what came out."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

from predmesh.clients.flights import PredictionError, every_thing_v2, flight_delay_v1

MESH, SILENT, FLAKY = sys.argv[1:]
TRUSTED = Path(os.environ["TRUSTED"]).read_bytes() if "TRUSTED" in os.environ else None
FLIGHT = flight_delay_v1.Inputs(
    carrier="UA",
    origin="EWR",
    dest="ORD",
    tailnum="N27724",
    scheduled_departure=datetime.fromisoformat("2013-12-30T16:51:00-05:00"),
    distance_miles=719.0,
)
WRONG = flight_delay_v1.Inputs(
    carrier="UAA",
    origin="EWR",
    dest="ORD",
    scheduled_departure=FLIGHT.scheduled_departure,
    distance_miles=719.0,
)


def told(error: PredictionError) -> dict[str, Any]:
    violations = [{"field": each.field, "description": each.description} for each in error.violations]
    return {"code": error.code.name, "reason": error.reason, "violations": violations}


def streamed(each: flight_delay_v1.PredictResponse | PredictionError) -> Any:
    return told(each) if isinstance(each, PredictionError) else each.prediction.late_probability


def sync() -> dict[str, Any]:
    with flight_delay_v1.FlightDelayClient(MESH, timeout=20, root_certificates=TRUSTED) as client:
        answer = client.predict(
            carrier=FLIGHT.carrier,
            origin=FLIGHT.origin,
            dest=FLIGHT.dest,
            tailnum=FLIGHT.tailnum,
            scheduled_departure=FLIGHT.scheduled_departure,
            distance_miles=FLIGHT.distance_miles,
        )
        explained = client.explain(FLIGHT, top=2).explanation
        said = {
            "predict": answer.prediction.late_probability,
            "bundle": answer.provenance.bundle_id,
            "batch": [each.late_probability for each in client.predict_batch([FLIGHT, FLIGHT]).predictions],
            "stream": [streamed(each) for each in client.stream_predict([FLIGHT, WRONG, FLIGHT])],
            "explain": [each.feature for each in explained.attributions] if explained else [],
        }
        try:
            client.predict_batch([WRONG])
        except PredictionError as error:
            said["refused"] = told(error)
    with flight_delay_v1.FlightDelayClient(SILENT) as client:
        try:
            client.within(0.2).explain(FLIGHT)
        except PredictionError as error:
            said["late"] = told(error)
    with flight_delay_v1.FlightDelayClient(FLAKY, token=lambda: "secret", timeout=20) as client:
        said["retried"] = client.predict_batch([FLIGHT]).predictions == ()
    return said


async def rows() -> AsyncIterator[flight_delay_v1.Inputs]:
    for each in (FLIGHT, WRONG, FLIGHT):
        yield each


async def asynchronous() -> dict[str, Any]:
    async with flight_delay_v1.AsyncFlightDelayClient(MESH, timeout=20, root_certificates=TRUSTED) as client:
        explained = (await client.explain(FLIGHT, top=2)).explanation
        return {
            "batch": [each.late_probability for each in (await client.predict_batch([FLIGHT, FLIGHT])).predictions],
            "stream": [streamed(each) async for each in client.stream_predict(rows())],
            "explain": [each.feature for each in explained.attributions] if explained else [],
        }


if __name__ == "__main__":
    said = sync()
    again = asyncio.run(asynchronous())
    assert {name: said[name] for name in again} == again, again
    assert every_thing_v2.Carrier.CARRIER_9E == "9E"
    print(json.dumps(said))
