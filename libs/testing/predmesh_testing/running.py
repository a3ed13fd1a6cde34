"""A real mesh of its own home and port, driven as a user drives it: by the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from predmesh_rpc.addresses import free_ports

ROOT = Path(__file__).resolve().parents[3]
FLIGHT: dict[str, Any] = {
    "carrier": "UA",
    "origin": "EWR",
    "dest": "ORD",
    "tailnum": "N27724",
    "scheduled_departure": "2013-12-30T16:51:00-05:00",
    "distance_miles": 719.0,
}
"""A real flight of the example."""


@dataclass(frozen=True)
class RunningMesh:
    """A mesh of its own home and port."""

    home: Path
    port: int
    cors_origin: str = ""
    """Whose pages may call, e.g. `http://127.0.0.1:9000`."""

    @property
    def address(self) -> str:
        """Host and port of the gateway."""
        return f"127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to find this mesh."""
        chosen = {"PREDMESH_HOME": str(self.home), "GATEWAY_CORS_ORIGINS": self.cors_origin}
        return os.environ | {name: value for name, value in chosen.items() if value}

    def predmesh(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs the command line against this mesh."""
        command = [str(Path(sys.executable).parent / "predmesh"), *words]
        return subprocess.run(command, env=self.environment, cwd=ROOT, text=True, capture_output=True, check=check)

    def python(self, *words: str) -> None:
        """Runs a script of the repository against this mesh."""
        subprocess.run([sys.executable, *words], env=self.environment, cwd=ROOT, check=True)

    def post(self, path: str, body: Any) -> httpx.Response:
        """Posts a JSON document, or bytes as they are."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"content-type": "application/json"}
        return httpx.post(f"http://{self.address}{path}", content=content, headers=headers, timeout=20)

    def status(self) -> dict[str, Any]:
        """What `predmesh status --json` says."""
        return dict(json.loads(self.predmesh("status", "--json", check=False).stdout))


def free_port() -> int:
    """A port that nothing listens on now."""
    [port] = free_ports(1)
    return port
