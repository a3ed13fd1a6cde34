import json
from pathlib import Path

import pytest

from loadtests.bench.flights import MODEL
from loadtests.bench.runs import Load
from loadtests.bench.scenarios import WINE, Face, Route, Scenario, Server, contests, ghz_file, open_loops, quick
from loadtests.run import chosen_contests, parser


def scenario(**changes: object) -> Scenario:
    given = {"face": Face.GRPC, "route": Route.DIRECT, "load": Load(concurrency=64, seconds=3)}
    return Scenario(**{**given, **changes})  # type: ignore[arg-type]


def test_a_closed_loop_becomes_a_ghz_configuration_of_as_many_callers():
    config = ghz_file(scenario(), messages=Path("/data/one.json"), host="unix:///run/prediction.sock")
    assert config["name"] == "mesh-grpc-direct-1row-c64"
    assert config["host"] == "unix:///run/prediction.sock"
    assert config["data-file"] == "/data/one.json"
    assert config["call"] == "predmesh.prediction.v1.PredictionService/Predict"
    assert (config["concurrency"], config["connections"], config["duration"]) == (64, 8, "3s")
    assert "rps" not in config
    assert json.loads(json.dumps(config)) == config


def test_a_fixed_rate_becomes_a_ghz_configuration_that_does_not_wait_for_answers():
    config = ghz_file(scenario(load=Load(rate=500, seconds=2.5)), messages=Path("one.json"), host="127.0.0.1:8080")
    assert (config["rps"], config["async"], config["duration"]) == (500, True, "2.5s")


def test_one_caller_has_one_connection():
    config = ghz_file(scenario(load=Load(concurrency=1, seconds=1)), messages=Path("one.json"), host="h:1")
    assert config["connections"] == 1


def test_rest_is_not_sent_by_ghz():
    rest = scenario(face=Face.REST, route=Route.GATEWAY)
    with pytest.raises(ValueError, match="mesh-rest-gateway-1row-c64 is REST"):
        ghz_file(rest, messages=Path("one.json"), host="h:1")


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"rows": 256}, "mesh-grpc-direct-256row-c64"),
        ({"server": Server.BARE}, "bare-grpc-direct-1row-c64"),
        ({"models": (MODEL, WINE)}, "mesh-grpc-direct-1row-mixed-c64"),
        (
            {"face": Face.REST, "route": Route.GATEWAY, "load": Load(rate=900, seconds=1)},
            "mesh-rest-gateway-1row-900rps",
        ),
    ],
    ids=["rows", "server", "models", "rate"],
)
def test_a_name_says_all_that_differs(changes: dict[str, object], name: str):
    assert scenario(**changes).name == name


def test_rest_has_no_direct_way():
    with pytest.raises(ValueError, match="private"):
        scenario(face=Face.REST)


def test_an_echo_answers_one_flight_only():
    with pytest.raises(ValueError, match="one flight"):
        scenario(server=Server.BARE, rows=32)


@pytest.mark.parametrize(("concurrency", "rate"), [(0, 0), (1, 1)])
def test_a_load_is_either_closed_or_open(concurrency: int, rate: int):
    with pytest.raises(ValueError, match="either"):
        Load(seconds=1, concurrency=concurrency, rate=rate)


def test_every_ratio_is_taken_in_five_rounds_and_no_name_stands_twice():
    every = contests(rounds=5, seconds=3)
    compared = [contest for contest in every if len({each.server for each in contest.scenarios}) > 1]
    assert {contest.rounds for contest in compared} == {5}
    names = [each.name for contest in every for each in contest.scenarios]
    assert len(names) == len(set(names))


def test_the_bench_fits_into_five_minutes():
    seconds = sum(
        contest.rounds * each.load.seconds for contest in contests(rounds=5, seconds=3) for each in contest.scenarios
    )
    # What is left is for starting, checking twice and the open loops.
    assert seconds <= 240


def test_quick_runs_each_scenario_once_and_shortly():
    every = quick(contests(rounds=5, seconds=3), 1)
    assert {contest.rounds for contest in every} == {1}
    assert {each.load.seconds for contest in every for each in contest.scenarios} == {1}


def test_open_loops_are_shares_of_the_capacity():
    assert [each.load.rate for each in open_loops(1000, seconds=2).scenarios] == [200, 400, 600, 700, 800]


def asked_for(*words: str) -> list[str]:
    return [each.name for contest in chosen_contests(parser().parse_args(words)) for each in contest.scenarios]


def test_scenarios_are_chosen_by_name():
    assert asked_for("--only", "bare-*-c200") == ["bare-grpc-gateway-1row-c200", "bare-rest-gateway-1row-c200"]
    assert asked_for("--only", "nothing") == []


def test_everything_is_measured_unless_some_is_chosen():
    assert asked_for() == [each.name for contest in contests(rounds=5, seconds=3) for each in contest.scenarios]


def test_a_placement_is_given_as_yaml():
    assert parser().parse_args(["--patch", "stages: in-process"]).patch == {"stages": "in-process"}


@pytest.mark.parametrize("text", ["in-process", "a: [", "- a"])
def test_a_patch_without_keys_is_refused(text: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        parser().parse_args(["--patch", text])
    assert "--patch" in capsys.readouterr().err
