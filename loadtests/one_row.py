"""Measures one-row flight predictions of a running mesh, closed loop, over REST (vegeta) and gRPC (ghz).

Every request carries another flight; an answer other than 200/OK counts as failed and fails the run. The gateway's own
answer (`/healthz`, no prediction behind it) is measured at the same concurrency in the same run, as a scale.
"""

from __future__ import annotations

import argparse
import base64
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CARRIERS, ORIGINS, DESTINATIONS = ("UA", "AA", "DL", "B6", "EV"), ("EWR", "JFK", "LGA"), ("ORD", "ATL", "LAX", "BOS")


@dataclass(frozen=True)
class Run:
    """One closed-loop run."""

    face: str
    concurrency: int
    requests: int
    failed: int
    per_second: float
    p50_ms: float
    p95_ms: float
    p99_ms: float


def flights(count: int) -> Iterator[dict[str, object]]:
    """*count* different flights."""
    start = datetime(2013, 12, 31, 6, tzinfo=UTC)
    places = list(product(CARRIERS, ORIGINS, DESTINATIONS))
    for number in range(count):
        carrier, origin, dest = places[number % len(places)]
        departure = (start + timedelta(minutes=number % 1200)).isoformat()
        yield {
            "carrier": carrier,
            "origin": origin,
            "dest": dest,
            "scheduled_departure": departure,
            "distance_miles": 200.0 + number % 2000,
        }


def tool(name: str) -> str:
    """Path of an installed load generator."""
    found = sorted((ROOT / ".tools").glob(f"{name}-*/{name}"))
    if not found:
        raise SystemExit(f"{name} is not installed: run `make dev` (it needs Go)")
    return str(found[-1])


def vegeta(face: str, targets: Path, concurrency: int, seconds: int) -> Run:
    """Sends the targets in turn, *concurrency* at a time."""
    attack = f"attack -format=json -rate=0 -max-workers={concurrency} -workers={concurrency} -duration={seconds}s"
    sent = subprocess.run([tool("vegeta"), *attack.split(), f"-targets={targets}"], check=True, capture_output=True)
    made = subprocess.run([tool("vegeta"), "report", "-type=json"], input=sent.stdout, check=True, capture_output=True)
    report = json.loads(made.stdout)
    failed = report["requests"] - report["status_codes"].get("200", 0)
    latency = {name: report["latencies"][name] / 1e6 for name in ("50th", "95th", "99th")}
    return Run(face, concurrency, report["requests"], failed, report["throughput"], *latency.values())


def ghz(address: str, data: Path, concurrency: int, seconds: int) -> Run:
    """Calls PredictionService/Predict with the requests in turn, *concurrency* at a time."""
    words = f"--insecure --call predmesh.prediction.v1.PredictionService/Predict -c {concurrency} -z {seconds}s"
    connections = min(concurrency, 8)
    words += f" --connections {connections} --duration-stop wait --format json -D {data} {address}"
    done = subprocess.run([tool("ghz"), *words.split()], check=True, capture_output=True)
    report = json.loads(done.stdout)
    failed = report["count"] - report["statusCodeDistribution"].get("OK", 0)
    latency = {item["percentage"]: item["latency"] / 1e6 for item in report["latencyDistribution"]}
    return Run("gRPC", concurrency, report["count"], failed, report["rps"], latency[50], latency[95], latency[99])


def targets(url: str, method: str, bodies: list[str]) -> str:
    """Vegeta's JSON targets, one a line."""
    header = {"content-type": ["application/json"]}
    lines = (
        {"method": method, "url": url, "header": header, "body": base64.b64encode(body.encode()).decode()}
        for body in bodies
    )
    return "\n".join(map(json.dumps, lines)) + "\n"


def measure(port: int, seconds: int, concurrencies: list[int]) -> list[Run]:
    """All runs, the faces in turn at each concurrency."""
    address, rows = f"127.0.0.1:{port}", list(flights(2000))
    with tempfile.TemporaryDirectory() as folder:
        rest, health, grpc = (Path(folder) / name for name in ("rest", "health", "grpc.json"))
        url = f"http://{address}/v1/models/flight-delay:predict"
        rest.write_text(targets(url, "POST", [json.dumps({"instances": [row]}) for row in rows]))
        health.write_text(targets(f"http://{address}/healthz", "GET", [""]))
        grpc.write_text(json.dumps([{"model": "flight-delay", "instances": [row]} for row in rows]))
        vegeta("warm-up", rest, 16, 3)
        runs = []
        for concurrency in concurrencies:
            runs.append(vegeta("gateway alone", health, concurrency, max(2, seconds // 3)))
            runs.append(vegeta("REST", rest, concurrency, seconds))
            runs.append(ghz(address, grpc, concurrency, seconds))
    return runs


def table(runs: list[Run]) -> str:
    """The runs as a Markdown table."""
    head = "| face | c | requests/s | p50 ms | p95 ms | p99 ms | failed |\n|---|---|---|---|---|---|---|"
    rows = (
        f"| {run.face} | {run.concurrency} | {run.per_second:,.0f} | {run.p50_ms:.2f} | {run.p95_ms:.2f} "
        f"| {run.p99_ms:.2f} | {run.failed} of {run.requests:,} |"
        for run in runs
    )
    return "\n".join((head, *rows))


def main() -> int:
    """Prints the table, writes JSON when asked, and answers 1 when a request failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--seconds", type=int, default=10, help="length of each run")
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--json", type=Path, help="file to write the runs to")
    options = parser.parse_args()
    runs = measure(options.port, options.seconds, options.concurrency)
    print(table(runs))
    if options.json:
        options.json.write_text(json.dumps([asdict(run) for run in runs], indent=2) + "\n")
    return 1 if any(run.failed for run in runs) else 0


if __name__ == "__main__":
    sys.exit(main())
