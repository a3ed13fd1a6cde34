"""Memory of a mesh's processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil


def resident(home: str) -> dict[str, int]:
    """Resident bytes of gateway and prediction of the mesh in *home*, by program."""
    command = [str(Path(sys.executable).parent / "predmesh"), "status", "--json"]
    ran = subprocess.run(command, env=os.environ | {"PREDMESH_HOME": home}, capture_output=True, text=True)
    programs = json.loads(ran.stdout)["programs"]
    watched = [each for each in programs if each["name"].partition(".")[0] in ("prediction", "envoy")]
    return {each["name"]: psutil.Process(each["pid"]).memory_info().rss for each in watched}
