"""Measures one-row flight predictions of a running mesh, closed loop, over REST (vegeta) and gRPC (ghz).

Every request carries another flight; an answer other than 200/OK counts as failed and fails the run. The gateway's own
answer (`/healthz`, no prediction behind it) is measured at the same concurrency in the same run, as a scale.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from loadtests.bench.flights import MODEL, grpc_message, requests, rest_body
from loadtests.bench.generators import ghz, ghz_config, vegeta, write_messages, write_targets
from loadtests.bench.runs import Load, Run, table


def measure(port: int, seconds: int, concurrencies: list[int]) -> list[Run]:
    """All runs, the faces in turn at each concurrency."""
    address, asked = f"127.0.0.1:{port}", requests(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rest = write_targets(
            folder / "rest", f"http://{address}/v1/models/{MODEL}:predict", [rest_body(rows) for rows in asked]
        )
        health = write_targets(folder / "health", f"http://{address}/healthz")
        messages = write_messages(folder / "grpc.json", [grpc_message(rows) for rows in asked])
        vegeta("warm-up", rest, Load(concurrency=16, seconds=3))
        runs = []
        for concurrency in concurrencies:
            load = Load(concurrency=concurrency, seconds=seconds)
            runs.append(vegeta("gateway alone", health, Load(concurrency=concurrency, seconds=max(2, seconds // 3))))
            runs.append(vegeta("REST", rest, load))
            runs.append(ghz("gRPC", ghz_config(load, messages, host=address), load))
    return runs


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
