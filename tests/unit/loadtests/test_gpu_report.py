import json
from pathlib import Path

from loadtests.bench.runs import Load, Run
from loadtests.bench.usage import Machine
from loadtests.gpu.offline import plan_for
from loadtests.gpu.report import Report, Round

MACHINE = Machine(cpu="EPYC", cores=2, memory_gib=23.5, kernel="6.1", python="3.11.7", commit="abc")


def one_round(per_second: float = 700.0, *, utilisation: float | None = None, failed: int = 0) -> Round:
    run = Run(
        name="16 rows a request",
        load=Load(concurrency=48, seconds=5),
        requests=3500 + failed,
        failed=failed,
        per_second=per_second,
        p50_ms=60,
        p95_ms=104,
        p99_ms=120,
    )
    return Round(offline=12_800, run=run, rows=16, rows_per_batch=250, most_in_flight=3, utilisation=utilisation)


def report(*rounds: Round, gpus: int) -> Report:
    made = {"blocks": 9, "channels": 256, "parameters": 1000, "torch": "2.9", "device": "NVIDIA H200"}
    return Report(machine=MACHINE, plan=plan_for(gpus), made=made, rounds=rounds)


def verdicts(of: Report) -> dict[str, str]:
    return {each.what: each.verdict for each in of.figures if each.verdict}


def test_a_gpu_is_judged_by_its_targets():
    found = report(one_round(utilisation=93), one_round(utilisation=79), one_round(utilisation=97), gpus=1)
    assert verdicts(found) == {
        "rows/s served / rows/s of the loop": "met",
        "p95": "missed",
        "GPU utilisation": "met",
    }
    assert "| GPU utilisation | 93 (79-97 in 3) % | ≥ 80 % | met |" in found.markdown()


def test_rows_served_are_those_of_the_answered_requests():
    (ratio, *_) = report(one_round(600), gpus=0).figures
    assert ratio.spread.values == (600 * 16 / 12_800,)


def test_a_cpu_is_shown_and_not_judged():
    found = report(one_round(), gpus=0)
    assert verdicts(found) == {}
    text = found.markdown()
    assert text.startswith("Ran on the CPU: nvidia-smi shows no GPU here")
    assert "none: no GPU, ran on CPU" in text


def test_a_gpu_that_tells_no_utilisation_is_said_to():
    assert "none: nvidia-smi tells none" in report(one_round(), gpus=1).markdown()


def test_a_wrong_answer_makes_the_scenario_wrong():
    assert report(one_round(), gpus=0).right
    assert not report(one_round(), one_round(failed=1), gpus=0).right


def test_a_report_is_written_for_programs_and_for_people(tmp_path: Path):
    found = report(one_round(utilisation=93), gpus=1)
    found.write(tmp_path / "gpu")
    document = json.loads((tmp_path / "gpu" / "gpu.json").read_text())
    assert document["where"] == "Ran on the GPU NVIDIA H200."
    assert document["rounds"][0]["utilisation"] == 93
    assert (tmp_path / "gpu" / "gpu.md").read_text() == found.markdown() + "\n"
