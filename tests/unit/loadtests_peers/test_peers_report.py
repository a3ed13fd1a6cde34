import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from loadtests.bench.runs import Load, Run
from loadtests.bench.scenarios import Face
from loadtests.bench.usage import Machine
from loadtests.peers.measuring import ALONE, CROWD, PEER, SHAPES, TABLES, Measured, Shape
from loadtests.peers.mesh import Placement
from loadtests.peers.report import ASPECTS, Report, bars_of, compare, summary

MACHINE = Machine(cpu="EPYC", cores=2, memory_gib=23.5, kernel="6.1", python="3.11.7", commit="abc")
THROUGHPUT, P95, P50, ROWS = ASPECTS


def measured(
    peer: str, setting: str, who: str, shape: Shape, per_second: float, *, p50_ms: float = 2, failed: int = 0
) -> Measured:
    run = Run(
        name=f"{peer}, {setting}" if who == PEER else f"Predmesh, {who}",
        load=Load(concurrency=shape.concurrency, seconds=3),
        requests=1000,
        failed=failed,
        per_second=per_second,
        p50_ms=p50_ms,
        p95_ms=2 * p50_ms,
        p99_ms=3 * p50_ms,
    )
    return Measured(
        peer=peer, setting=setting, who=who, face=Face.REST, shape=shape, run=run, cpu_us=400, memory_bytes=2**28
    )


def beside(peer: str, setting: str, shape: Shape, theirs: float, ours: float, **rest: float) -> list[Measured]:
    return [
        measured(peer, setting, PEER, shape, theirs, **rest),  # type: ignore[arg-type]
        *(measured(peer, setting, placement, shape, ours) for placement in Placement),
    ]


RUNS = [
    *beside("slow", "one", CROWD, 100, 1000),
    *beside("slow", "two", CROWD, 200, 800),
    *beside("middle", "one", CROWD, 400, 1000),
    *beside("fast", "one", CROWD, 2000, 1000),
]


def test_a_peer_is_compared_at_its_best_setting_with_what_was_measured_beside_it():
    (found,) = compare(THROUGHPUT, RUNS[:6])
    assert (found.setting, found.theirs, found.times_better[Placement.PROCESSES]) == ("two", 200, 4)


def test_the_lowest_latency_is_the_best():
    runs = [
        *beside("slow", "one", ALONE, 100, 300, p50_ms=8),
        *beside("slow", "two", ALONE, 100, 300, p50_ms=1),
    ]
    (found,) = compare(P50, runs)
    assert (found.setting, found.times_better[Placement.IN_PROCESS]) == ("two", 0.5)


def test_rows_are_counted_for_requests_of_many():
    (found,) = compare(ROWS, beside("slow", "one", TABLES, 10, 100))
    assert found.theirs == 2560


def test_a_peer_that_wins_is_shown_as_a_loss():
    comparisons = compare(THROUGHPUT, RUNS)
    assert comparisons[0].peer == "fast"
    assert summary(comparisons, Placement.PROCESSES) == (0.5, 2.5)


def test_bars_hold_every_peer_and_both_placements():
    bars = bars_of(compare(THROUGHPUT, RUNS))
    assert list(bars) == [
        "Predmesh, processes",
        "Predmesh, in process",
        "fast, one",
        "middle, one",
        "slow, two",
    ]


def report(runs: list[Measured]) -> Report:
    return Report(
        machine=MACHINE, options={}, versions={"slow": "1.2"}, skipped=["Ray: no wheel"], requests="", measured=runs
    )


def every_shape() -> list[Measured]:
    return [each for shape in SHAPES for each in beside("slow", "one", shape, 100, 300)]


def test_a_report_is_written_as_json_markdown_and_a_chart(tmp_path: Path):
    report(every_shape()).write(tmp_path)
    document = json.loads((tmp_path / "peers.json").read_text())
    assert document["times_better"][THROUGHPUT.what]["processes"] == {"best": 3, "median": 3}
    assert "Ray: no wheel" in (tmp_path / "peers.md").read_text()
    assert ElementTree.parse(tmp_path / "peers.svg").getroot().tag.endswith("svg")


@pytest.mark.parametrize(("who", "right"), [(PEER, True), (Placement.PROCESSES, False)])
def test_only_requests_that_predmesh_failed_make_a_report_wrong(who: str, right: bool):
    runs = [*every_shape(), measured("slow", "one", who, CROWD, 100, failed=1)]
    assert report(runs).right is right
