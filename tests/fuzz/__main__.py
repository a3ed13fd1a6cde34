"""`python -m tests.fuzz --face rest`: generated requests, right, nearly right and garbage; no answer may be a fault."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from tests.fuzz.judging import SECONDS, faults
from tests.fuzz.memory import resident
from tests.fuzz.requests import generated, misled
from tests.parity.__main__ import CONTRACT
from tests.parity.faces import faces
from tests.parity.wire import Reply, Shot, Wire, connected

GROUPS = {
    "paths": (),
    "rest": ("generic rest", "columns rest"),
    "typed": ("typed rest",),
    "oip": ("oip rest", "oip-binary rest"),
    "grpc": ("generic grpc", "columns grpc"),
    "typed-grpc": ("typed grpc",),
    "oip-grpc": ("oip grpc", "oip-raw grpc"),
    "web": ("generic web", "columns web", "typed web", "oip web"),
    "rest-stream": ("generic rest stream", "generic lines stream", "typed events stream"),
    "grpc-stream": ("generic grpc stream", "columns grpc stream", "typed grpc stream", "oip grpc stream"),
}
"""Faces of the parity suite, by what `--face` calls them; `paths` are those of REST besides predictions."""

GROWTH = 1.05
"""How much more memory a process may hold at the end than after the first half of the requests, which warms it up."""

_AT_ONCE = 16


@dataclass
class Found:
    """What came of the requests of a face."""

    asked: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    slowest_seconds: float = 0.0


async def fuzz(wire: Wire, asked: Iterator[tuple[str, Shot]], found: Found) -> None:
    """Send what is *asked*, some at once, and judge each answer."""

    async def worker() -> None:
        for face, shot in asked:
            began = time.monotonic()
            try:
                async with asyncio.timeout(2 * SECONDS):
                    reply = await wire.send(shot)
            except Exception as error:  # whatever a client makes of an answer that is none
                found.faults.append(f"{face} {shot.path[:80]}: {type(error).__name__} {error} {shot.bodies!r:.300}")
                continue
            took = time.monotonic() - began
            found.asked += 1
            found.slowest_seconds = max(found.slowest_seconds, took)
            found.codes[_code(reply)] += 1
            found.faults += [
                f"{face} {shot.path[:80]}: {fault}\n    {shot.headers} {shot.bodies!r:.600}"
                for fault in faults(shot, reply, took)
            ]

    async with asyncio.TaskGroup() as group:
        for _ in range(_AT_ONCE):
            group.create_task(worker())


def _code(reply: Reply) -> str:
    return f"code {reply.code}" if reply.code is not None else f"HTTP {reply.status}"


async def run(options: argparse.Namespace, group: str) -> bool:
    """Fuzz one group of faces and print what was found; whether it was nothing."""
    async with connected(options.url, options.grpc) as wire:
        chosen = [face for face in faces(await wire.get(CONTRACT)) if face.name in GROUPS[group]]
        found = Found()
        endless = generated(chosen, options.seed) if chosen else misled(options.seed)
        asked = islice(endless, options.requests)
        await fuzz(wire, islice(asked, options.requests // 2), found)
        before = resident(options.home) if options.home else {}
        await fuzz(wire, asked, found)
    after = resident(options.home) if options.home else {}
    grown = {name: after.get(name, 0) / size for name, size in before.items()}
    found.faults += [f"{name} grew by {part - 1:.1%}" for name, part in grown.items() if part > GROWTH]
    for fault in found.faults[:20]:
        print(fault)
    codes = ", ".join(f"{code}: {count}" for code, count in sorted(found.codes.items()))
    memory = ", ".join(f"{name} {part - 1:+.1%}" for name, part in grown.items())
    print(f"{group}: {found.asked} answers, {len(found.faults)} faults, slowest {found.slowest_seconds:.2f} s")
    print(f"    {codes}{memory and '; memory ' + memory}")
    return not found.faults and found.asked == options.requests


def main(words: Sequence[str] | None = None) -> int:
    """Fuzz the chosen faces; 0 where no answer was a fault."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8080", help="where HTTP and gRPC-Web go")
    parser.add_argument("--grpc", default="", help="host:port of gRPC, where that is another")
    parser.add_argument("--face", choices=GROUPS, help="default: each in turn")
    parser.add_argument("--requests", type=int, default=20_000, help="how many a face")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--home", default="", help="PREDMESH_HOME of the server, where its memory is to be watched")
    options = parser.parse_args(words)
    clean = [asyncio.run(run(options, group)) for group in ([options.face] if options.face else GROUPS)]
    return 0 if all(clean) else 1


if __name__ == "__main__":
    sys.exit(main())
