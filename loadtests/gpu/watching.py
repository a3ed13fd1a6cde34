"""What is looked at during a run: how busy the GPUs are, and how prediction sends its batches."""

from __future__ import annotations

import asyncio
import statistics
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from predmesh_cli.local_http import get
from prometheus_client.parser import text_string_to_metric_families

EVERY_SECONDS = 0.2
SMI = (
    "nvidia-smi",
    "--query-gpu=index,utilization.gpu",
    "--format=csv,noheader,nounits",
    f"-lms={EVERY_SECONDS * 1e3:.0f}",
)


@dataclass(frozen=True, slots=True)
class Batches:
    """Of prediction, at one moment; all its queues together."""

    in_flight: float
    left: float
    """Since it started."""
    rows: float
    """In those that left."""


@dataclass(slots=True)
class Watched:
    """What was seen during a run."""

    batches: list[Batches] = field(default_factory=list)
    gpu_lines: list[str] = field(default_factory=list)
    """Of nvidia-smi; none where there is no GPU."""

    @property
    def most_in_flight(self) -> float:
        """Batches seen on their way at once."""
        return max(each.in_flight for each in self.batches)

    @property
    def rows_per_batch(self) -> float:
        """Between the first look and the last."""
        first, last = self.batches[0], self.batches[-1]
        return (last.rows - first.rows) / max(1.0, last.left - first.left)

    @property
    def utilisation(self) -> float | None:
        """Median percentage of the busiest GPU; None where none was seen."""
        return busiest(self.gpu_lines)


@asynccontextmanager
async def watching(metrics: str, *, gpu: bool) -> AsyncIterator[Watched]:
    """Looks at the *metrics* address of prediction, and at the GPUs, until the block ends."""
    watched = Watched([await _look(metrics)])
    smi = await asyncio.create_subprocess_exec(*SMI, stdout=asyncio.subprocess.PIPE) if gpu else None
    task = asyncio.create_task(_keep_looking(metrics, watched))
    try:
        yield watched
    finally:
        if smi is not None:
            smi.terminate()
            watched.gpu_lines += (await smi.communicate())[0].decode().splitlines()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    watched.batches.append(await _look(metrics))


async def _keep_looking(metrics: str, watched: Watched) -> None:
    while True:
        await asyncio.sleep(EVERY_SECONDS)
        watched.batches.append(await _look(metrics))


async def _look(metrics: str) -> Batches:
    _, text = await asyncio.to_thread(get, metrics, "/metrics", timeout_seconds=5)
    return batches(text)


def batches(text: str) -> Batches:
    """What the Prometheus *text* of prediction says of its batches."""
    found: dict[str, float] = defaultdict(float)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name.removeprefix("predmesh_prediction_")] += sample.value
    return Batches(found["batches_in_flight"], found["batch_rows_count"], found["batch_rows_sum"])


def busiest(lines: Iterable[str]) -> float | None:
    """The median percentage of the GPU with the highest one, of nvidia-smi's `index, percentage` lines."""
    seen: dict[str, list[float]] = defaultdict(list)
    for line in lines:
        index, _, percentage = line.partition(", ")
        if percentage.strip().isdigit():  # A GPU that cannot tell says [N/A].
            seen[index].append(float(percentage))
    return max(map(statistics.median, seen.values()), default=None)
