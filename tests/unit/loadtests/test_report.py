import json
from pathlib import Path
from xml.etree import ElementTree

from loadtests.bench.checking import Check
from loadtests.bench.figures import Measured
from loadtests.bench.plots import cost_against_rows, draw, latency_against_load, throughput_against_concurrency
from loadtests.bench.report import Report
from loadtests.bench.runs import Load, Run
from loadtests.bench.scenarios import Face, Route, Scenario
from loadtests.bench.usage import Machine, cpu_by_program
from loadtests.soak import Soak

MACHINE = Machine(cpu="EPYC", cores=2, memory_gib=23.5, kernel="6.1", python="3.11.7", commit="abc")


def measured(load: Load, per_second: float, *, rows: int = 1, face: Face = Face.REST, failed: int = 0) -> Measured:
    scenario = Scenario(face=face, route=Route.GATEWAY, rows=rows, load=load)
    run = Run(
        name=scenario.name,
        load=load,
        requests=1000 + failed,
        failed=failed,
        per_second=per_second,
        p50_ms=2,
        p95_ms=3,
        p99_ms=4,
    )
    return Measured(scenario=scenario, turn=0, run=run, cpu_seconds={"prediction": 0.3, "envoy": 0.1})


def closed(concurrency: int, per_second: float, **rest: int) -> Measured:
    return measured(Load(concurrency=concurrency, seconds=3), per_second, **rest)  # type: ignore[arg-type]


def report(*runs: Measured, checks: tuple[Check, ...] = ()) -> Report:
    memory = {"prediction": 40 * 2**20}
    return Report(machine=MACHINE, options={}, measured=runs, checks=checks, memory_before=memory, memory_after=memory)


def test_a_failed_request_makes_the_bench_wrong():
    assert report(closed(64, 2800)).right
    assert not report(closed(64, 2800, failed=1)).right


def test_a_wrong_content_makes_the_bench_wrong():
    assert not report(closed(64, 2800), checks=(Check("REST", 10, ("request 3 is 1, not 2",)),)).right


def test_a_report_is_written_for_programs_and_for_people(tmp_path: Path):
    report(closed(64, 2800), checks=(Check("REST at h:1", 1000, ()),)).write(tmp_path)
    document = json.loads((tmp_path / "bench.json").read_text())
    (cost,) = [each for each in document["figures"] if each["what"].startswith("CPU")]
    assert (cost["median"], cost["target"], cost["verdict"]) == (400.0, "≤ 500 µs", "met")
    assert document["runs"][0]["cpu_us_per_request"] == {"prediction": 300.0, "envoy": 100.0}
    text = (tmp_path / "bench.md").read_text()
    assert "| CPU a request, c=64, REST through Envoy, all | 400 µs | ≤ 500 µs | met |" in text
    assert "| mesh-rest-gateway-1row-c64 | 400 | 100 | 300 |" in text
    assert "- REST at h:1: 1,000 answers, all right" in text


def test_the_curves_are_what_was_measured():
    rates = [measured(Load(rate=rate, seconds=3), rate) for rate in (400, 200)]
    assert latency_against_load(rates)["p95"] == [(200, 3), (400, 3)]
    callers = [closed(16, 2200), closed(1, 250), closed(16, 2400)]
    assert throughput_against_concurrency(callers) == {"rest gateway": [(1, 250), (16, 2300)]}
    sizes = [closed(16, 2300), closed(16, 200, rows=256)]
    assert cost_against_rows(sizes) == {"rest gateway": [(1, 400.0), (256, 1.5625)]}


def test_only_plots_with_points_are_drawn_and_they_are_svg(tmp_path: Path):
    (path,) = draw([closed(1, 250), closed(64, 2800)], tmp_path)
    assert path.name == "throughput-against-concurrency.svg"
    assert ElementTree.parse(path).getroot().tag.endswith("svg")


def test_the_same_figures_draw_the_same_picture(tmp_path: Path):
    runs = [closed(1, 250), closed(64, 2800)]
    first, second = (draw(runs, tmp_path)[0].read_bytes() for _ in range(2))
    assert first == second


def test_cpu_of_processes_adds_up_to_their_programs():
    pids = {1: "triton", 2: "triton", 3: "envoy"}
    assert cpu_by_program(pids, {1: 1.0, 3: 5.0}, {1: 1.5, 2: 0.25, 3: 5.5}) == {"triton": 0.75, "envoy": 0.5}


def test_a_soak_names_what_grew_since_minute_one():
    run = measured(Load(rate=900, seconds=60), 900).run
    soak = Soak(
        machine=MACHINE,
        full=[run],
        memory=[{"prediction": 100, "envoy": 100}, {"prediction": 106, "envoy": 105}],
        paced=[run],
        checks=[],
        stood_ms=[0.0, 310.5],
    )
    assert (soak.grown, soak.failed, soak.right) == (["prediction"], 0, False)
    assert "Memory grew beyond 5% in: prediction." in soak.markdown()
