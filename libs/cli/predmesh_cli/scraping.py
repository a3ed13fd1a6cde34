"""Reads what each program of a mesh has counted."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from predmesh_cli import redis_watcher
from predmesh_cli.figures import Sample, sample
from predmesh_cli.local_http import get
from predmesh_cli.topology import Kind, Program

SCRAPE_SECONDS = 2.0


async def scrape_all(programs: Sequence[Program]) -> dict[str, Sample | None]:
    """A sample of each of *programs*, taken at once; None for one that does not answer."""
    samples = await asyncio.gather(*(scrape(program) for program in programs))
    return {program.name: found for program, found in zip(programs, samples, strict=True)}


async def scrape(program: Program) -> Sample | None:
    """A sample of *program*; None when it does not answer."""
    try:
        async with asyncio.timeout(SCRAPE_SECONDS):
            return await (_redis(program) if program.kind is Kind.REDIS else _prometheus(program))
    except (OSError, ValueError, KeyError, redis_watcher.RedisAnswer):  # TimeoutError is an OSError
        return None


async def _redis(program: Program) -> Sample:
    told = await redis_watcher.info(Path(program.address), program.secret)
    return Sample(requests=float(told["total_commands_processed"]))


async def _prometheus(program: Program) -> Sample | None:
    status, text = await asyncio.to_thread(
        get, program.metrics, program.metrics_path, timeout_seconds=SCRAPE_SECONDS / 2
    )
    return sample(program.kind, text) if status == 200 else None
