import asyncio
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from loadtests.gpu.watching import Batches, Watched, batches, busiest, watching

METRICS = """
# TYPE predmesh_prediction_batches_in_flight gauge
predmesh_prediction_batches_in_flight{batches="residual-1"} 3
# TYPE predmesh_prediction_batch_rows histogram
predmesh_prediction_batch_rows_bucket{batches="residual-1",le="+Inf"} 4
predmesh_prediction_batch_rows_count{batches="residual-1"} 4
predmesh_prediction_batch_rows_sum{batches="residual-1"} 120
"""


class Metrics(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(METRICS.encode())

    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture
def metrics() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Metrics) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def smi(folder: Path, *lines: str) -> Path:
    """A program called nvidia-smi that says *lines* and then its pid, into the pipe, and stays until it is ended."""
    pipe = folder / "told"
    os.mkfifo(pipe)
    program = folder / "nvidia-smi"
    echoes = "".join(f"echo '{line}'\n" for line in lines)
    program.write_text(f"#!/bin/sh\n{echoes}echo $$ > {pipe}\nexec sleep 300\n")
    program.chmod(0o755)
    return pipe


def test_prometheus_text_tells_of_batches():
    assert batches(METRICS) == Batches(in_flight=3, left=4, rows=120)


def test_rows_a_batch_are_those_of_the_run():
    watched = Watched([Batches(1, 10, 50), Batches(4, 12, 100), Batches(2, 20, 350)])
    assert (watched.rows_per_batch, watched.most_in_flight) == (30, 4)


@pytest.mark.parametrize(
    ("lines", "percentage"),
    [
        (["0, 90", "0, 97", "0, 10"], 90),
        (["0, 0", "1, 85", "0, 3", "1, 95"], 90),
        (["0, [N/A]", ""], None),
        ([], None),
    ],
    ids=["median", "busiest", "not told", "no GPU"],
)
def test_utilisation_is_the_median_of_the_busiest_gpu(lines: list[str], percentage: float | None):
    assert busiest(lines) == percentage


async def test_nvidia_smi_is_read_while_the_block_runs_and_ended_with_it(
    metrics: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    told = smi(tmp_path, "0, 88", "0, 92")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    async with watching(metrics, gpu=True) as watched:
        pid = int(await asyncio.to_thread(told.read_text))
    assert watched.utilisation == 90
    assert len(watched.batches) >= 2
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_metrics_that_do_not_answer_are_no_silence():
    with pytest.raises(ConnectionRefusedError):
        async with watching("127.0.0.1:1", gpu=False):
            pass
