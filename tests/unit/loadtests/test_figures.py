from dataclasses import replace

import pytest

from loadtests.bench.figures import Figure, Measured, Spread, Target, figures, ratio
from loadtests.bench.runs import Load, Run, table
from loadtests.bench.scenarios import Face, Route, Scenario, Server


def measured(
    per_second: float,
    *,
    server: Server = Server.MESH,
    face: Face = Face.GRPC,
    route: Route = Route.DIRECT,
    concurrency: int = 64,
    rows: int = 1,
    turn: int = 0,
    p50_ms: float = 20.0,
    p95_ms: float = 30.0,
    cpu: dict[str, float] | None = None,
) -> Measured:
    load = Load(concurrency=concurrency, seconds=3)
    scenario = Scenario(server=server, face=face, route=route, rows=rows, load=load)
    requests = round(per_second * 3)
    run = Run(
        name=scenario.name,
        load=load,
        requests=requests,
        failed=0,
        per_second=per_second,
        p50_ms=p50_ms,
        p95_ms=p95_ms,
        p99_ms=40.0,
    )
    return Measured(scenario=scenario, turn=turn, run=run, cpu_seconds=cpu or {})


def by_name(found: list[Figure]) -> dict[str, Figure]:
    return {each.what: each for each in found}


def test_a_ratio_is_taken_of_neighbours():
    # The machine was half as fast in the second round: each pair still says 0.8 or 0.9.
    found = ratio([4000.0, 2250.0, 4500.0], [5000.0, 2500.0, 5000.0])
    assert found.values == pytest.approx((0.8, 0.9, 0.9))
    assert (found.median, found.low, found.high) == pytest.approx((0.9, 0.8, 0.9))


def test_a_ratio_of_unequally_many_runs_is_refused():
    with pytest.raises(ValueError, match="shorter"):
        ratio([1.0, 2.0], [1.0])


def test_a_spread_shows_its_range_and_how_often_it_was_taken():
    assert Spread((0.9, 0.8, 1.0)).shown(".2f") == "0.90 (0.80-1.00 in 3)"
    assert Spread((51234.4,)).shown(",.0f") == "51,234"


def test_a_spread_of_nothing_is_refused():
    with pytest.raises(ValueError, match="never"):
        Spread(())


@pytest.mark.parametrize(
    ("target", "value", "met"),
    [
        (Target(0.9, True, ".2f"), 0.9, True),
        (Target(0.9, True, ".2f"), 0.89, False),
        (Target(30, False, ".0f", " ms"), 30, True),
        (Target(30, False, ".0f", " ms"), 30.1, False),
    ],
)
def test_a_target_is_a_bound(target: Target, value: float, met: bool):
    assert target.met(value) is met


def test_direct_grpc_is_compared_with_both_echoes_round_by_round():
    rounds = [(3000.0, 3200.0, 4000.0), (1500.0, 1650.0, 2000.0)]
    runs = [
        measured(rate, server=server, turn=turn)
        for turn, rates in enumerate(rounds)
        for rate, server in zip(rates, (Server.MESH, Server.DRESSED, Server.BARE), strict=True)
    ]
    found = by_name(figures(runs))
    dressed, bare = found["gRPC direct, c=64 / dressed echo"], found["gRPC direct, c=64 / bare echo"]
    assert dressed.spread.values == pytest.approx((0.9375, 0.90909), abs=1e-4)
    assert bare.spread.values == pytest.approx((0.75, 0.75))
    assert (dressed.verdict, bare.verdict) == ("met", "met")


def test_a_ratio_needs_both_sides():
    assert not [each for each in figures([measured(3000.0)]) if "/" in each.what]


def test_a_round_that_nobody_answered_is_no_ratio():
    runs = [
        measured(rate, server=server, turn=turn)
        for turn, rates in enumerate([(3000.0, 4000.0), (3000.0, 0.0)])
        for rate, server in zip(rates, (Server.MESH, Server.BARE), strict=True)
    ]
    assert by_name(figures(runs))["gRPC direct, c=64 / bare echo"].spread.values == (0.75,)


def test_latency_and_rows_come_from_their_own_scenarios():
    runs = [
        measured(300, face=Face.REST, route=Route.GATEWAY, concurrency=1, p50_ms=3.4),
        measured(2800, face=Face.REST, route=Route.GATEWAY, p95_ms=31.0),
        measured(210, face=Face.REST, route=Route.GATEWAY, concurrency=16, rows=256),
    ]
    found = by_name(figures(runs))
    assert found["p50 at c=1, REST through Envoy"].shown == "3.40 ms"
    assert found["p95 at c=64, REST through Envoy"].verdict == "missed"
    rows = found["rows/s at 256 rows, c=16, REST through Envoy"]
    assert (rows.shown, rows.verdict) == ("53,760", "met")


def test_cpu_of_a_direct_call_leaves_envoy_out():
    cpu = {"prediction": 0.9, "features": 0.3, "envoy": 0.6}
    direct, gateway = measured(1000, cpu=cpu), measured(1000, route=Route.GATEWAY, cpu=cpu)
    found = by_name(figures([direct, gateway]))
    assert found["CPU a request, c=64, gRPC direct, without Envoy"].shown == "400 µs"
    assert found["CPU a request, c=64, gRPC through Envoy, all"].shown == "600 µs"


def test_cpu_is_shared_among_the_requests_answered_well():
    found = measured(1000, cpu={"prediction": 0.6})
    failing = replace(found, run=replace(found.run, failed=1500))
    assert failing.cpu_us_per_request() == {"prediction": pytest.approx(400)}


def test_runs_are_a_markdown_table():
    run = replace(measured(2762.4).run, failed=2)
    assert table([run]).splitlines() == [
        "| what | load | requests/s | p50 ms | p95 ms | p99 ms | failed |",
        "|---|---|---|---|---|---|---|",
        "| mesh-grpc-direct-1row-c64 | c=64 | 2,762 | 20.00 | 30.00 | 40.00 | 2 of 8,287 |",
    ]
