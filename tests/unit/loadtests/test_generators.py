import base64
import json
from pathlib import Path

import pytest

from loadtests.bench.flights import flights, grpc_message, requests
from loadtests.bench.generators import ghz_run, vegeta_run, vegeta_words, write_posts, write_targets
from loadtests.bench.runs import Load


def test_what_vegeta_reports_is_a_run():
    report = {
        "latencies": {"50th": 20_130_000, "95th": 31_740_000, "99th": 47_170_000},
        "requests": 8341,
        "throughput": 2762.1,
        "status_codes": {"200": 8338, "503": 2, "0": 1},
        "errors": ["503 Service Unavailable", "refused", "reset", "a fourth"],
    }
    run = vegeta_run("REST", Load(concurrency=64, seconds=3), report)
    assert (run.requests, run.failed, run.per_second) == (8341, 3, 2762.1)
    assert (run.p50_ms, run.p95_ms, run.p99_ms) == pytest.approx((20.13, 31.74, 47.17))
    assert run.errors == ("503 Service Unavailable", "refused", "reset")


def test_what_ghz_reports_is_a_run_whose_rate_counts_good_answers():
    report = {
        "count": 4670,
        "total": 3_000_000_000,
        "rps": 1556.7,
        "statusCodeDistribution": {"OK": 4500, "Unavailable": 170},
        "errorDistribution": {"rpc error: code = Unavailable desc = away": 170},
        "latencyDistribution": [{"percentage": each, "latency": each * 1_000_000} for each in (50, 95, 99)],
    }
    run = ghz_run("gRPC", Load(concurrency=64, seconds=3), report)
    assert (run.requests, run.failed, run.per_second) == (4670, 170, 1500)
    assert (run.p50_ms, run.p95_ms, run.p99_ms) == (50, 95, 99)
    assert run.errors == ("rpc error: code = Unavailable desc = away",)


def test_a_run_without_any_answer_is_all_failed():
    report = {"count": 3, "total": 1_000_000_000, "statusCodeDistribution": {"Unavailable": 3}}
    run = ghz_run("gRPC", Load(concurrency=1, seconds=1), report)
    assert (run.failed, run.per_second) == (3, 0)


def test_a_closed_loop_bounds_vegetas_workers():
    words = vegeta_words(Path("t"), Load(concurrency=16, seconds=3))
    assert {"-rate=0", "-workers=16", "-max-workers=16", "-duration=3s", "-targets=t"} <= set(words)


def test_an_open_loop_keeps_its_rate():
    assert "-rate=700/1s" in vegeta_words(Path("t"), Load(rate=700, seconds=3))


def test_targets_carry_their_bodies(tmp_path: Path):
    path = write_posts(tmp_path / "t", [("http://a/1", {"instances": [1]}), ("http://a/2", {"instances": [2]})])
    first, second = map(json.loads, path.read_text().splitlines())
    assert (first["method"], first["url"], second["url"]) == ("POST", "http://a/1", "http://a/2")
    assert json.loads(base64.b64decode(second["body"])) == {"instances": [2]}


def test_a_target_without_bodies_is_a_get(tmp_path: Path):
    assert json.loads(write_targets(tmp_path / "t", "http://a/healthz").read_text()) == {
        "method": "GET",
        "url": "http://a/healthz",
    }


def test_no_flight_is_asked_about_twice():
    asked = requests(32)
    rows = [json.dumps(row) for each in asked for row in each]
    assert {len(each) for each in asked} == {32}
    assert len(rows) == len(set(rows)) == 32 * 625


def test_a_flight_brings_what_the_bundle_takes_as_a_message():
    (row,) = flights(1)
    assert set(row) == {"carrier", "origin", "dest", "tailnum", "scheduled_departure", "distance_miles"}
    assert grpc_message([row]) == {"model": "flight-delay", "instances": [row]}


def test_more_flights_than_there_are_are_refused():
    with pytest.raises(ValueError, match="20,000"):
        flights(20_001)
