"""Keeps a mesh of its own at full load, then at 70 % of it: `python -m loadtests.soak` (`make soak`), 17 minutes.

First both faces at once in a closed loop, minute by minute, with the memory of every program after each; then REST at
a fixed rate. Answers 1 when a request failed, or memory grew by more than 5 % since the first minute.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from loadtests.bench.checking import Check
from loadtests.bench.measuring import Bench, line
from loadtests.bench.options import RESULTS, add_mesh_options, end_cleanly, mesh_options, say
from loadtests.bench.report import memory_table
from loadtests.bench.runs import Load, Run, table
from loadtests.bench.scenarios import Face, Scenario, Server
from loadtests.bench.servers import running_mesh
from loadtests.bench.usage import Machine, memory_by_program
from loadtests.bench.witness import Witness, sleeping

CALLERS = 32
"""Of each face."""
SHARE = 0.7
LEVEL_MEMORY = 0.05
P99_MS = 50.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Soak:
    """What came of it."""

    machine: Machine
    full: Sequence[Run]
    """Full load, a run a minute and face."""
    memory: Sequence[Mapping[str, int]]
    """Bytes (PSS) by program after each minute of full load."""
    paced: Sequence[Run]
    """The fixed rate, a run a minute."""
    checks: Sequence[Check]
    stood_ms: Sequence[float]
    """Longest time in each minute in which a process that only sleeps was kept from running; 0 below 50 ms."""

    @property
    def failed(self) -> int:
        """Requests not answered well."""
        return sum(run.failed for run in (*self.full, *self.paced))

    @property
    def right(self) -> bool:
        """Whether nothing failed, no content was wrong, and no program grew."""
        return not (self.failed or self.grown or any(check.wrong for check in self.checks))

    @property
    def grown(self) -> list[str]:
        """Programs whose memory left the level of minute one upwards."""
        first, last = self.memory[0], self.memory[-1]
        return sorted(name for name in first if last.get(name, 0) > first[name] * (1 + LEVEL_MEMORY))

    @property
    def p99_ms(self) -> float:
        """Of the worst minute at the fixed rate."""
        return max(run.p99_ms for run in self.paced)

    def markdown(self) -> str:
        """All of it, for people."""
        answered = sum(run.requests for run in (*self.full, *self.paced))
        return "\n\n".join(
            (
                f"{self.machine}; the load generators on the same cores.",
                f"{self.failed:,} of {answered:,} requests failed. Memory grew beyond {LEVEL_MEMORY:.0%} in: "
                f"{', '.join(self.grown) or 'no program'}. At {self.paced[0].load} the worst minute's p99 was "
                f"{self.p99_ms:.1f} ms (wanted: under {P99_MS:g}).",
                "## Full load",
                table(self.full),
                "Longest time for which the machine kept a sleeping process from running, minute by minute, ms: "
                + ", ".join(f"{each:g}" for each in self.stood_ms),
                "## Memory from minute one to the last, MiB",
                memory_table(self.memory[0], self.memory[-1]),
                f"## {SHARE:.0%} of it, open loop",
                table(self.paced),
                "## Contents",
                "\n".join(f"- {check}" for check in self.checks),
            )
        )

    def document(self) -> dict[str, object]:
        """All of it, for JSON."""
        return {**asdict(self), "failed": self.failed, "grown": self.grown, "p99_ms": self.p99_ms, "right": self.right}


def main() -> int:
    """Soaks, prints the summary, writes the results."""
    options = parser().parse_args()
    end_cleanly()
    options.out.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="predmesh-soak-")))
        say("starting a mesh")
        mesh = stack.enter_context(running_mesh(folder / "home", **mesh_options(options)))
        witness = stack.enter_context(sleeping())
        bench = Bench({Server.MESH: mesh}, folder)
        soak = soaked(bench, witness, options.minutes, options.paced_minutes, options.minute_seconds)
    (options.out / "soak.json").write_text(json.dumps(soak.document(), indent=2) + "\n")
    (options.out / "soak.md").write_text(soak.markdown() + "\n")
    print(soak.markdown())
    return 0 if soak.right else 1


def soaked(bench: Bench, witness: Witness, minutes: int, paced_minutes: int, minute_seconds: float) -> Soak:
    """Loads the mesh of *bench* for *minutes*, then for *paced_minutes*."""
    full = [Scenario(face=face, load=Load(concurrency=CALLERS, seconds=minute_seconds)) for face in Face]
    bench.warm(full, seconds=3)
    checks = bench.check(full)
    runs: list[Run] = []
    memory: list[Mapping[str, int]] = []
    stood = []
    witness.longest_ms()
    for minute in range(minutes):
        runs += at_once(bench, full, minute)
        stood.append(witness.longest_ms())
        memory.append(memory_by_program(bench.servers[Server.MESH].pids()))
    rest = Scenario(face=Face.REST, load=Load(concurrency=2 * CALLERS, seconds=min(10.0, minute_seconds)))
    rate = round(SHARE * _told(bench, rest).per_second)
    steady = Scenario(face=Face.REST, load=Load(rate=rate, seconds=minute_seconds))
    witness.longest_ms()
    paced = []
    for minute in range(paced_minutes):
        paced.append(_told(bench, steady, minute))
        stood.append(witness.longest_ms())
    checks += bench.check(full)
    return Soak(machine=Machine.this(), full=runs, memory=memory, paced=paced, checks=checks, stood_ms=stood)


def at_once(bench: Bench, scenarios: Sequence[Scenario], minute: int) -> Iterator[Run]:
    """Runs the *scenarios* beside each other."""
    with ThreadPoolExecutor(len(scenarios)) as pool:
        yield from pool.map(lambda scenario: _told(bench, scenario, minute), scenarios)


def _told(bench: Bench, scenario: Scenario, minute: int = 0) -> Run:
    measured = bench.once(scenario, minute)
    say(f"minute {minute + 1}: {line(measured)}")
    return measured.run


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--minutes", type=int, default=10, help="of full load; %(default)s")
    made.add_argument("--paced-minutes", type=int, default=5, help="at 70 %% of it; %(default)s")
    made.add_argument("--minute-seconds", type=float, default=60.0, help="length of a minute, for a trial")
    made.add_argument("--out", type=Path, default=RESULTS / "soak", help="folder of the results")
    add_mesh_options(made)
    return made


if __name__ == "__main__":
    sys.exit(main())
