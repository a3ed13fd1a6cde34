"""What a call to Triton costs its caller, by client: `python -m loadtests.triton_hop`.

A real Triton runs a model that adds the 38 columns of each row. Each client has a process, and is asked by turns, so
that a busy machine slows all; ratios are of the same round. Every answer is checked.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import enum
import itertools
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import uvloop
from predmesh_bundle.schema import Inference, TensorSpec
from predmesh_inference.domain import Model
from predmesh_inference.oip import to_request
from predmesh_inference.probes import synthetic
from predmesh_inference.repository import Repository
from predmesh_inference.triton_server import TritonLimits, TritonServer
from predmesh_rpc import context
from predmesh_rpc.channels import H2_SCHEME, connect
from predmesh_rpc.service import settle
from predmesh_testing.triton import RunningTriton, triton_of_its_own
from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceStub

from loadtests.bench.figures import ratio
from loadtests.bench.options import end_cleanly, say
from loadtests.bench.usage import Machine
from loadtests.hops import CALL_SECONDS, server_cpu_seconds

COLUMNS = 38
DISTINCT = 16
"""Different requests, so that an answer given to another caller shows."""
MODEL = "sum-1"
CODE = """
class Model:
    def __init__(self, folder):
        pass

    def infer(self, tensors):
        return {"sum": tensors["x"].sum(axis=1, keepdims=True)}
"""


class Client(enum.StrEnum):
    """Who calls."""

    LEAN = "h2_channel"
    AIO = "grpc.aio"


@dataclass(frozen=True, slots=True)
class Load:
    """How calls are made, and what they carry."""

    rows: int
    callers: int
    pause_seconds: float = 0.0

    def __str__(self) -> str:
        """For people."""
        pace = f", {self.pause_seconds * 1e3:g} ms apart" if self.pause_seconds else ""
        return f"{self.rows} row{'s' if self.rows > 1 else ''}, c={self.callers}{pace}"


LOADS = tuple(
    Load(rows, callers, pause) for rows in (1, 32, 1024) for callers, pause in ((1, 0.003), (1, 0.0), (8, 0.0))
)


@dataclass(frozen=True, slots=True)
class Sample:
    """What one run came to; CPU is that of all threads, a call."""

    p50_us: float
    client_cpu_us: float
    server_cpu_us: float


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="runs of each client; %(default)s")
    parser.add_argument("--seconds", type=float, default=0.4, help="length of a run; %(default)s")
    asked = parser.parse_args()
    end_cleanly()
    samples: dict[Load, dict[Client, list[Sample]]] = {load: {client: [] for client in Client} for load in LOADS}
    spawn = multiprocessing.get_context("spawn")
    with contextlib.ExitStack() as stack:
        triton = stack.enter_context(triton_of_its_own())
        uvloop.run(loaded(triton, Path(stack.enter_context(tempfile.TemporaryDirectory()))))
        pids = [process.pid for process in psutil.Process(triton.process.pid).children(recursive=True)]
        processes = {client: stack.enter_context(ProcessPoolExecutor(1, spawn)) for client in Client}
        for turn, load in itertools.product(range(asked.rounds), LOADS):
            say(f"round {turn + 1} of {asked.rounds}: {load}")
            for client in (*Client,) if turn % 2 == 0 else (*reversed(Client),):
                work = processes[client].submit(called, client, triton.address, pids, load, asked.seconds)
                samples[load][client].append(work.result())
    print(f"{Machine.this()}; {asked.rounds} rounds of {asked.seconds:g} s\n")
    print("\n".join(table(samples)))


async def loaded(triton: RunningTriton, folder: Path) -> None:
    """Have the model on *triton*."""
    (folder / "model.py").write_text(CODE)
    inference = Inference(
        framework="python",
        file="model.py",
        inputs=(TensorSpec(name="x", datatype="FP32", shape=(COLUMNS,)),),
        outputs=(TensorSpec(name="sum", datatype="FP32", shape=(1,)),),
    )
    async with connect(triton.address) as channel:
        server = TritonServer(channel, triton.address, Repository(triton.repository), TritonLimits())
        await server.load(Model(MODEL, MODEL, folder, inference, "cpu", (synthetic(inference),), exact=False))


def address_for(client: Client, address: str) -> str:
    """*address* as `connect` has to see it for *client*."""
    return f"{H2_SCHEME}{address}" if client is Client.LEAN else address


def called(client: Client, address: str, pids: Sequence[int], load: Load, seconds: float) -> Sample:
    """One run, on a loop of its own.

    Raises:
        ValueError: an answer was another request's, or none.
    """
    alive = [pid for pid in pids if psutil.pid_exists(pid)]  # Triton's first process ends once it has started

    async def run() -> Sample:
        async with connect(address_for(client, address)) as channel:
            stub = GRPCInferenceServiceStub(channel)
            settle()
            await calls(stub, load, time.perf_counter() + seconds / 5)
            server, mine = sum(map(server_cpu_seconds, alive)), time.process_time()
            took = await calls(stub, load, time.perf_counter() + seconds)
            mine, server = time.process_time() - mine, sum(map(server_cpu_seconds, alive)) - server
        return Sample(statistics.median(took) * 1e6, mine / len(took) * 1e6, server / len(took) * 1e6)

    return uvloop.run(run())


async def calls(stub: Any, load: Load, end: float) -> list[float]:
    """Seconds that each call took, of those begun before *end*, a `perf_counter`; at least one a caller."""
    rows = [np.full((load.rows, COLUMNS), number, np.float32) for number in range(DISTINCT)]
    asked = [(to_request(MODEL, {"x": each}), each.sum(axis=1).tobytes()) for each in rows]
    took: list[float] = []

    async def caller(number: int) -> None:
        context.enter(context.Request(id=f"caller-{number}"))
        for turn in itertools.count(number):
            request, right = asked[turn % DISTINCT]
            began = time.perf_counter()
            answer = await stub.ModelInfer(request, timeout=CALL_SECONDS)
            took.append(time.perf_counter() - began)
            if answer.raw_output_contents[0] != right:
                raise ValueError("an answer is not that of its request")
            if load.pause_seconds:
                await asyncio.sleep(load.pause_seconds)
            if time.perf_counter() >= end:
                return

    async with asyncio.TaskGroup() as tasks:
        for number in range(load.callers):
            tasks.create_task(caller(number))
    return took


def table(samples: Mapping[Load, Mapping[Client, Sequence[Sample]]]) -> Iterator[str]:
    """A row a load; medians, and the ratio of the lean client to grpc.aio, round by round."""
    figures = {"p50 µs": "p50_us", "client's CPU µs": "client_cpu_us", "Triton's CPU µs": "server_cpu_us"}
    yield f"| load | {' | '.join(f'{head}: {Client.AIO} | {Client.LEAN} | ratio' for head in figures)} |"
    yield "|---" * (1 + 3 * len(figures)) + "|"
    for load, found in samples.items():
        cells = [str(load)]
        for name in figures.values():
            aio, lean = ([getattr(sample, name) for sample in found[client]] for client in (Client.AIO, Client.LEAN))
            cells += [
                f"{statistics.median(aio):,.0f}",
                f"{statistics.median(lean):,.0f}",
                ratio(lean, aio).shown(".2f"),
            ]
        yield f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
