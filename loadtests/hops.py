"""What a hop between two processes of the mesh costs, by server, event loop and socket: `python -m loadtests.hops`.

Every way serves and calls preprocessing's own contract, in a process each, and is compared with the one that the mesh
takes. All ways are measured by turns, so that a busy machine slows all; ratios are of the same round.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import enum
import itertools
import json
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import uvloop
from predmesh.preprocessing.v1 import preprocessing_service_pb2 as pb
from predmesh.preprocessing.v1 import preprocessing_service_pb2_grpc as pb_grpc
from predmesh.type.v1 import frame_pb2, tensor_pb2
from predmesh_rpc import context
from predmesh_rpc.channels import H2_SCHEME, LONGEST_MESSAGE_BYTES, allowed, connect
from predmesh_rpc.h2_channel import H2Channel
from predmesh_rpc.h2_connection import Connection as H2Connection
from predmesh_rpc.peers import Peer
from predmesh_rpc.server import build
from predmesh_rpc.service import settle
from predmesh_rpc.settings import ServiceSettings
from predmesh_rpc.table import Limits

from loadtests.bench.figures import ratio
from loadtests.bench.options import RESULTS, end_cleanly, say
from loadtests.bench.usage import Machine
from loadtests.references import grpcio

CALL_SECONDS = 10.0
"""Deadline of every call: all ways carry one."""
DISTINCT = 64
"""Different requests, so that an answer given to another caller shows."""
_SPAWN = multiprocessing.get_context("spawn")


class Server(enum.StrEnum):
    """What answers."""

    OWN = "the mesh's own"
    AIO = "grpc.aio"
    BARE_AIO = "grpc.aio, bare"
    BARE_SYNC = "grpc, 2 threads, bare"


class Loop(enum.StrEnum):
    """What the client runs on, and the server where it has a loop."""

    UVLOOP = "uvloop"
    ASYNCIO = "asyncio"

    @property
    def runner(self) -> asyncio.Runner:
        """A new one."""
        return asyncio.Runner(loop_factory=uvloop.new_event_loop if self is Loop.UVLOOP else asyncio.new_event_loop)


class Socket(enum.StrEnum):
    """What lies between."""

    UNIX = "unix"
    TCP = "TCP"


@dataclass(frozen=True, slots=True)
class Way:
    """A way to call."""

    server: Server
    loop: Loop
    socket: Socket


WAYS = tuple(itertools.starmap(Way, itertools.product(Server, Loop, Socket)))
TAKEN = Way(Server.OWN, Loop.UVLOOP, Socket.UNIX)
"""The way that the mesh takes."""


@dataclass(frozen=True, slots=True)
class Load:
    """How calls are made, and what they carry."""

    name: str
    callers: int
    pause_seconds: float
    rows: int
    columns: int


LOADS = tuple(
    Load(f"{size}, {how}", callers, pause, rows, columns)
    for size, rows, columns in (("20 rows of 38", 20, 38), ("one value", 1, 1))
    for how, callers, pause in (("c=1, 3 ms apart", 1, 0.003), ("c=1", 1, 0.0), ("c=64", 64, 0.0))
)


@dataclass(frozen=True, slots=True)
class Sample:
    """What one run came to; CPU is that of all threads of a process, a call."""

    p50_us: float
    per_second: float
    server_cpu_us: float
    client_cpu_us: float

    @property
    def cpu_us(self) -> float:
        """CPU of both sides."""
        return self.server_cpu_us + self.client_cpu_us


Samples = dict[Load, dict[Way, list[Sample]]]


def main() -> None:
    """Prints a table a load, and writes every sample."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="runs of each way; %(default)s")
    parser.add_argument("--seconds", type=float, default=0.5, help="length of a run; %(default)s")
    parser.add_argument(
        "--own", action="store_true", help="the mesh's own server alone, to tell loops and sockets apart"
    )
    parser.add_argument("--quick", action="store_true", help="every way once, for a tenth of a second")
    asked = parser.parse_args()
    end_cleanly()
    rounds, seconds = (1, 0.1) if asked.quick else (asked.rounds, asked.seconds)
    ways = [way for way in WAYS if way.server is Server.OWN or not asked.own]
    samples: Samples = {load: {way: [] for way in ways} for load in LOADS}
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        servers = {way: stack.enter_context(started(way, folder / str(at))) for at, way in enumerate(ways)}
        clients = {loop: stack.enter_context(ProcessPoolExecutor(1, _SPAWN)) for loop in Loop}
        for turn in range(rounds):
            first = turn % len(ways)
            turned = {way: servers[way] for way in (*ways[first:], *ways[:first])}
            for load in LOADS:
                say(f"round {turn + 1} of {rounds}: {load.name}")
                for way, sample in measured(load, turned, clients, seconds).items():
                    samples[load][way].append(sample)
    machine = str(Machine.this())
    print(f"{machine}; {rounds} rounds of {seconds:g} s\n")
    print("\n".join(line for load, found in samples.items() for line in (f"**{load.name}**\n", *table(found), "")))
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "hops.json").write_text(json.dumps({"machine": machine, "samples": flat(samples)}, indent=1))


