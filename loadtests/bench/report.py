"""Writes down what was measured: JSON for programs, Markdown for people."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from loadtests.bench.checking import Check
from loadtests.bench.figures import Figure, Measured, figures
from loadtests.bench.runs import table
from loadtests.bench.usage import Machine

MIB = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One bench."""

    machine: Machine
    options: Mapping[str, Any]
    """What the command line asked for."""
    measured: Sequence[Measured]
    checks: Sequence[Check]
    memory_before: Mapping[str, int]
    """Bytes (PSS) by program of the mesh, before the first run."""
    memory_after: Mapping[str, int]

    @property
    def right(self) -> bool:
        """Whether every request was answered, and every content was right."""
        return not any(each.run.failed for each in self.measured) and not any(check.wrong for check in self.checks)

    def document(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return {
            "machine": asdict(self.machine),
            "options": dict(self.options),
            "right": self.right,
            "figures": [figure_document(each) for each in figures(self.measured)],
            "runs": [
                {"turn": each.turn, **asdict(each.run), "cpu_us_per_request": each.cpu_us_per_request()}
                for each in self.measured
            ],
            "checks": [asdict(each) for each in self.checks],
            "memory_bytes": {"before": dict(self.memory_before), "after": dict(self.memory_after)},
        }

    def markdown(self) -> str:
        """All of it, for people."""
        return "\n\n".join(
            (
                f"{self.machine}; the load generators on the same cores.",
                figure_table(figures(self.measured)),
                "## Every run",
                table(each.run for each in self.measured),
                "## CPU a request at concurrency 64, µs by program",
                cost_table(self.measured),
                "## Memory of the mesh, MiB",
                memory_table(self.memory_before, self.memory_after),
                "## Contents",
                "\n".join(f"- {check}" for check in self.checks),
            )
        )

    def write(self, folder: Path) -> None:
        """Writes `bench.json` and `bench.md` into *folder*."""
        (folder / "bench.json").write_text(json.dumps(self.document(), indent=2) + "\n")
        (folder / "bench.md").write_text(self.markdown() + "\n")


def figure_document(figure: Figure) -> dict[str, Any]:
    """A figure, for JSON."""
    spread, target = figure.spread, figure.target
    return {
        "what": figure.what,
        "median": spread.median,
        "low": spread.low,
        "high": spread.high,
        "values": list(spread.values),
        "unit": figure.unit.strip(),
        "target": str(target) if target else None,
        "verdict": figure.verdict or None,
    }


def figure_table(lines: Iterable[Figure]) -> str:
    """The figures beside their targets."""
    head = "| what | measured | target | |\n|---|---|---|---|"
    rows = (f"| {each.what} | {each.shown} | {each.target or ''} | {each.verdict} |" for each in lines)
    return "\n".join((head, *rows))


def cost_table(measured: Sequence[Measured]) -> str:
    """CPU time by program of the closed loops at 64; of a scenario that ran several times, the last."""
    last = {each.scenario.name: each.cpu_us_per_request() for each in measured if each.scenario.load.concurrency == 64}
    programs = sorted({name for cost in last.values() for name in cost})
    head = f"| scenario | all | {' | '.join(programs)} |\n|---|---|{'---|' * len(programs)}"
    rows = (
        f"| {name} | {sum(cost.values()):,.0f} | "
        + " | ".join(f"{cost[program]:,.0f}" if program in cost else "" for program in programs)
        + " |"
        for name, cost in last.items()
    )
    return "\n".join((head, *rows))


def memory_table(before: Mapping[str, int], after: Mapping[str, int]) -> str:
    """Memory by program, and how it changed."""
    head = "| program | before | after | change |\n|---|---|---|---|"
    rows = (
        f"| {name} | {before[name] / MIB:,.1f} | {after[name] / MIB:,.1f} | {after[name] / before[name] - 1:+.1%} |"
        for name in sorted(before.keys() & after.keys())
        if before[name]
    )
    return "\n".join((head, *rows))
