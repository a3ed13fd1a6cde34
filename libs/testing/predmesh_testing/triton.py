"""A real Triton for tests: its own folder, socket and shared-memory prefix, ended with the test that started it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from predmesh_inference.installation import find
from predmesh_inference.tritonserver import TritonSettings, socket_address, sweep, words
from tritonclient.grpc import service_pb2, service_pb2_grpc

READY_SECONDS = 20


def has_triton() -> bool:
    """Whether a Triton is installed here."""
    try:
        find()
    except FileNotFoundError:
        return False
    return True


needs_triton = pytest.mark.skipif(
    not has_triton() and os.environ.get("CI") != "true",
    reason="missing here: tritonserver (python -m predmesh_inference.install)",
)
"""Skips where Triton is not installed; with ``CI=true`` the test runs, and fails, instead."""


@dataclass(frozen=True)
class RunningTriton:
    """One Triton and its parent."""

    settings: TritonSettings
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def address(self) -> str:
        """Where it answers gRPC."""
        return self.settings.address

    @property
    def repository(self) -> Path:
        """Folder of its models."""
        return self.settings.repository

    def kill(self) -> None:
        """End the server as a crash would: no drain, no cleaning."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(READY_SECONDS)

    def stop(self) -> None:
        """End it in good order, and leave nothing behind."""
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(READY_SECONDS)
        self.kill()
        sweep(self.settings.shm_prefix)


def start_triton(settings: TritonSettings, log: Path, *, overrides: Mapping[str, str] | None = None) -> RunningTriton:
    """Start a Triton, the first one or one that follows a dead one, and wait until it answers.

    Raises:
        RuntimeError: it did not; the message holds the end of its log.
    """
    with log.open("ab") as output:
        process = subprocess.Popen(
            words(settings), env={**os.environ, **(overrides or {})}, stdout=output, stderr=subprocess.STDOUT
        )
    running = RunningTriton(settings, process, log)
    if not _answers(running):
        running.stop()
        raise RuntimeError(f"Triton did not start: {log.read_text()[-2000:]}")
    return running


def _answers(running: RunningTriton) -> bool:
    end = time.monotonic() + READY_SECONDS
    while time.monotonic() < end and running.process.poll() is None:
        with grpc.insecure_channel(running.address) as channel, contextlib.suppress(grpc.RpcError):
            service_pb2_grpc.GRPCInferenceServiceStub(channel).ServerLive(
                service_pb2.ServerLiveRequest(), timeout=1, wait_for_ready=True
            )
            return True
    return False


@contextlib.contextmanager
def triton_of_its_own(*, overrides: Mapping[str, str] | None = None) -> Iterator[RunningTriton]:
    """A Triton in a folder that nothing else knows; both are gone at the end."""
    # Not pytest's folder: its path can be too long for a unix socket.
    with tempfile.TemporaryDirectory(prefix="predmesh-") as folder:
        home = Path(folder)
        settings = TritonSettings(
            repository=home / "models",
            address=socket_address(home / "triton.sock"),
            shm_prefix=f"predmesh-test-{uuid.uuid4().hex[:8]}-",
            exit_seconds=2,
        )
        running = start_triton(settings, home / "triton.log", overrides=overrides)
        try:
            yield running
        finally:
            running.stop()


@pytest.fixture(scope="session")
def triton() -> Iterator[RunningTriton]:
    """One Triton for the whole run; tests use models of their own names."""
    with triton_of_its_own() as running:
        yield running
