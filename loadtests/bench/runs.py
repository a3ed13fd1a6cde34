"""What one run of a load generator measured, and how it is written down."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How requests are sent for how long: a closed loop of *concurrency* callers, or *rate* a second come what may."""

    seconds: float
    concurrency: int = 0
    rate: int = 0

    def __post_init__(self) -> None:
        if (self.concurrency > 0) == (self.rate > 0):
            raise ValueError("a load has either a concurrency or a rate")

    def __str__(self) -> str:
        return f"c={self.concurrency}" if self.concurrency else f"{self.rate:,}/s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What came of one run."""

    name: str
    """Who was asked for what, e.g. `REST` or `litserve`."""
    load: Load
    requests: int
    failed: int
    """Answers other than 200 or OK, and requests without an answer."""
    per_second: float
    """Requests answered well."""
    p50_ms: float
    p95_ms: float
    p99_ms: float
    errors: tuple[str, ...] = ()
    """The first of what failed, in the generator's words."""


HEAD = "| what | load | requests/s | p50 ms | p95 ms | p99 ms | failed |\n|---|---|---|---|---|---|---|"


def table(runs: Iterable[Run]) -> str:
    """The runs as a Markdown table."""
    rows = (
        f"| {run.name} | {run.load} | {run.per_second:,.0f} | {run.p50_ms:.2f} | {run.p95_ms:.2f} "
        f"| {run.p99_ms:.2f} | {run.failed} of {run.requests:,} |"
        for run in runs
    )
    return "\n".join((HEAD, *rows))
