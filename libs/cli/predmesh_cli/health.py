"""Asks each program of a mesh whether it is healthy, and what it waits for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine, Sequence
from dataclasses import dataclass
from typing import cast

from predmesh_cli.topology import Kind, Program

ASK_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Health:
    """One program's answer."""

    serving: bool
    detail: str = ""
    """What is wrong, in words; empty when nothing is."""


async def ask_all(programs: Sequence[Program], *, gateway_url: str) -> dict[str, Health]:
    """The health of each of *programs* by name, asked at once."""
    answers = await asyncio.gather(*(ask(program, gateway_url) for program in programs))
    return {program.name: answer for program, answer in zip(programs, answers, strict=True)}


async def ask(program: Program, gateway_url: str) -> Health:
    """The health of *program*; never raises."""
    try:
        async with asyncio.timeout(ASK_SECONDS):
            return await _asked(program, gateway_url)
    except TimeoutError:
        return Health(False, f"no answer within {ASK_SECONDS:g} s")


def _asked(program: Program, gateway_url: str) -> Coroutine[None, None, Health]:
    match program.kind:
        case Kind.REDIS:
            return _redis(program.address)
        case Kind.ENVOY:
            return _gateway(gateway_url)
        case Kind.SERVICE | Kind.TRITON:
            return _grpc(program.address)


async def _grpc(address: str) -> Health:
    import grpc
    from grpc_health.v1 import health_pb2
    from grpc_health.v1.health_pb2_grpc import HealthStub

    async with grpc.aio.insecure_channel(address, options=(("grpc.enable_http_proxy", 0),)) as channel:
        try:
            answer = await HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=ASK_SECONDS)
        except grpc.aio.AioRpcError as error:
            return Health(
                False, "does not answer" if error.code() is grpc.StatusCode.UNAVAILABLE else str(error.details())
            )
    return Health(answer.status == health_pb2.HealthCheckResponse.SERVING, "")


async def _redis(url: str) -> Health:
    from redis.asyncio import Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
    from redis.exceptions import RedisError

    client = Redis.from_url(url, retry=Retry(NoBackoff(), 0), socket_timeout=ASK_SECONDS)
    try:
        await cast(Awaitable[bool], client.ping())
    except (RedisError, OSError) as error:
        return Health(False, str(error) or type(error).__name__)
    finally:
        await client.aclose()
    return Health(True)


async def _gateway(url: str) -> Health:
    import httpx

    try:
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.get(f"{url}/healthz", timeout=ASK_SECONDS)
    except httpx.HTTPError as error:
        return Health(False, str(error) or type(error).__name__)
    return Health(True) if answer.status_code == 200 else Health(False, "no prediction process is healthy behind it")
