"""What was measured beside each other, as ratios: at its best setting each, losses included."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

from loadtests.bench.runs import table
from loadtests.bench.usage import Machine
from loadtests.peers.measuring import ALONE, CROWD, PEER, TABLES, Measured, Shape
from loadtests.peers.mesh import Placement

MIB = 2**20


@dataclass(frozen=True, slots=True)
class Aspect:
    """One thing to compare by."""

    what: str
    shape: Shape
    value: Callable[[Measured], float]
    more_is_better: bool


ASPECTS = (
    Aspect("requests/s, one row, c=64", CROWD, lambda each: each.run.per_second, True),
    Aspect("p95 ms, one row, c=64", CROWD, lambda each: each.run.p95_ms, False),
    Aspect("p50 ms, one row, c=1", ALONE, lambda each: each.run.p50_ms, False),
    Aspect("rows/s, 256 rows a request", TABLES, lambda each: each.rows_per_second, True),
)


@dataclass(frozen=True, slots=True)
class Comparison:
    """A peer at its best setting for one aspect, and Predmesh measured beside it over the same face."""

    peer: str
    setting: str
    theirs: float
    ours: Mapping[str, float]
    """By placement."""
    times_better: Mapping[str, float]
    """By placement, how many times better Predmesh is; below 1 the peer is."""


def compare(aspect: Aspect, measured: Sequence[Measured]) -> list[Comparison]:
    """Every peer in one aspect, the hardest to beat first."""
    shaped = [each for each in measured if each.shape == aspect.shape]
    sign = -1 if aspect.more_is_better else 1
    found = []
    for peer in {each.peer: None for each in shaped}:
        tried = [each for each in shaped if each.peer == peer and each.who == PEER]
        best = min(tried, key=lambda each: sign * aspect.value(each))
        beside = [each for each in shaped if (each.peer, each.setting) == (peer, best.setting) and each.who != PEER]
        theirs, ours = aspect.value(best), {each.who: aspect.value(each) for each in beside}
        better = {who: own / theirs if aspect.more_is_better else theirs / own for who, own in ours.items()}
        found.append(Comparison(peer, best.setting, theirs, ours, better))
    return sorted(found, key=lambda each: each.times_better[Placement.PROCESSES])


def summary(comparisons: Sequence[Comparison], placement: str) -> tuple[float, float]:
    """How many times better Predmesh is than the best peer and than the median one."""
    ratios = [each.times_better[placement] for each in comparisons]
    return min(ratios), median(ratios)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One bench of the peers."""

    machine: Machine
    options: Mapping[str, Any]
    versions: Mapping[str, str]
    """By title of the peer."""
    skipped: Sequence[str]
    """What was not measured and why, a line each."""
    requests: str
    """What was sent, in words."""
    measured: Sequence[Measured]

    @property
    def right(self) -> bool:
        """Whether all of Predmesh's requests were answered."""
        return not any(each.run.failed for each in self.measured if each.who != PEER)

    def document(self) -> dict[str, Any]:
        """All of it, for JSON."""
        compared = {aspect.what: compare(aspect, self.measured) for aspect in ASPECTS}
        return {
            "machine": asdict(self.machine),
            "options": dict(self.options),
            "versions": dict(self.versions),
            "skipped": list(self.skipped),
            "requests": self.requests,
            "times_better": {
                what: {who: dict(zip(("best", "median"), summary(found, who), strict=True)) for who in Placement}
                for what, found in compared.items()
            },
            "peers": {what: [asdict(each) for each in found] for what, found in compared.items()},
            "runs": [asdict(each) for each in self.measured],
        }

    def markdown(self) -> str:
        """All of it, for people."""
        compared = [(aspect, compare(aspect, self.measured)) for aspect in ASPECTS]
        return "\n\n".join(
            (
                f"{self.machine}; the load generators on the same cores. {self.requests}",
                "\n".join(f"- {name} {version}" for name, version in self.versions.items()),
                *(f"Not measured: {line}" for line in self.skipped),
                "Predmesh through Envoy against the best and the median peer, times better (below 1 the peer wins):",
                _summary_table(compared),
                *(f"## {aspect.what}\n\n{_comparison_table(found)}" for aspect, found in compared),
                "## Cost at c=64\n\n" + _cost_table(self.measured),
                "## Every run\n\n" + table(each.run for each in self.measured),
            )
        )

    def write(self, folder: Path) -> None:
        """Writes `peers.json`, `peers.md` and `peers.svg` into *folder*."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "peers.json").write_text(json.dumps(self.document(), indent=2) + "\n")
        (folder / "peers.md").write_text(self.markdown() + "\n")
        draw(self.measured, folder / "peers.svg")


def draw(measured: Sequence[Measured], path: Path) -> None:
    """Draws a bar a peer and two for Predmesh, an aspect a panel."""
    # Without a fixed salt and date the same picture is another file every time.
    with rc_context({"svg.hashsalt": "predmesh", "font.size": 9}):
        figure = Figure(figsize=(9, 5.5), layout="constrained")
        for axes, aspect in zip(figure.subplots(2, 2).flat, ASPECTS, strict=True):
            bars = bars_of(compare(aspect, measured))
            colours = ["tab:blue" if name.startswith("Predmesh") else "tab:gray" for name in bars]
            drawn = axes.barh(list(bars), list(bars.values()), color=colours)
            axes.bar_label(drawn, [f"{value:,.{0 if value >= 100 else 2}f}" for value in bars.values()], padding=3)
            axes.invert_yaxis()
            axes.set_xlim(0, 1.25 * max(bars.values()))
            axes.set_title(aspect.what)
        figure.savefig(path, metadata={"Date": None})


def bars_of(comparisons: Sequence[Comparison]) -> dict[str, float]:
    """Length of each bar by its label: Predmesh's medians, then the peers."""
    ours = {f"Predmesh, {who}": median(each.ours[who] for each in comparisons) for who in Placement}
    return ours | {f"{each.peer}, {each.setting}": each.theirs for each in comparisons}


def _summary_table(compared: Sequence[tuple[Aspect, Sequence[Comparison]]]) -> str:
    head = "| | " + " | ".join(f"{who}: best peer | {who}: median peer" for who in Placement)
    rows = (
        f"| {aspect.what} | " + " | ".join(f"{ratio:.2f}" for who in Placement for ratio in summary(found, who)) + " |"
        for aspect, found in compared
    )
    return "\n".join((f"{head} |", "|---|" + "---|---|" * len(Placement), *rows))


def _comparison_table(comparisons: Sequence[Comparison]) -> str:
    places = " | ".join(f"Predmesh, {who} | times better" for who in Placement)
    rows = (
        f"| {each.peer} | {each.setting} | {each.theirs:,.2f} | "
        + " | ".join(f"{each.ours[who]:,.2f} | {each.times_better[who]:.2f}" for who in Placement)
        + " |"
        for each in comparisons
    )
    head = f"| peer | its best setting | peer | {places} |"
    return "\n".join((head, "|---|---|---|" + "---|---|" * len(Placement), *rows))


def _cost_table(measured: Sequence[Measured]) -> str:
    rows = (
        f"| {each.run.name} | {each.cpu_us:,.0f} | {each.memory_bytes / MIB:,.0f} |"
        for each in measured
        if each.shape == CROWD
    )
    return "\n".join(("| who | CPU µs a request, all processes | memory MiB |", "|---|---|---|", *rows))
