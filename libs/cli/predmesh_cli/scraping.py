"""Reads what each program of a mesh has counted."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import httpx

from predmesh_cli.figures import Sample, sample
from predmesh_cli.health import redis_client
from predmesh_cli.topology import Kind, Program

SCRAPE_SECONDS = 2.0


async def scrape_all(programs: Sequence[Program]) -> dict[str, Sample | None]:
    """A sample of each of *programs*, taken at once; None for one that does not answer."""
    samples = await asyncio.gather(*(scrape(program) for program in programs))
    return {program.name: found for program, found in zip(programs, samples, strict=True)}


async def scrape(program: Program) -> Sample | None:
    """A sample of *program*; None when it does not answer."""
    if program.kind is Kind.REDIS:
        return await _redis(program.address)
    socket = program.metrics.removeprefix("unix:") if program.metrics.startswith("unix:") else None
    url = "http://envoy/stats/prometheus?filter=downstream_rq_time" if socket else program.metrics
    transport = httpx.AsyncHTTPTransport(uds=socket)
    try:
        async with httpx.AsyncClient(transport=transport, timeout=SCRAPE_SECONDS, trust_env=False) as client:
            answer = await client.get(url)
            return sample(program.kind, answer.raise_for_status().text)
    except (httpx.HTTPError, ValueError):
        return None


async def _redis(url: str) -> Sample | None:
    from redis.exceptions import RedisError

    client = redis_client(url, timeout_seconds=SCRAPE_SECONDS)
    try:
        counted = await client.info("stats")
    except (RedisError, OSError):
        return None
    finally:
        await client.aclose()
    return Sample(requests=float(counted["total_commands_processed"]))
