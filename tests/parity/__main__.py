"""`python -m tests.parity --url http://127.0.0.1:8080`: one table of requests over every protocol of a server."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Iterable, Sequence

from tests.parity import explaining
from tests.parity.comparing import Report, compare
from tests.parity.exceptions import EXCEPTIONS
from tests.parity.faces import Face, faces
from tests.parity.golden import BASE, DOWN, Case, cases
from tests.parity.wire import Wire, connected

CONTRACT = "/v1/models/parity/versions/1/contract/contract.binpb"
EXPLAINED_CONTRACT = f"/v1/models/{explaining.MODEL}/versions/1/contract/contract.binpb"
_WIDEST = 160
_MOST_NAPS = 4


async def run(url: str, grpc_address: str, only: str, asked: Iterable[Case]) -> Report:
    """Compare the faces of the server at *url* whose names hold *only*, by the cases that are *asked*."""
    async with connected(url, grpc_address) as wire:
        contracts = [await wire.get(path) for path in (CONTRACT, EXPLAINED_CONTRACT)]
        chosen = [face for face in faces(*contracts) if only in face.name]
        await _rested(wire, chosen[0])
        return await compare(wire, chosen, asked)


async def _rested(wire: Wire, face: Face) -> None:
    """Return once the model answers: it may still nap for an earlier run."""
    usual = Case("", (BASE,))
    for _ in range(_MOST_NAPS):
        if face.read(usual, await wire.send(face.ask(usual)))[0].code == "OK":
            return


def shown(report: Report) -> str:
    """The report as text."""
    lines = []
    alike: dict[tuple[str, str, str, str], list[str]] = {}
    for each in report.differences:
        part = each.part + (f" of row {each.row}" if each.row else "")
        alike.setdefault((each.case.name, part, _short(each.wanted), _short(each.got)), []).append(each.face)
    for (case, part, wanted, got), met in alike.items():
        lines += [f"{case}: {part}", f"    over   {', '.join(met)}", f"    wanted {wanted}", f"    got    {got}"]
    lines += ["", *(f"{face:24}{count:6} requests" for face, count in report.asked.items()), ""]
    lines += [f"known: {name}: {count}" for name, count in report.known.items()]
    requests = sum(report.asked.values())
    lines += [f"{report.cases} cases, {requests} requests, {len(report.differences)} differences"]
    return "\n".join(lines)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _WIDEST else f"{text[:_WIDEST]}…"


def main(words: Sequence[str] | None = None) -> int:
    """Run and print; 0 where nothing differs but what is known."""
    parser = argparse.ArgumentParser(prog="python -m tests.parity", description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8080", help="where HTTP and gRPC-Web go")
    parser.add_argument("--grpc", default="", help="host:port of gRPC, where that is another")
    parser.add_argument("--face", default="", help="only faces whose names hold this")
    parser.add_argument("--case", default="", help="only cases whose names hold this")
    parser.add_argument("--down", action="store_true", help="what is asked while the explanation service is down")
    options = parser.parse_args(words)
    asked = [each for each in (DOWN if options.down else cases()) if options.case in each.name]
    report = asyncio.run(run(options.url, options.grpc, options.face, asked))
    print(shown(report))
    whole = not (options.face or options.case or options.down)
    stale = [each.name for each in EXCEPTIONS if whole and each.always and not report.known[each.name]]
    if stale:
        print(f"never met, so no exceptions any more: {', '.join(stale)}")
    return 1 if report.differences or stale else 0


if __name__ == "__main__":
    sys.exit(main())
