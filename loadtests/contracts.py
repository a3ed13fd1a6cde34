"""What typed contracts cost, and what changing them costs others: `python -m loadtests.contracts`, 6 minutes.

By turns at 64 callers: the same flights as a typed call, as `instances` and as ready tensors of the Open Inference
Protocol. Then the flights' contract changes again and again while another model is asked: how long from the command to
the first answer in the new form, what of the other model's requests failed, what memory did. Answers 1 when any failed.
"""

from __future__ import annotations

import argparse
import base64
import os
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import yaml
from google.protobuf import descriptor_pb2
from tritonclient.grpc import model_config_pb2, service_pb2

from loadtests.bench.asking import DISTINCT, wines
from loadtests.bench.flights import MODEL, Row, grpc_message, requests, rest_body
from loadtests.bench.generators import PREDICT, ghz, ghz_config, vegeta, write_messages, write_targets
from loadtests.bench.options import RESULTS, add_mesh_options, end_cleanly, mesh_options, say
from loadtests.bench.report import memory_table
from loadtests.bench.runs import Load, Run, table
from loadtests.bench.scenarios import WINE
from loadtests.bench.servers import FLIGHTS, Started, patched, running_mesh
from loadtests.bench.usage import Machine, memory_by_program

CALLERS = 64
TYPED = "predmesh.models.flight_delay.v1.FlightDelayService/Predict"
INFER = "inference.GRPCInferenceService/ModelInfer"
LIVE_SECONDS = 2.0
BACKGROUND = Load(rate=200, seconds=1.0)
"""Leaves two cores room for deploys that follow each other without a pause."""
_WAIT_SECONDS = 60.0
_DRAINED_SECONDS = 8.0
"""Time in which services let go of a bundle that nobody asks for any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What came of changing a contract again and again."""

    seconds: Sequence[float]
    """From the command to the first answer in the new form, each time."""
    background: Run
    """The other model, asked meanwhile."""
    before: Mapping[str, int]
    """Bytes (PSS) by program after the first change, once the bundle before had drained."""
    after: Mapping[str, int]
    """The same after the last."""


def main() -> int:
    """Measures, prints, writes the results."""
    options = parser().parse_args()
    end_cleanly()
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="predmesh-contracts-") as name:
        folder = Path(name)
        say("starting a mesh")
        with running_mesh(folder / "home", **mesh_options(options)) as mesh:
            faces = list(by_turns(mesh, folder, options.rounds, options.seconds))
            changes = changed(mesh, folder, options.changes)
    text = report(faces, changes)
    (options.out / "contracts.md").write_text(text + "\n")
    print(text)
    return 1 if changes.background.failed or any(run.failed for runs in faces for run in runs.values()) else 0


def by_turns(mesh: Started, folder: Path, rounds: int, seconds: float) -> Iterator[dict[str, Run]]:
    """A run of each form of call, *rounds* times, each round beginning with another."""
    load = Load(concurrency=CALLERS, seconds=seconds)
    configs = dict(_configs(mesh, folder, load))
    for name, config in configs.items():
        ghz(name, config, load)
    names = list(configs)
    for number in range(rounds):
        start = number % len(names)
        runs = {name: ghz(name, configs[name], load) for name in (*names[start:], *names[:start])}
        say(", ".join(f"{name} {runs[name].per_second:,.0f}/s" for name in names))
        yield runs


def changed(mesh: Started, folder: Path, changes: int) -> Changes:
    """Gives the flights a further input, *changes* times, while wines are asked for."""
    asked = write_targets(
        folder / "background",
        f"http://{mesh.gateway}/v1/models/{WINE}:predict",
        [rest_body([row]) for row in wines(DISTINCT)],
    )
    seconds: list[float] = []
    memory: list[Mapping[str, int]] = []
    runs: list[Run] = []
    with ThreadPoolExecutor(1) as pool, httpx.Client(base_url=f"http://{mesh.gateway}", timeout=5) as client:
        done = False

        def background() -> None:
            while not done:
                runs.append(vegeta("wines meanwhile", asked, BACKGROUND))

        loading = pool.submit(background)
        try:
            for number in range(changes):
                seconds.append(_live_after(mesh, client, folder, number))
                if number in (0, changes - 1):
                    time.sleep(_DRAINED_SECONDS)
                    memory.append(memory_by_program(mesh.pids()))
                if number % 10 == 0:
                    say(f"change {number + 1} live after {seconds[-1]:.2f} s")
        finally:
            done = True
            loading.result()
    return Changes(seconds=seconds, background=_together(runs), before=memory[0], after=memory[-1])


