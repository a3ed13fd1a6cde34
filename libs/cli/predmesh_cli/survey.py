"""Surveys a running mesh: one row a program, and whether all of it is healthy."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass

from predmesh_bundle.store import Store

from predmesh_cli import processes
from predmesh_cli.figures import Figures, figures
from predmesh_cli.health import Health, ask_all
from predmesh_cli.processes import Record, pss_bytes, read_record
from predmesh_cli.scraping import scrape_all
from predmesh_cli.supervisor_client import Supervised, Supervisor, SupervisorDown
from predmesh_cli.topology import Program
from predmesh_cli.written import Described

ALIVE_STATES = ("STARTING", "RUNNING")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What `status` says about one program."""

    name: str
    pid: int
    """0 when it has no process."""
    state: str
    """The supervisor's word, e.g. RUNNING or BACKOFF."""
    health: Health
    restarts: int
    """Since `up`."""
    memory_bytes: int
    """PSS, its children included."""
    figures: Figures


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What `status` says."""

    rows: tuple[Row, ...]
    generation: int
    models: Mapping[str, str]
    """Where the stages of each live `name/version` run."""

    @property
    def healthy(self) -> bool:
        """Whether every program is."""
        return all(row.health.serving for row in self.rows)

    @property
    def memory_bytes(self) -> int:
        """PSS of the whole mesh."""
        return sum(row.memory_bytes for row in self.rows)


def judged(supervised: Supervised | None, record: Record | None, answer: Health) -> Health:
    """The health of a program: it answers so itself, *and* the process that the supervisor started is alive.

    An answer alone is not enough: an orphan of an earlier run may give it.
    """
    if supervised is None:
        return Health(False, "the supervisor is gone")
    if supervised.state not in ALIVE_STATES or supervised.pid == 0:
        return Health(False, f"{supervised.state}: {supervised.detail}")
    if record is None or record.pid != supervised.pid or not record.alive():
        return Health(False, "its process is starting")
    return answer


def survey(described: Described, *, seconds: float) -> Survey:
    """Look at the mesh for *seconds*."""
    health, busy = asyncio.run(_asked(described, seconds))
    supervisor = Supervisor(described.supervisor_socket)
    try:
        states: Mapping[str, Supervised] = supervisor.programs()
    except SupervisorDown:
        states = {}
    memory = _memory(described)
    rows = [_row(described, program, states, health, busy, memory) for program in described.programs]
    store = Store(described.mesh.store)
    generation = store.current()
    return Survey(
        rows=(*rows, _supervisor_row(supervisor, memory)),
        generation=generation.number,
        models={
            f"{model.name}/{model.version}": str(store.bundle(model.bundle_id).bundle.stages)
            for model in generation.models
        },
    )


async def _asked(described: Described, seconds: float) -> tuple[dict[str, Health], dict[str, Figures]]:
    programs = described.programs
    before, begin = await scrape_all(programs), time.monotonic()
    health = await ask_all(programs, gateway_url=described.gateway_url)
    await asyncio.sleep(max(0.0, seconds - (time.monotonic() - begin)))
    after, took = await scrape_all(programs), time.monotonic() - begin
    return health, {program.name: figures(before[program.name], after[program.name], took) for program in programs}


def _memory(described: Described) -> dict[str, int]:
    memory: dict[str, int] = {}
    for pid, name in processes.of_mesh(described.mesh.home).items():
        memory[name] = memory.get(name, 0) + pss_bytes(pid)
    return memory


def _row(
    described: Described,
    program: Program,
    states: Mapping[str, Supervised],
    health: Mapping[str, Health],
    busy: Mapping[str, Figures],
    memory: Mapping[str, int],
) -> Row:
    supervised, record = states.get(program.name), read_record(described.mesh.home.record(program.name))
    return Row(
        name=program.name,
        pid=supervised.pid if supervised else 0,
        state=supervised.state if supervised else "UNKNOWN",
        health=judged(supervised, record, health[program.name]),
        restarts=max(0, record.starts - 1) if record else 0,
        memory_bytes=memory.get(program.name, 0),
        figures=busy[program.name],
    )


def _supervisor_row(supervisor: Supervisor, memory: Mapping[str, int]) -> Row:
    try:
        pid, health = supervisor.pid(), Health(True)
    except SupervisorDown:
        pid, health = 0, Health(False, "it does not answer; `predmesh down` and `predmesh up` mend it")
    return Row(
        name="supervisor",
        pid=pid,
        state="RUNNING" if pid else "UNKNOWN",
        health=health,
        restarts=0,
        memory_bytes=memory.get("supervisor", 0),
        figures=Figures(),
    )