def measured(
    load: Load, servers: Mapping[Way, Served], clients: Mapping[Loop, Executor], seconds: float
) -> dict[Way, Sample]:
    """One run of every way, one after the other."""
    return {
        way: clients[way.loop].submit(called, way, served, load, seconds).result() for way, served in servers.items()
    }


_FIGURES: tuple[tuple[str, Callable[[Sample], float]], ...] = (
    ("p50 µs", lambda sample: sample.p50_us),
    ("calls/s", lambda sample: sample.per_second),
    ("server's CPU µs", lambda sample: sample.server_cpu_us),
    ("client's CPU µs", lambda sample: sample.client_cpu_us),
)
_RATIOS: tuple[tuple[str, Callable[[Sample], float]], ...] = (
    ("p50, ratio", lambda sample: sample.p50_us),
    ("CPU of both, ratio", lambda sample: sample.cpu_us),
)


def table(found: Mapping[Way, Sequence[Sample]]) -> Iterator[str]:
    """A row a way, medians; ratios are to the way that the mesh takes, round by round."""
    heads = ["server", "loop", "socket", *(head for head, _ in (*_FIGURES, *_RATIOS))]
    yield f"| {' | '.join(heads)} |"
    yield "|---" * len(heads) + "|"
    for way, samples in found.items():
        cells: list[str] = [way.server, way.loop, way.socket]
        cells += [format(statistics.median(map(take, samples)), ",.0f") for _, take in _FIGURES]
        for _, take in _RATIOS:
            cells.append(ratio([*map(take, samples)], [*map(take, found[TAKEN])]).shown(".2f"))
        yield f"| {' | '.join(cells)} |"


def flat(samples: Samples) -> list[dict[str, Any]]:
    """A record a sample."""
    return [
        {"load": load.name, **asdict(way), "round": turn, **asdict(sample)}
        for load, found in samples.items()
        for way, each in found.items()
        for turn, sample in enumerate(each)
    ]


def transformed(request: pb.TransformRequest) -> pb.TransformResponse:
    """The block's doubles as floats: what the simplest preprocessing does."""
    (block,) = request.frame.blocks
    values = np.frombuffer(block.packed, "<f8").astype("<f4")
    shape = [request.frame.rows, len(block.names)]
    return pb.TransformResponse(
        tensors=[tensor_pb2.Tensor(name="x", datatype="FP32", shape=shape, data=values.tobytes())]
    )


class _Loops(pb_grpc.PreprocessingServiceServicer):
    async def Transform(self, request: pb.TransformRequest, _: Any) -> pb.TransformResponse:
        return transformed(request)


class _Threads(pb_grpc.PreprocessingServiceServicer):
    def Transform(self, request: pb.TransformRequest, _: Any) -> pb.TransformResponse:
        return transformed(request)


@dataclass(frozen=True, slots=True)
class Served:
    """A server that listens: its address, as `connect` takes it where that can be, and its process."""

    address: str
    pid: int = 0


