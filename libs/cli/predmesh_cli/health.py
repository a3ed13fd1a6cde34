"""Asks each program of a mesh whether it is healthy, and what it waits for."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from predmesh_cli import redis_watcher
from predmesh_cli.local_http import get
from predmesh_cli.topology import Kind, Program

if TYPE_CHECKING:
    from grpc_health.v1.health_pb2_grpc import HealthStub

ASK_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Dependency:
    """What a program says about one thing that it needs."""

    name: str
    serving: bool


@dataclass(frozen=True, slots=True)
class Health:
    """One program's answer."""

    serving: bool
    detail: str = ""
    """What is wrong, in words; empty when nothing is."""
    dependencies: tuple[Dependency, ...] = ()
    """What it needs, where it tells."""


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
            return _redis(program)
        case Kind.ENVOY:
            return _gateway(gateway_url)
        case Kind.SERVICE | Kind.TRITON:
            return _grpc(program.address)


async def _grpc(address: str) -> Health:
    import grpc
    from grpc_health.v1.health_pb2_grpc import HealthStub

    async with grpc.aio.insecure_channel(address, options=(("grpc.enable_http_proxy", 0),)) as channel:
        stub = HealthStub(channel)
        try:
            serving = await _serving(stub, "")
            names = await _dependency_names(stub)
            found = await asyncio.gather(*(_serving(stub, name) for name in names))
        except grpc.aio.AioRpcError as error:
            down = error.code() is grpc.StatusCode.UNAVAILABLE
            return Health(False, "does not answer" if down else str(error.details()))
    dependencies = tuple(Dependency(name, ok) for name, ok in zip(names, found, strict=True))
    return Health(serving, _waits_for(serving, dependencies), dependencies)


async def _serving(stub: HealthStub, name: str) -> bool:
    from grpc_health.v1 import health_pb2

    answer = await stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=ASK_SECONDS)
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


async def _dependency_names(stub: HealthStub) -> list[str]:
    """What the process calls its dependencies; none when it does not tell.

    grpc.health.v1 as Python has it cannot list; predmesh_rpc answers an unknown name with the known ones.
    """
    import grpc

    try:
        await _serving(stub, "dependencies")
    except grpc.aio.AioRpcError as error:
        told = (error.details() or "").partition("known: ")[2]
        # Services have a package, so a dot; dependencies have none.
        return [name for name in told.split(", ") if name and "." not in name]
    return []


def _waits_for(serving: bool, dependencies: Sequence[Dependency]) -> str:
    down = [each.name for each in dependencies if not each.serving]
    if down:
        return f"{'without' if serving else 'waits for'} {', '.join(down)}"
    return "" if serving else "not ready"


async def _redis(program: Program) -> Health:
    try:
        await redis_watcher.info(Path(program.address), program.secret)
    except (OSError, redis_watcher.RedisAnswer) as error:
        return Health(False, str(error) or type(error).__name__)
    return Health(True)


async def _gateway(url: str) -> Health:
    address = url.partition("://")[2]
    try:
        status, _ = await asyncio.to_thread(get, address, "/healthz", timeout_seconds=ASK_SECONDS)
    except OSError as error:
        return Health(False, str(error))
    return Health(True) if status == 200 else Health(False, "no prediction process is healthy behind it")
