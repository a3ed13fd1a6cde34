"""Checks the README's first five minutes: `make up`, one prediction over REST and one over gRPC, `make down`."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FLIGHT = {
    "carrier": "UA",
    "origin": "EWR",
    "dest": "ORD",
    "tailnum": "N27724",
    "scheduled_departure": "2013-12-30T16:51:00-05:00",
    "distance_miles": 719,
}


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def make(*words: str) -> float:
    """Runs make, whose output goes to ours, and answers how many seconds it took."""
    start = time.monotonic()
    subprocess.run(["make", "--no-print-directory", *words], cwd=ROOT, check=True)
    return time.monotonic() - start


def over_rest(port: int, verb: str) -> dict[str, object]:
    """The mesh's answer for the flight, over REST."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/models/flight-delay:{verb}",
        data=json.dumps({"instances": [FLIGHT]}).encode(),
        headers={"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        return dict(json.load(answer))


def over_grpc(port: int) -> float:
    """The mesh's probability for the flight, over gRPC by the command line."""
    words = ["predict", "flight-delay", "--grpc", "--json", *(f"{key}={value}" for key, value in FLIGHT.items())]
    done = subprocess.run(
        [str(ROOT / ".venv/bin/predmesh"), *words], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return float(json.loads(done.stdout)["predictions"][0]["late_probability"])


def main() -> int:
    """Prints what it saw and how long it took; answers 1 when the two faces differ."""
    port = int(os.environ.get("PORT", 0)) or free_port()
    try:
        first = make("up", f"PORT={port}")
        rest = over_rest(port, "predict")["predictions"]
        explained = over_rest(port, "explain")["explanations"]
        grpc = over_grpc(port)
        again = make("up", f"PORT={port}")
    finally:
        down = make("down")
    probability = float(rest[0]["late_probability"])  # type: ignore[index]
    print(f"REST {probability}  gRPC {grpc}  largest attribution {explained[0]['attributions'][0]}")  # type: ignore[index]
    print(f"make up {first:.1f} s, again {again:.1f} s, make down {down:.1f} s")
    return 0 if 0 < probability < 1 and abs(probability - grpc) < 1e-9 else 1


if __name__ == "__main__":
    sys.exit(main())