@contextlib.contextmanager
def started(way: Way, socket: Path) -> Iterator[Served]:
    """A process that serves, until the block ends."""
    ours, theirs = _SPAWN.Pipe()
    process = _SPAWN.Process(target=_serve, args=(way, socket, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        with ours:
            yield Served(ours.recv(), process.pid or 0)
    finally:
        process.join()


def _serve(way: Way, socket: Path, pipe: Connection) -> None:
    async def serve() -> None:
        async with serving(way, socket) as address:
            settle()
            pipe.send(address)
            # The other side says nothing, and closes.
            await asyncio.to_thread(pipe.poll, None)

    with way.loop.runner as runner:
        runner.run(serve())


@contextlib.asynccontextmanager
async def serving(way: Way, socket: Path) -> AsyncIterator[str]:
    """The server of *way*, at *socket* or a free port, for the block; gives its address."""
    is_unix = way.socket is Socket.UNIX
    address = f"unix:{socket}" if is_unix else "127.0.0.1:0"
    async with _SERVERS[way.server](address) as port:
        if not is_unix:
            yield f"127.0.0.1:{port}"
        else:
            yield f"{H2_SCHEME}unix:{socket}" if way.server is Server.OWN else address


@contextlib.asynccontextmanager
async def _own(address: str) -> AsyncIterator[int]:
    async with build(ServiceSettings(address=address), [_REGISTERED]) as server:
        yield server.port


@contextlib.asynccontextmanager
async def _aio(address: str) -> AsyncIterator[int]:
    async with grpcio.serving(Limits(), [_REGISTERED], [address]) as port:
        yield port


@contextlib.asynccontextmanager
async def _bare_aio(address: str) -> AsyncIterator[int]:
    server = grpc.aio.server(options=_OPTIONS)
    _add(_Loops(), server)
    port = server.add_insecure_port(address)
    await server.start()
    try:
        yield port
    finally:
        await server.stop(None)


@contextlib.asynccontextmanager
async def _bare_sync(address: str) -> AsyncIterator[int]:
    with ThreadPoolExecutor(2) as threads:
        server = grpc.server(threads, options=_OPTIONS)
        _add(_Threads(), server)
        port = server.add_insecure_port(address)
        server.start()
        try:
            yield port
        finally:
            server.stop(None).wait()


_add = pb_grpc.add_PreprocessingServiceServicer_to_server
_REGISTERED = (_add, _Loops())
_OPTIONS = [("grpc.so_reuseport", 0)]
_SERVERS: dict[Server, Callable[[str], contextlib.AbstractAsyncContextManager[int]]] = {
    Server.OWN: _own,
    Server.AIO: _aio,
    Server.BARE_AIO: _bare_aio,
    Server.BARE_SYNC: _bare_sync,
}


class _TcpChannel(H2Channel):
    """The mesh's own client, on TCP, which the mesh has no use for."""

    def __init__(self, address: str) -> None:
        super().__init__(
            [Path(address)], safe_to_retry=(), allowed=allowed, longest_message_bytes=LONGEST_MESSAGE_BYTES
        )

    async def _opened(self, peer: Peer) -> H2Connection:
        host, port = peer.path.split(":")
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: H2Connection(LONGEST_MESSAGE_BYTES), host, int(port))
        return connection


def opened(way: Way, address: str) -> grpc.aio.Channel:
    """A channel of the mesh to a server of *way*."""
    if way.server is Server.OWN and way.socket is Socket.TCP:
        return _TcpChannel(address)
    return connect(address)


def called(way: Way, served: Served, load: Load, seconds: float) -> Sample:
    """One run, on a loop of its own.

    Raises:
        ValueError: an answer was another request's, or none.
    """

    async def run() -> Sample:
        async with opened(way, served.address) as channel:
            stub = pb_grpc.PreprocessingServiceStub(channel)
            settle()
            await calls(stub, load, time.perf_counter() + seconds / 5)
            server, client, began = server_cpu_seconds(served.pid), time.process_time(), time.perf_counter()
            took = await calls(stub, load, began + seconds)
            passed = time.perf_counter() - began
            client, server = time.process_time() - client, server_cpu_seconds(served.pid) - server
        return Sample(
            p50_us=statistics.median(took) * 1e6,
            per_second=len(took) / passed,
            server_cpu_us=server / len(took) * 1e6,
            client_cpu_us=client / len(took) * 1e6,
        )

    with way.loop.runner as runner:
        return runner.run(run())


async def calls(stub: Any, load: Load, end: float) -> list[float]:
    """Seconds that each call took, of those begun before *end*, a `perf_counter`; at least one a caller."""
    asked = [request_of(load, number) for number in range(DISTINCT)]
    took: list[float] = []

    async def caller(number: int) -> None:
        context.enter(context.Request(id=f"caller-{number}"))
        for turn in itertools.count(number):
            request, right = asked[turn % DISTINCT]
            began = time.perf_counter()
            answer = await stub.Transform(request, timeout=CALL_SECONDS)
            took.append(time.perf_counter() - began)
            if answer.tensors[0].data != right:
                raise ValueError("an answer is not that of its request")
            if load.pause_seconds:
                await asyncio.sleep(load.pause_seconds)
            if time.perf_counter() >= end:
                return

    async with asyncio.TaskGroup() as tasks:
        for number in range(load.callers):
            tasks.create_task(caller(number))
    return took


def request_of(load: Load, number: int) -> tuple[pb.TransformRequest, bytes]:
    """A request unlike those of other numbers, and the data of its answer."""
    values = np.arange(load.rows * load.columns, dtype="<f8") + number / DISTINCT
    names = [f"feature_{column}" for column in range(load.columns)]
    block = frame_pb2.ColumnBlock(names=names, type=frame_pb2.DATA_TYPE_DOUBLE, packed=values.tobytes())
    frame = frame_pb2.Frame(rows=load.rows, blocks=[block])
    return pb.TransformRequest(bundle_id="flight_delay-1", frame=frame), values.astype("<f4").tobytes()


def server_cpu_seconds(pid: int) -> float:
    """CPU time of all threads of a process, in nanoseconds' detail: /proc counts hundredths of a second."""
    # As clock_getcpuclockid(3) makes it, which Python has for threads alone.
    return time.clock_gettime(~pid << 3 | 2)


if __name__ == "__main__":
    main()