def report(faces: Sequence[Mapping[str, Run]], changes: Changes) -> str:
    """All of it, for people."""
    within = sum(each < LIVE_SECONDS for each in changes.seconds)
    return "\n\n".join(
        (
            f"{Machine.this()}; the load generators on the same cores.",
            f"## One flight, {CALLERS} callers, gRPC through the gateway",
            table(run for runs in faces for run in runs.values()),
            f"- typed / instances: {_ratio(faces, 'typed', 'instances')} (wanted: at least 1)",
            f"- typed / ready tensors: {_ratio(faces, 'typed', 'ready tensors')} (wanted: at least 0.8)",
            f"## {len(changes.seconds)} changed contracts under load",
            f"From the command to the first answer in the new form: median {statistics.median(changes.seconds):.2f} s, "
            f"{min(changes.seconds):.2f} to {max(changes.seconds):.2f}; {within} of {len(changes.seconds)} within "
            f"{LIVE_SECONDS:g} s.",
            table([changes.background]),
            *changes.background.errors,
            "Memory after the first and after the last change, once what went had drained, MiB:",
            memory_table(changes.before, changes.after),
        )
    )


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--rounds", type=int, default=5, help="of the three forms of call; %(default)s")
    made.add_argument("--seconds", type=float, default=5.0, help="length of a run; %(default)s")
    made.add_argument("--changes", type=int, default=100, help="of the contract; %(default)s")
    made.add_argument("--out", type=Path, default=RESULTS / "contracts", help="folder of the results")
    add_mesh_options(made)
    return made


def _configs(mesh: Started, folder: Path, load: Load) -> Iterator[tuple[str, dict[str, Any]]]:
    rows = [row for [row] in requests(1)]
    typed, tensors = folder / "typed.binpb", folder / "oip.binpb"
    path = f"/v1/models/{MODEL}/versions/1/contract/contract.binpb"
    typed.write_bytes(httpx.get(f"http://{mesh.gateway}{path}").raise_for_status().content)
    files = descriptor_pb2.FileDescriptorSet()
    for each in (model_config_pb2, service_pb2):
        each.DESCRIPTOR.CopyToProto(files.file.add())
    tensors.write_bytes(files.SerializeToString())
    forms: list[tuple[str, str, Path | None, list[dict[str, Any]]]] = [
        ("instances", PREDICT, None, [grpc_message([row]) for row in rows]),
        ("typed", TYPED, typed, [{"instance": row} for row in rows]),
        ("ready tensors", INFER, tensors, [_infer(row) for row in rows]),
    ]
    for name, call, descriptors, messages in forms:
        file = write_messages(folder / f"{name.replace(' ', '-')}.json", messages)
        yield name, ghz_config(load, file, host=mesh.gateway, call=call, descriptors=descriptors)


def _infer(row: Row) -> dict[str, Any]:
    """A ModelInferRequest of one flight as JSON, its tensors packed."""
    inputs, packed = [], []
    for name, value in row.items():
        text = isinstance(value, str)
        data = struct.pack("<I", len(value)) + value.encode() if text else struct.pack("<d", value)
        inputs.append({"name": name, "datatype": "BYTES" if text else "FP64", "shape": [1]})
        packed.append(base64.b64encode(data).decode())
    return {"model_name": MODEL, "inputs": inputs, "raw_input_contents": packed}


def _live_after(mesh: Started, client: httpx.Client, folder: Path, number: int) -> float:
    """Deploys a contract with one more input; seconds until a call that brings it is answered."""
    assert mesh.home is not None
    inputs = yaml.safe_load((FLIGHTS / "predmesh.yaml").read_text())["inputs"]
    names = [f"further_{each}" for each in range(number + 1)]
    more = [{"name": name, "type": "double", "required": False, "example": 1} for name in names]
    bundle = patched(FLIGHTS, {"inputs": [*inputs, *more]}, folder / "changed")
    [[row]] = requests(1, 1)
    body = {"instance": row | {names[-1]: 1.0}}
    command = [str(Path(sys.executable).parent / "predmesh"), "deploy", str(bundle), "--replace"]
    command += ["--home", str(mesh.home.root)]
    # Without its cached bytecode, as containers often ask for, Python compiles the command anew each time.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    began = time.perf_counter()
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as deploy:
        while deploy.poll() in (None, 0) and time.perf_counter() < began + _WAIT_SECONDS:
            if client.post(f"/v1/models/{MODEL}/versions/1/typed:predict", json=body).status_code == httpx.codes.OK:
                return time.perf_counter() - began
            time.sleep(0.01)
        deploy.terminate()
    raise SystemExit(f"change {number + 1} did not come live")


def _together(runs: Sequence[Run]) -> Run:
    """The *runs* as one: sums, and the worst of the latencies."""
    first = runs[0]
    return replace(
        first,
        requests=sum(run.requests for run in runs),
        failed=sum(run.failed for run in runs),
        per_second=statistics.fmean(run.per_second for run in runs),
        p50_ms=max(run.p50_ms for run in runs),
        p95_ms=max(run.p95_ms for run in runs),
        p99_ms=max(run.p99_ms for run in runs),
        errors=tuple(dict.fromkeys(error for run in runs for error in run.errors)),
    )


def _ratio(faces: Sequence[Mapping[str, Run]], one: str, other: str) -> str:
    ratios = sorted(runs[one].per_second / runs[other].per_second for runs in faces)
    return f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f} in {len(ratios)})"


if __name__ == "__main__":
    sys.exit(main())
