"""Calls the running mesh once over REST (curl) and once by grpcurl, and prints the commands, ready to paste."""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys

from smoke import FLIGHT
from tools import CATALOGUE


def show(words: list[str]) -> int:
    """Prints and runs one command."""
    print(f"\n$ {shlex.join(words)}")
    return subprocess.run(words, check=False).returncode


def main() -> int:
    """Runs both; the one whose program is missing is skipped with its name."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8080)
    port = parser.parse_args().port
    body = json.dumps({"instances": [FLIGHT]})
    status = show(
        [
            "curl",
            "-sS",
            f"http://127.0.0.1:{port}/v1/models/flight-delay:predict",
            "-H",
            "content-type: application/json",
            "-d",
            body,
        ]
    )
    grpcurl = CATALOGUE["grpcurl"].binary
    if not grpcurl.exists():
        print("grpcurl is not installed; it needs Go")
        return status
    message = json.dumps({"model": "flight-delay", "instances": [FLIGHT]})
    return status or show(
        [
            str(grpcurl),
            "-plaintext",
            "-d",
            message,
            f"127.0.0.1:{port}",
            "predmesh.prediction.v1.PredictionService/Predict",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
