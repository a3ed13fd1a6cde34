"""What the served model did beside the loop, for programs and for people."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from loadtests.bench.figures import Figure, Spread, Target, ratio
from loadtests.bench.report import figure_document, figure_table
from loadtests.bench.runs import Run, table
from loadtests.bench.usage import Machine
from loadtests.gpu.offline import Plan

UTILISATION = Target(80, True, ".0f", " %")
P95 = Target(100, False, ".0f", " ms")
RATIO = Target(0.8, True, ".2f")


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """The loop, then the mesh."""

    offline: float
    """Rows a second of the loop."""
    run: Run
    rows: int
    """Of each request."""
    rows_per_batch: float
    most_in_flight: float
    """Batches seen on their way from prediction at once."""
    utilisation: float | None
    """Percent, the median; None without a GPU."""

    @property
    def served(self) -> float:
        """Rows a second of the mesh."""
        return self.run.per_second * self.rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The whole scenario."""

    machine: Machine
    plan: Plan
    made: Mapping[str, Any]
    """The model, and for which device it was made."""
    rounds: Sequence[Round]

    @property
    def right(self) -> bool:
        """Whether every request was answered right."""
        return not any(each.run.failed for each in self.rounds)

    @property
    def where(self) -> str:
        """The device, in a line."""
        if self.plan.gpu:
            return f"Ran on the GPU {self.made['device']}."
        return (
            "Ran on the CPU: nvidia-smi shows no GPU here, so there is nothing to judge. On a GPU the targets are "
            f"utilisation {UTILISATION}, p95 {P95} and {RATIO} of the loop's rows/s."
        )

    @property
    def utilisation(self) -> str:
        """What nvidia-smi told of the GPU, in a line."""
        used = [f"{each.utilisation:.0f} %" for each in self.rounds if each.utilisation is not None]
        why = "nvidia-smi tells none" if self.plan.gpu else "no GPU, ran on CPU"
        return f"GPU utilisation (median of samples, by round): {', '.join(used) or f'none: {why}'}."

    @property
    def figures(self) -> list[Figure]:
        """The summary; only a GPU is judged."""

        def figure(
            what: str, values: Sequence[float], form: str, unit: str = "", target: Target | None = None
        ) -> Figure:
            return Figure(what, Spread(tuple(values)), target if self.plan.gpu else None, form, unit)

        served, offline = [each.served for each in self.rounds], [each.offline for each in self.rounds]
        used = [each.utilisation for each in self.rounds if each.utilisation is not None]
        return [
            figure("rows/s served / rows/s of the loop", ratio(served, offline).values, ".2f", target=RATIO),
            figure("p95", [each.run.p95_ms for each in self.rounds], ".1f", " ms", P95),
            *([figure("GPU utilisation", used, ".0f", " %", UTILISATION)] if used else []),
            figure("p50", [each.run.p50_ms for each in self.rounds], ".1f", " ms"),
            figure("rows/s served", served, ",.0f"),
            figure("rows/s of the loop", offline, ",.0f"),
            figure("rows a batch", [each.rows_per_batch for each in self.rounds], ".1f"),
            figure("most batches in flight", [each.most_in_flight for each in self.rounds], ".0f"),
        ]

    def document(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return {
            "where": self.where,
            "machine": asdict(self.machine),
            "plan": asdict(self.plan),
            "made": dict(self.made),
            "right": self.right,
            "figures": [figure_document(each) for each in self.figures],
            "rounds": [asdict(each) for each in self.rounds],
        }

    def markdown(self) -> str:
        """All of it, for people."""
        return "\n\n".join(
            (
                self.where,
                f"{self.machine}; the callers on the same cores.",
                f"{self.made['blocks']} blocks of two convolutions, {self.made['channels']} channels, "
                f"{self.made['parameters']:,} parameters, torch {self.made['torch']}. Instances on Triton: "
                f"{self.plan.instances}; rows of a batch: at most {self.plan.batch_rows}. The loop runs full batches "
                f"of the same file, with the same threads ({self.made['device']}).",
                figure_table(self.figures),
                self.utilisation,
                table(each.run for each in self.rounds),
            )
        )

    def write(self, folder: Path) -> None:
        """Writes `gpu.json` and `gpu.md` into *folder*."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "gpu.json").write_text(json.dumps(self.document(), indent=2) + "\n")
        (folder / "gpu.md").write_text(self.markdown() + "\n")
