"""Callers that predict without a pause while a test does something to their mesh."""

from __future__ import annotations

import threading

import httpx

from predmesh_testing.running import FLIGHT, RunningMesh

_LATE = "ERROR_REASON_DEADLINE"


class Traffic:
    """Predicts flights over REST, on a few connections, for the block; keeps what went wrong.

    Attributes:
        answers: how many there were.
        failures: the texts of those that were no success, or degraded; not of the late ones, for a machine that runs
            tests may be slower than the bundle's budget.
    """

    def __init__(self, mesh: RunningMesh, callers: int = 4) -> None:
        self.answers = 0
        self.failures: list[str] = []
        self._url = f"http://{mesh.address}/v1/models/flight-delay:predict"
        self._stop = threading.Event()
        self._first = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(callers)]

    def __enter__(self) -> Traffic:
        for thread in self._threads:
            thread.start()
        assert self._first.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        with httpx.Client(timeout=10) as client:
            while not self._stop.is_set():
                answer = client.post(self._url, json={"instances": [FLIGHT]})
                self.answers += 1
                self._first.set()
                good = answer.status_code == 200 and "degraded" not in answer.json()
                if not good and _LATE not in answer.text:
                    self.failures.append(answer.text)
