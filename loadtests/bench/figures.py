"""What runs come to: ratios of servers that ran by turns, with their spread, and the figures that have a target."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from predmesh_cli.topology import GATEWAY

from loadtests.bench.runs import Run
from loadtests.bench.scenarios import Face, Route, Scenario, Server


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One run of a scenario and what the server spent on it."""

    scenario: Scenario
    turn: int
    """Which round of its contest it was, from 0."""
    run: Run
    cpu_seconds: Mapping[str, float]
    """By program."""

    @property
    def answered(self) -> int:
        """Requests answered well."""
        return self.run.requests - self.run.failed

    @property
    def rows_per_second(self) -> float:
        """Rows answered a second."""
        return self.run.per_second * self.scenario.rows

    def cpu_us_per_request(self) -> dict[str, float]:
        """Microseconds of CPU a request, by program."""
        return {name: seconds / max(1, self.answered) * 1e6 for name, seconds in self.cpu_seconds.items()}


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure taken several times."""

    values: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError("a figure was never taken")

    @property
    def median(self) -> float:
        """The figure."""
        return statistics.median(self.values)

    @property
    def low(self) -> float:
        """The least."""
        return min(self.values)

    @property
    def high(self) -> float:
        """The most."""
        return max(self.values)

    def shown(self, form: str) -> str:
        """The median in the format *form*, with the range where it was taken more than once."""
        middle = format(self.median, form)
        if len(self.values) == 1:
            return middle
        return f"{middle} ({format(self.low, form)}-{format(self.high, form)} in {len(self.values)})"


def ratio(over: Sequence[float], under: Sequence[float]) -> Spread:
    """Neighbour by neighbour: what slowed one round slowed both of its runs."""
    return Spread(tuple(each / other for each, other in zip(over, under, strict=True)))


@dataclass(frozen=True, slots=True)
class Target:
    """What a figure should be."""

    bound: float
    at_least: bool
    form: str
    unit: str = ""

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {format(self.bound, self.form)}{self.unit}"

    def met(self, value: float) -> bool:
        """Whether *value* is good enough."""
        return value >= self.bound if self.at_least else value <= self.bound


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the summary."""

    what: str
    spread: Spread
    target: Target | None = None
    form: str = ".2f"
    unit: str = ""

    @property
    def verdict(self) -> str:
        """`met` or `missed`; empty without a target."""
        return "" if self.target is None else "met" if self.target.met(self.spread.median) else "missed"

    @property
    def shown(self) -> str:
        """The figure with its spread and unit."""
        return self.spread.shown(self.form) + self.unit


def figures(measured: Sequence[Measured]) -> list[Figure]:
    """Every figure that what was *measured* allows, those with a target first."""
    return [*_ratios(measured), *_latencies(measured), *_rows(measured), *_costs(measured)]


def of(
    measured: Sequence[Measured],
    server: Server,
    face: Face,
    route: Route,
    concurrency: int,
    rows: int = 1,
) -> list[Measured]:
    """The runs of one closed-loop scenario of a single model, in order."""
    return [
        each
        for each in measured
        if (each.scenario.server, each.scenario.face, each.scenario.route) == (server, face, route)
        and (each.scenario.load.concurrency, each.scenario.rows) == (concurrency, rows)
        and len(each.scenario.models) == 1
    ]


_RATIOS: tuple[tuple[str, Face, Route, int, Server, float], ...] = (
    ("gRPC direct, c=64 / dressed echo", Face.GRPC, Route.DIRECT, 64, Server.DRESSED, 0.9),
    ("gRPC direct, c=64 / bare echo", Face.GRPC, Route.DIRECT, 64, Server.BARE, 0.75),
    ("gRPC through Envoy, c=64 / bare echo through Envoy", Face.GRPC, Route.GATEWAY, 64, Server.BARE, 1.2),
    ("gRPC through Envoy, c=200 / bare echo through Envoy", Face.GRPC, Route.GATEWAY, 200, Server.BARE, 1.2),
    ("REST through Envoy, c=64 / bare echo transcoded", Face.REST, Route.GATEWAY, 64, Server.BARE, 1.1),
    ("REST through Envoy, c=200 / bare echo transcoded", Face.REST, Route.GATEWAY, 200, Server.BARE, 1.1),
)


def _ratios(measured: Sequence[Measured]) -> list[Figure]:
    lines = []
    for what, face, route, concurrency, server, bound in _RATIOS:
        ours, theirs = (_rates(of(measured, each, face, route, concurrency)) for each in (Server.MESH, server))
        turns = sorted(ours.keys() & theirs.keys())
        if turns:
            over, under = ([side[turn] for turn in turns] for side in (ours, theirs))
            lines.append(Figure(what, ratio(over, under), Target(bound, True, ".2f")))
    return lines


def _rates(runs: Sequence[Measured]) -> dict[int, float]:
    """Requests a second by turn, where any was answered."""
    return {each.turn: each.run.per_second for each in runs if each.answered}


def _latencies(measured: Sequence[Measured]) -> list[Figure]:
    asked: tuple[tuple[str, Face, Route, int, Callable[[Run], float], float | None], ...] = (
        ("p50 at c=1, REST through Envoy", Face.REST, Route.GATEWAY, 1, lambda run: run.p50_ms, 3.5),
        ("p50 at c=1, gRPC through Envoy", Face.GRPC, Route.GATEWAY, 1, lambda run: run.p50_ms, 3.0),
        ("p50 at c=1, gRPC direct", Face.GRPC, Route.DIRECT, 1, lambda run: run.p50_ms, None),
        ("p95 at c=64, REST through Envoy", Face.REST, Route.GATEWAY, 64, lambda run: run.p95_ms, 30.0),
    )
    return [
        Figure(
            what,
            Spread(tuple(take(each.run) for each in found)),
            Target(bound, False, ".1f", " ms") if bound else None,
            unit=" ms",
        )
        for what, face, route, concurrency, take, bound in asked
        if (found := of(measured, Server.MESH, face, route, concurrency))
    ]


def _rows(measured: Sequence[Measured]) -> list[Figure]:
    names = {
        (Face.GRPC, Route.DIRECT): "gRPC direct",
        (Face.GRPC, Route.GATEWAY): "gRPC through Envoy",
        (Face.REST, Route.GATEWAY): "REST through Envoy",
    }
    return [
        Figure(
            f"rows/s at 256 rows, c=16, {name}",
            Spread(tuple(each.rows_per_second for each in found)),
            Target(50_000, True, ",.0f"),
            ",.0f",
        )
        for (face, route), name in names.items()
        if (found := of(measured, Server.MESH, face, route, 16, 256))
    ]


def _costs(measured: Sequence[Measured]) -> list[Figure]:
    asked = (
        ("CPU a request, c=64, gRPC direct, without Envoy", Face.GRPC, Route.DIRECT, 400.0),
        ("CPU a request, c=64, gRPC through Envoy, all", Face.GRPC, Route.GATEWAY, 350.0),
        ("CPU a request, c=64, REST through Envoy, all", Face.REST, Route.GATEWAY, 500.0),
    )
    return [
        Figure(
            what,
            Spread(
                tuple(
                    sum(
                        cost
                        for name, cost in each.cpu_us_per_request().items()
                        if route is Route.GATEWAY or name != GATEWAY
                    )
                    for each in found
                )
            ),
            Target(bound, False, ".0f", " µs"),
            ".0f",
            " µs",
        )
        for what, face, route, bound in asked
        if (found := of(measured, Server.MESH, face, route, 64))
    ]
