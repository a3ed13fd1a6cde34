"""What is measured, as data: scenarios, and the contests whose scenarios run by turns; nothing is started here."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from loadtests.bench.flights import MODEL
from loadtests.bench.generators import ghz_config
from loadtests.bench.runs import Load

WINE = "wine"


class Server(enum.StrEnum):
    """Who answers."""

    MESH = "mesh"
    """The whole graph: validation, features, preprocessing, Triton."""
    DRESSED = "dressed"
    """An echo with the mesh's own server and its validation, no stages."""
    BARE = "bare"
    """An echo of grpc.aio and nothing else."""


class Face(enum.StrEnum):
    """What the caller speaks."""

    GRPC = "grpc"
    REST = "rest"


class Route(enum.StrEnum):
    """How the call gets there."""

    DIRECT = "direct"
    """To the server's own unix socket."""
    GATEWAY = "gateway"
    """Through Envoy in the gateway's configuration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One load on one server."""

    server: Server = Server.MESH
    face: Face
    route: Route = Route.GATEWAY
    rows: int = 1
    """Of each request."""
    load: Load
    models: tuple[str, ...] = (MODEL,)
    """Asked in turn."""

    def __post_init__(self) -> None:
        if self.face is Face.REST and self.route is Route.DIRECT:
            raise ValueError("REST goes through the gateway: the front behind it is private")
        if self.server is not Server.MESH and (self.rows, self.models) != (1, (MODEL,)):
            raise ValueError("the echoes answer one flight a request")

    @property
    def requests(self) -> str:
        """The name of what is sent, shared by all scenarios that send the same."""
        return f"{self.face}-{self.rows}row" + ("-mixed" if len(self.models) > 1 else "")

    @property
    def name(self) -> str:
        """E.g. `mesh-grpc-direct-1row-c64`."""
        pace = f"c{self.load.concurrency}" if self.load.concurrency else f"{self.load.rate}rps"
        rows = self.requests.removeprefix(f"{self.face}-")
        return f"{self.server}-{self.face}-{self.route}-{rows}-{pace}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """Scenarios that run by turns, A B A B …, so that what slows the machine slows all of them."""

    scenarios: tuple[Scenario, ...]
    rounds: int

    @property
    def runs(self) -> int:
        """How many runs it takes."""
        return self.rounds * len(self.scenarios)


def closed(
    face: Face,
    route: Route,
    concurrency: int,
    seconds: float,
    *,
    server: Server = Server.MESH,
    rows: int = 1,
    models: tuple[str, ...] = (MODEL,),
) -> Scenario:
    """A closed loop."""
    load = Load(concurrency=concurrency, seconds=seconds)
    return Scenario(server=server, face=face, route=route, rows=rows, load=load, models=models)


def contests(*, rounds: int, seconds: float) -> tuple[Contest, ...]:
    """All of `make bench`.

    Args:
        rounds: runs of each scenario that a ratio is taken of.
        seconds: length of each of them; the others take as long.
    """
    direct, gateway, grpc, rest = Route.DIRECT, Route.GATEWAY, Face.GRPC, Face.REST

    def against(face: Face, route: Route, concurrency: int, *servers: Server) -> Contest:
        first = closed(face, route, concurrency, seconds)
        return Contest(scenarios=(first, *(replace(first, server=server) for server in servers)), rounds=rounds)

    def once(*scenarios: Scenario) -> Contest:
        return Contest(scenarios=scenarios, rounds=1)

    return (
        against(grpc, direct, 64, Server.DRESSED, Server.BARE),
        *(against(grpc, gateway, concurrency, Server.BARE) for concurrency in (64, 200)),
        *(against(rest, gateway, concurrency, Server.BARE) for concurrency in (64, 200)),
        *(
            once(
                *(closed(face, route, concurrency, seconds) for face, route in ((grpc, direct), (grpc, gateway))),
                closed(rest, gateway, concurrency, seconds),
            )
            for concurrency in (1, 16)
        ),
        once(closed(grpc, direct, 200, seconds)),
        *(
            once(
                closed(grpc, direct, 16, seconds, rows=rows),
                closed(grpc, gateway, 16, seconds, rows=rows),
                closed(rest, gateway, 16, seconds, rows=rows),
            )
            for rows in (32, 256)
        ),
        once(
            closed(grpc, gateway, 64, seconds, models=(MODEL, WINE)),
            closed(rest, gateway, 64, seconds, models=(MODEL, WINE)),
        ),
    )


def open_loops(capacity: float, *, seconds: float) -> Contest:
    """One row over REST at fixed rates, shares of what the mesh can do."""
    rates = (max(1, round(capacity * share)) for share in (0.2, 0.4, 0.6, 0.7, 0.8))
    return Contest(
        scenarios=tuple(Scenario(face=Face.REST, load=Load(rate=rate, seconds=seconds)) for rate in rates), rounds=1
    )


def quick(chosen: tuple[Contest, ...], seconds: float) -> tuple[Contest, ...]:
    """The same, every scenario once for *seconds*."""
    return tuple(
        Contest(
            scenarios=tuple(replace(each, load=replace(each.load, seconds=seconds)) for each in contest.scenarios),
            rounds=1,
        )
        for contest in chosen
    )


def ghz_file(scenario: Scenario, *, messages: Path, host: str) -> Mapping[str, Any]:
    """The ghz configuration of a scenario over gRPC, named after it."""
    if scenario.face is not Face.GRPC:
        raise ValueError(f"{scenario.name} is REST: vegeta sends it")
    return {"name": scenario.name, **ghz_config(scenario.load, messages, host=host)}
