"""Serves a PyTorch model on Triton, on the GPU where there is one, beside a loop over the same file: `make bench-gpu`.

Every answer is compared with the loop's to 1e-4. Answers 1 when one failed or differs; a missed target does not.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from predmesh_inference.devices import count_gpus
from predmesh_inference.install import install
from predmesh_inference.installation import environment_folder

from loadtests.bench.options import RESULTS, end_cleanly, say
from loadtests.bench.runs import Load
from loadtests.bench.usage import Machine
from loadtests.gpu.asking import Question, ask, questions
from loadtests.gpu.offline import Offline, Plan, plan_for
from loadtests.gpu.report import Report, Round
from loadtests.gpu.serving import MODEL, Serving, serving
from loadtests.gpu.watching import watching

PARTS = 16
"""Requests that fill a batch."""
BATCHES_WAITED_FOR = 3
"""What the callers ask at once: two that run, or one that runs and its copies, and one that gathers."""


def main() -> int:
    """Measures, prints the report and writes it."""
    options = parser().parse_args()
    end_cleanly()
    plan = plan_for(count_gpus())
    install(["torch"], say=say)
    with tempfile.TemporaryDirectory(prefix="predmesh-gpu-") as name:
        folder = Path(name)
        say(f"making a model for the {'GPU' if plan.gpu else 'CPU: there is no GPU here'}")
        offline = Offline.make(plan, environment_folder() / "bin" / "python", folder)
        say("starting a mesh")
        with serving(plan, offline, folder) as served:
            rounds = [_round(served, plan, offline, options.seconds) for _ in range(options.rounds)]
    report = Report(machine=Machine.this(), plan=plan, made=offline.made, rounds=rounds)
    report.write(options.out)
    print(report.markdown())
    return 0 if report.right else 1


def _round(served: Serving, plan: Plan, offline: Offline, seconds: float) -> Round:
    rate = offline.rows_per_second(seconds)
    say(f"loop: {rate:,.0f} rows/s")
    rows = plan.batch_rows // PARTS
    found = asyncio.run(_load(served, plan, questions(MODEL, *offline.known(), rows), seconds, rate, rows))
    say(f"mesh: {found.served:,.0f} rows/s, p95 {found.run.p95_ms:.1f} ms, {found.run.failed} failed")
    return found


async def _load(
    served: Serving, plan: Plan, asked: Sequence[Question], seconds: float, offline: float, rows: int
) -> Round:
    callers = BATCHES_WAITED_FOR * PARTS
    await ask(served.gateway, asked, Load(concurrency=callers, seconds=seconds / 3), "warm-up")
    async with watching(served.metrics, gpu=plan.gpu) as watched:
        run = await ask(served.gateway, asked, Load(concurrency=callers, seconds=seconds), f"{rows} rows a request")
    return Round(
        offline=offline,
        run=run,
        rows=rows,
        rows_per_batch=watched.rows_per_batch,
        most_in_flight=watched.most_in_flight,
        utilisation=watched.utilisation,
    )


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m loadtests.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--rounds", type=int, default=3, help="the loop, then the mesh; %(default)s")
    made.add_argument("--seconds", type=float, default=5.0, help="length of each; %(default)s")
    made.add_argument("--out", type=Path, default=RESULTS / "gpu", help="folder of gpu.json and gpu.md")
    return made


if __name__ == "__main__":
    sys.exit(main())
