"""Triton as a process: its command line as a pure function, and the small parent that ends all of it.

``python -m predmesh_inference.tritonserver --repository … --address …`` is what a supervisor runs. The parent stays
because Triton alone can outlive SIGTERM, leave stubs behind, and leak shared memory when it is killed.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from predmesh_inference.install import find_libpython
from predmesh_inference.installation import Installation, find
from predmesh_inference.stubs import find_stubs

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where Triton's stubs keep their regions
PR_SET_PDEATHSIG = 1
DEAF_SECONDS = 3
"""Time after which a Triton that should have ended is killed: a load that hangs makes it deaf to SIGTERM."""


@dataclass(frozen=True, kw_only=True)
class TritonSettings:
    """What one Triton process needs to know."""

    repository: Path
    """Folder of models, written by the inference service."""
    address: str
    """Where it listens for gRPC: ``unix:<path>:1`` or ``127.0.0.1:<port>``."""
    metrics_address: str = ""
    """Where it serves Prometheus metrics, ``127.0.0.1:<port>``; empty is nowhere."""
    shm_prefix: str = "predmesh-"
    """How the names of its shared-memory regions begin; no two Tritons of a machine may share it."""
    exit_seconds: int = 10
    """Time for Triton to answer what it has begun, once it is asked to end."""


def socket_address(path: Path) -> str:
    """The address of a Triton that listens on the unix socket *path*.

    Triton joins address and port by a colon, so the socket's file is called ``<path>:1``.
    """
    return f"unix:{path}:1"


def socket_file(address: str) -> Path | None:
    """The file of a unix address; None for TCP."""
    return Path(address.removeprefix("unix:")) if address.startswith("unix:") else None


def words(settings: TritonSettings) -> list[str]:
    """The command for a supervisor: Triton with its parent."""
    return [
        *(sys.executable, "-m", "predmesh_inference.tritonserver"),
        *("--repository", str(settings.repository), "--address", settings.address),
        *("--metrics-address", settings.metrics_address, "--shm-prefix", settings.shm_prefix),
        *("--exit-seconds", str(settings.exit_seconds)),
    ]


def command(triton: Installation, settings: TritonSettings) -> list[str]:
    """The command line of ``tritonserver`` itself."""
    host, _, port = settings.address.rpartition(":")
    return [
        str(triton.binary),
        f"--model-repository={settings.repository}",
        f"--backend-directory={triton.backends}",
        f"--cache-directory={triton.caches}",
        # Predictions reach Triton by gRPC alone, on a private address.
        "--allow-http=false",
        f"--grpc-address={host}",
        f"--grpc-port={port}",
        *_metrics(settings),
        "--model-control-mode=explicit",
        "--disable-auto-complete-config",
        # With strict readiness one failed load would make the whole server not ready.
        "--strict-readiness=false",
        f"--exit-timeout-secs={settings.exit_seconds}",
        f"--backend-config=python,shm-region-prefix-name={settings.shm_prefix}",
    ]


def _metrics(settings: TritonSettings) -> list[str]:
    if not settings.metrics_address:
        return ["--allow-metrics=false"]
    host, _, port = settings.metrics_address.rpartition(":")
    return [f"--metrics-address={host}", f"--metrics-port={port}", "--allow-gpu-metrics=false"]


def environment(triton: Installation, base: Mapping[str, str], libpython: Path | None) -> dict[str, str]:
    """The environment of ``tritonserver``: its stubs run the first python3 on PATH and need libpython."""
    # PYTHONPATH and a virtual environment of the caller's would reach into the models' Python.
    kept = {key: value for key, value in base.items() if key not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}
    if triton.python is not None:
        kept["PATH"] = f"{triton.python / 'bin'}:{base.get('PATH', '')}"
    if libpython is not None:
        kept["LD_LIBRARY_PATH"] = ":".join(filter(None, (str(libpython), base.get("LD_LIBRARY_PATH"))))
    return kept


def sweep(shm_prefix: str) -> None:
    """End the stubs and remove the shared memory that a Triton of this prefix left; only once it has ended itself."""
    for stub in find_stubs():
        if stub.region.startswith(shm_prefix):
            stub.kill()
    for region in SHARED_MEMORY.glob(f"{shm_prefix}*"):
        region.unlink(missing_ok=True)


def run(settings: TritonSettings) -> int:
    """Run Triton until it ends or SIGTERM comes; leaves neither process, socket nor shared memory."""
    settings.repository.mkdir(parents=True, exist_ok=True)
    triton = find()
    _clear(settings)
    process = subprocess.Popen(
        command(triton, settings),
        env=environment(triton, os.environ, find_libpython()),
        cwd=settings.repository,
        preexec_fn=_end_with_parent,
    )
    try:
        return _wait(process, settings.exit_seconds + DEAF_SECONDS)
    finally:
        process.kill()
        process.wait()
        _clear(settings)


def _end_with_parent() -> None:
    """Have the kernel kill this process when its parent dies, whatever killed that."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _wait(process: subprocess.Popen[bytes], patience_seconds: int) -> int:
    def end(_signal: int, _frame: FrameType | None) -> None:
        process.terminate()
        signal.alarm(patience_seconds)

    def give_up(_signal: int, _frame: FrameType | None) -> None:
        raise TimeoutError

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    signal.signal(signal.SIGALRM, give_up)
    try:
        return process.wait()
    except TimeoutError:
        return 1


def _clear(settings: TritonSettings) -> None:
    sweep(settings.shm_prefix)
    socket = socket_file(settings.address)
    if socket is not None:
        socket.parent.mkdir(parents=True, exist_ok=True)
        socket.unlink(missing_ok=True)


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m predmesh_inference.tritonserver", description=__doc__)
    parser.add_argument("--repository", type=Path, required=True)
    parser.add_argument("--address", required=True)
    parser.add_argument("--metrics-address", default="")
    parser.add_argument("--shm-prefix", default="predmesh-")
    parser.add_argument("--exit-seconds", type=int, default=10)
    try:
        code = run(TritonSettings(**vars(parser.parse_args())))
    except FileNotFoundError as error:
        raise SystemExit(str(error)) from None
    raise SystemExit(code)


if __name__ == "__main__":
    main()
