"""Draws what was measured as SVG: latency against load, throughput against concurrency, cost against rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from loadtests.bench.figures import Measured
from loadtests.bench.scenarios import Server

Points = list[tuple[float, float]]
Curves = Mapping[str, Points]


def draw(measured: Sequence[Measured], folder: Path) -> list[Path]:
    """Draws the plots that *measured* has points for; answers their files."""
    ours = [each for each in measured if each.scenario.server is Server.MESH and len(each.scenario.models) == 1]
    plots = {
        "latency-against-load.svg": (latency_against_load(ours), "requests/s sent", "ms", False),
        "throughput-against-concurrency.svg": (throughput_against_concurrency(ours), "callers", "requests/s", True),
        "cost-against-rows.svg": (cost_against_rows(ours), "rows a request", "µs CPU a row", True),
    }
    written = []
    for name, (curves, across, up, logarithmic) in plots.items():
        if any(len(points) > 1 for points in curves.values()):
            _write(folder / name, curves, across, up, logarithmic)
            written.append(folder / name)
    return written


def latency_against_load(measured: Sequence[Measured]) -> Curves:
    """Percentiles over the rate that was sent."""
    runs = sorted((each.run for each in measured if each.scenario.load.rate), key=lambda run: run.load.rate)
    return {
        "p50": [(run.load.rate, run.p50_ms) for run in runs],
        "p95": [(run.load.rate, run.p95_ms) for run in runs],
        "p99": [(run.load.rate, run.p99_ms) for run in runs],
    }


def throughput_against_concurrency(measured: Sequence[Measured]) -> Curves:
    """One-row requests a second over callers, by way in."""
    return _by_way(
        (each, each.scenario.load.concurrency, each.run.per_second)
        for each in measured
        if each.scenario.load.concurrency and each.scenario.rows == 1
    )


def cost_against_rows(measured: Sequence[Measured]) -> Curves:
    """Microseconds of CPU a row, all programs, over the rows of a request at 16 callers, by way in."""
    return _by_way(
        (each, each.scenario.rows, sum(each.cpu_us_per_request().values()) / each.scenario.rows)
        for each in measured
        if each.scenario.load.concurrency == 16
    )


def _by_way(points: Iterable[tuple[Measured, float, float]]) -> Curves:
    """The curve of each way in, every point the median of its runs."""
    ways: dict[str, dict[float, list[float]]] = {}
    for each, across, up in points:
        way = f"{each.scenario.face} {each.scenario.route}"
        ways.setdefault(way, {}).setdefault(across, []).append(up)
    return {way: [(across, median(ups)) for across, ups in sorted(curve.items())] for way, curve in ways.items()}


def _write(path: Path, curves: Curves, across: str, up: str, logarithmic: bool) -> None:
    # Without a fixed salt and date the same picture is another file every time.
    with rc_context({"svg.hashsalt": "predmesh", "font.size": 9}):
        figure = Figure(figsize=(6, 3.5), layout="constrained")
        axes: Axes = figure.subplots()
        for name, points in curves.items():
            axes.plot(*zip(*points, strict=True), marker="o", label=name)
        if logarithmic:
            axes.set_xscale("log", base=2)
            axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.set(xlabel=across, ylabel=up, ylim=(0, None))
        axes.grid(alpha=0.3)
        axes.legend()
        figure.savefig(path, metadata={"Date": None})
