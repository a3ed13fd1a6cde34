"""Runs scenarios on started servers, contest by contest, and checks what they answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from loadtests.bench.asking import Ask, asks
from loadtests.bench.checking import Check, Prediction, check_grpc, check_rest, expected
from loadtests.bench.figures import Measured
from loadtests.bench.generators import ghz, vegeta, write_messages, write_posts
from loadtests.bench.runs import Load, Run
from loadtests.bench.scenarios import Contest, Face, Scenario, Server, ghz_file
from loadtests.bench.servers import Started
from loadtests.bench.usage import cpu_by_program, cpu_seconds

Say = Callable[[str], None]


@dataclass(slots=True)
class Bench:
    """The servers under measurement, and the files of what is sent to them."""

    servers: Mapping[Server, Started]
    folder: Path
    """Takes requests and ghz's configurations; what lies there from another run is written anew."""
    _written: set[Path] = field(default_factory=set)
    _asked: dict[str, list[Ask]] = field(default_factory=dict)
    _wanted: dict[str, list[list[Prediction]]] = field(default_factory=dict)

    def measure(self, contests: Sequence[Contest], say: Say) -> Iterator[Measured]:
        """Every run of the *contests*, the scenarios of each by turns."""
        for contest in contests:
            for turn in range(contest.rounds):
                for scenario in contest.scenarios:
                    measured = self.once(scenario, turn)
                    say(line(measured))
                    yield measured

    def once(self, scenario: Scenario, turn: int = 0) -> Measured:
        """One run."""
        server = self.servers[scenario.server]
        pids = server.pids()
        before = cpu_seconds(pids)
        run = self._send(scenario, server)
        after = cpu_seconds(pids)
        return Measured(scenario=scenario, turn=turn, run=run, cpu_seconds=cpu_by_program(pids, before, after))

    def warm(self, scenarios: Sequence[Scenario], seconds: float) -> None:
        """Loads each server a little, by each way in that the *scenarios* use."""
        ways = {(each.server, each.face, each.route): each for each in scenarios}
        for each in ways.values():
            self.once(
                Scenario(
                    server=each.server, face=each.face, route=each.route, load=Load(concurrency=16, seconds=seconds)
                )
            )

    def check(self, scenarios: Sequence[Scenario]) -> list[Check]:
        """Checks the contents of every distinct request of the mesh's *scenarios*, by each way in that they use."""
        mesh = self.servers[Server.MESH]
        ways = {(each.requests, each.route): each for each in scenarios if each.server is Server.MESH}
        return [self._check(each, mesh) for each in ways.values()]

    def _check(self, scenario: Scenario, mesh: Started) -> Check:
        kind, asked = scenario.requests, self.asked(scenario)
        if kind not in self._wanted:
            self._wanted[kind] = expected(mesh.direct, asked)
        if scenario.face is Face.REST:
            return check_rest(mesh.gateway, asked, self._wanted[kind], self.folder)
        return check_grpc(mesh.host(scenario), asked, self._wanted[kind])

    def asked(self, scenario: Scenario) -> list[Ask]:
        """What *scenario* sends."""
        if scenario.requests not in self._asked:
            self._asked[scenario.requests] = asks(scenario.rows, scenario.models)
        return self._asked[scenario.requests]

    def _send(self, scenario: Scenario, server: Started) -> Run:
        host = server.host(scenario)
        if scenario.face is Face.REST:
            path = self.folder / f"{scenario.server}-{scenario.requests}.targets"
            if self._is_new(path):
                write_posts(path, ((f"http://{host}{ask.path}", ask.body) for ask in self.asked(scenario)))
            return vegeta(scenario.name, path, scenario.load)
        path = self.folder / f"{scenario.requests}.json"
        if self._is_new(path):
            write_messages(path, [ask.message for ask in self.asked(scenario)])
        config = ghz_file(scenario, messages=path, host=host)
        return ghz(scenario.name, config, scenario.load, self.folder / f"{scenario.name}.json")

    def _is_new(self, path: Path) -> bool:
        new = path not in self._written
        self._written.add(path)
        return new


def line(measured: Measured) -> str:
    """One run in a line, while it is waited for."""
    run, cost = measured.run, sum(measured.cpu_us_per_request().values())
    times = f"p50 {run.p50_ms:>7.2f}  p95 {run.p95_ms:>7.2f} ms"
    words = f"{run.name:<36} {run.per_second:>8,.0f}/s  {times}  {cost:>6,.0f} µs CPU"
    return words + (f"  {run.failed} FAILED: {'; '.join(run.errors)}" if run.failed else "")
