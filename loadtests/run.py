"""Measures the whole graph beside echoes, on a mesh of its own: `python -m loadtests.run` (`make bench`).

Answers 1 when a request failed or a content was wrong; a missed target is told, and fails nothing.
"""

from __future__ import annotations

import argparse
import fnmatch
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from loadtests.bench.asking import Ask
from loadtests.bench.figures import Measured, figures, of
from loadtests.bench.flights import MODEL, flights
from loadtests.bench.measuring import Bench
from loadtests.bench.options import RESULTS, add_mesh_options, end_cleanly, mesh_options, say
from loadtests.bench.plots import draw
from loadtests.bench.report import Report, figure_table
from loadtests.bench.scenarios import Contest, Face, Route, Server, contests, open_loops, quick
from loadtests.bench.servers import recorded_answer, running_echoes, running_mesh
from loadtests.bench.usage import Machine, memory_by_program

WARM_SECONDS, QUICK_SECONDS = 2.0, 1.0


def main() -> int:
    """Measures, prints the figures, writes the results."""
    options = parser().parse_args()
    end_cleanly()
    chosen = chosen_contests(options)
    if options.list:
        print("\n".join(dict.fromkeys(each.name for contest in chosen for each in contest.scenarios)))
        return 0
    if not chosen:
        sys.exit("no scenario has such a name; --list shows them all")
    options.out.mkdir(parents=True, exist_ok=True)
    report = measured_report(options, chosen)
    report.write(options.out)
    plots = draw(report.measured, options.out)
    print(f"\n{report.machine}\n\n{figure_table(figures(report.measured))}\n")
    print("\n".join(map(str, report.checks)))
    print(f"written: {', '.join(str(path) for path in (options.out / 'bench.json', options.out / 'bench.md', *plots))}")
    return 0 if report.right else 1


def measured_report(options: argparse.Namespace, chosen: Sequence[Contest]) -> Report:
    """Starts the servers, and measures all that was *chosen*."""
    scenarios = [each for contest in chosen for each in contest.scenarios]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="predmesh-bench-")))
        say("starting a mesh")
        mesh = stack.enter_context(running_mesh(folder / "home", **mesh_options(options)))
        answer = recorded_answer(mesh.direct, Ask(MODEL, flights(1)), folder / "answer.binpb")
        echoes = stack.enter_context(running_echoes(mesh, answer, MODEL, folder))
        bench = Bench({Server.MESH: mesh, **echoes}, requests_folder(options.out))
        bench.warm(scenarios, WARM_SECONDS)
        say("checking contents")
        checks = bench.check(scenarios)
        before = memory_by_program(mesh.pids())
        measured = list(bench.measure(chosen, say))
        if not options.only:
            seconds = QUICK_SECONDS if options.quick else options.seconds
            measured += bench.measure([open_loops(capacity(measured), seconds=seconds)], say)
        after = memory_by_program(mesh.pids())
        say("checking contents again")
        checks += bench.check(scenarios)
    return Report(
        machine=Machine.this(),
        options={name: str(value) for name, value in vars(options).items()},
        measured=measured,
        checks=checks,
        memory_before=before,
        memory_after=after,
    )


def chosen_contests(options: argparse.Namespace) -> tuple[Contest, ...]:
    """The contests that the command line asks for, with their scenarios."""
    every = contests(rounds=options.rounds, seconds=options.seconds)
    every = quick(every, QUICK_SECONDS) if options.quick else every
    if not options.only:
        return every
    kept = (
        replace(contest, scenarios=tuple(each for each in contest.scenarios if named(each.name, options.only)))
        for contest in every
    )
    return tuple(contest for contest in kept if contest.scenarios)


def named(name: str, patterns: Sequence[str]) -> bool:
    """Whether a scenario's *name* is one of the *patterns*."""
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def requests_folder(out: Path) -> Path:
    """Where what is sent lies beside the results."""
    folder = out / "requests"
    folder.mkdir(exist_ok=True)
    return folder


def capacity(measured: Sequence[Measured]) -> float:
    """The requests a second that REST through the gateway gave at 64 callers."""
    return max(each.run.per_second for each in of(measured, Server.MESH, Face.REST, Route.GATEWAY, 64))


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--rounds", type=int, default=5, help="runs of each side of a ratio; %(default)s")
    made.add_argument("--seconds", type=float, default=3.0, help="length of a run; %(default)s")
    made.add_argument("--quick", action="store_true", help="every scenario once, for a second")
    made.add_argument("--only", nargs="+", metavar="NAME", help="scenarios by name; * stands for anything")
    made.add_argument("--list", action="store_true", help="print the scenarios' names, and measure nothing")
    made.add_argument("--out", type=Path, default=RESULTS / "bench", help="folder of the results")
    add_mesh_options(made)
    return made


if __name__ == "__main__":
    sys.exit(main())
