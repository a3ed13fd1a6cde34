"""Feast's own feature server on a free port, to measure ours against."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil

from predmesh_testing.feast import FeastError
from predmesh_testing.running import free_port


@contextlib.contextmanager
def serving_feast(repo: Path, redis_address: str) -> Iterator[tuple[str, psutil.Process]]:
    """Feast's own feature server over HTTP for the block: its address, and its process, the parent of its workers."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "predmesh_testing.feast", str(repo), redis_address, str(port)]
        environment = {**os.environ, "FEAST_USAGE": "False", "PYTHONWARNINGS": "ignore"}
        with (
            (Path(folder) / "log").open("wb") as log,
            subprocess.Popen(command, env=environment, stderr=log) as process,
        ):
            try:
                _wait_for(f"http://127.0.0.1:{port}/health", process)
                yield f"http://127.0.0.1:{port}", psutil.Process(process.pid)
            finally:
                process.terminate()
                process.wait(20)


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        if process.poll() is not None:
            raise FeastError("the feature server ended")
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=1):  # noqa: S310
            return
        time.sleep(0.1)
    raise FeastError("the feature server did not come up")
