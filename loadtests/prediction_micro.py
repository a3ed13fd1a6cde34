"""What a row costs in the prediction service alone, as ratios to bare JSON: validating it, and encoding its answer.

    .venv/bin/python loadtests/prediction_micro.py

No network, no other service. Absolute times depend on the machine; the ratios hardly do.
"""

from __future__ import annotations

import argparse
import json
import timeit
from collections.abc import Callable
from time import process_time
from typing import Any

import numpy as np
import orjson
from google.protobuf import json_format
from predmesh.prediction.v1 import prediction_service_pb2 as pb
from predmesh_bundle.schema import Bundle
from predmesh_frame import Column, DataType, Frame
from predmesh_frame.wire import frame_from_proto, frame_to_proto
from predmesh_prediction.answer_json import answer_document
from predmesh_prediction.answer_protos import answer_proto
from predmesh_prediction.answers import Answer
from predmesh_prediction.batching import Part
from predmesh_prediction.bodies import read_object
from predmesh_prediction.graph import Travelled
from predmesh_prediction.structs import to_plain
from predmesh_prediction.validation import Validator

FLIGHT: dict[str, Any] = {
    "carrier": "AA",
    "origin": "JFK",
    "dest": "LAX",
    "tailnum": "N338AA",
    "scheduled_departure": "2013-12-31T18:30:00-05:00",
    "distance_miles": 2475.0,
}
BUNDLE = Bundle.model_validate(
    {
        "name": "flight-delay",
        "version": "1",
        "owner": "load test",
        "description": "The shape of the flights model",
        "inputs": [
            {"name": "carrier", "type": "string", "categories": ["AA", "DL", "UA"], "example": "AA"},
            {"name": "origin", "type": "string", "categories": ["EWR", "JFK", "LGA"], "example": "JFK"},
            {"name": "dest", "type": "string", "example": "LAX"},
            {"name": "tailnum", "type": "string", "required": False, "example": "N338AA"},
            {"name": "scheduled_departure", "type": "timestamp", "example": "2013-12-31T18:30:00-05:00"},
            {"name": "distance_miles", "type": "double", "minimum": 0, "maximum": 10000, "example": 2475.0},
        ],
        "inference": {
            "framework": "xgboost",
            "file": "model.json",
            "inputs": [{"name": "x", "datatype": "FP32", "shape": [1]}],
            "outputs": [{"name": "p", "datatype": "FP32"}],
        },
        "outputs": [{"name": "late_probability", "type": "double", "tensor": "p"}],
    }
)


def microseconds_per_row(work: Callable[[], object], rows: int, seconds: float) -> float:
    """CPU time of the best of five runs of *work*, each of about *seconds* / 5."""
    once = max(timeit.timeit(work, number=3) / 3, 1e-7)
    number = max(1, int(seconds / 5 / once))
    return min(timeit.repeat(work, timer=process_time, number=number, repeat=5)) / number / rows * 1e6


def reading(rows: int) -> dict[str, Callable[[], object]]:
    """The ways in, the bare parser first."""
    validator = Validator(BUNDLE)
    body = orjson.dumps({"instances": [FLIGHT] * rows})
    request = pb.PredictRequest(model="flight-delay")
    for _ in range(rows):
        request.instances.add().update(FLIGHT)
    message = request.SerializeToString()
    columns = frame_to_proto(validator.of_instances([FLIGHT] * rows)).SerializeToString()
    return {
        "json.loads alone": lambda: json.loads(body),
        "orjson.loads alone": lambda: orjson.loads(body),
        "REST body to checked frame": lambda: validator.of_instances(
            read_object(body, ("instances", "columns"), "m")["instances"]
        ),
        "Struct message to checked frame": lambda: validator.of_instances(
            [to_plain(each) for each in pb.PredictRequest.FromString(message).instances]
        ),
        "columns message to checked frame": lambda: validator.of_columns(
            frame_from_proto(type(request.columns).FromString(columns))
        ),
    }


def answering(rows: int) -> dict[str, Callable[[], object]]:
    """The ways out, json_format's first."""
    chance = Column(DataType.DOUBLE, np.linspace(0, 1, rows))
    batch = Travelled(rows, Frame.of({"late_probability": chance}), seconds={"inference": 0.001})

    def answer() -> Answer:
        # A cached list of records would hide its cost.
        batch.__dict__.pop("records", None)
        return Answer(BUNDLE, "flight-delay-1-000000000000", "r" * 36, [Part(batch, 0, rows, 0.0001)], rows)

    def bare() -> object:
        return json_format.MessageToDict(answer_proto(answer(), columns=False))

    return {
        "json_format.MessageToDict": bare,
        "answer to REST document": lambda: orjson.dumps(answer_document(answer(), columns=False)),
        "answer to Struct message": lambda: answer_proto(answer(), columns=False).SerializeToString(),
        "answer to columns message": lambda: answer_proto(answer(), columns=True, packed=True).SerializeToString(),
    }


def main() -> None:
    """Print one table a batch size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=0.3, help="time spent on each line")
    seconds = parser.parse_args().seconds
    for rows in (1, 64, 1000):
        print(f"\n{rows} rows a request{'':<16}  µs/row   ratio")
        for group in (reading(rows), answering(rows)):
            base = 0.0
            for name, work in group.items():
                took = microseconds_per_row(work, rows, seconds)
                base = base or took
                print(f"  {name:<34}{took:8.2f}{took / base:8.2f}")


if __name__ == "__main__":
    main()
