"""Installs the peers, measures each beside a mesh of its own making, and writes the ratios: `make bench-peers`."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from predmesh_testing.running import ROOT

from loadtests.bench.generators import tool
from loadtests.bench.usage import Machine
from loadtests.peers.asking import Wrong
from loadtests.peers.catalogue import PEERS, Peer
from loadtests.peers.measuring import Bench, Measured
from loadtests.peers.mesh import running_mesh
from loadtests.peers.report import Report
from loadtests.peers.serving import install, version

OUT = ROOT / "loadtests" / "results"


def main() -> int:
    """Answers 1 when a request to Predmesh failed, or when no peer could be measured."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.peers", description=__doc__)
    names = [peer.name for peer in PEERS]
    parser.add_argument("--seconds", type=int, default=5, help="length of each run; %(default)s")
    parser.add_argument("--peers", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--out", type=Path, default=OUT, help="folder for peers.json, .md and .svg; %(default)s")
    options = parser.parse_args()
    tool("vegeta"), tool("ghz")  # Missing ones are told of before anything is started.

    skipped: list[str] = []
    chosen = installed([peer for peer in PEERS if peer.name in options.peers], skipped)
    # A unix socket's path has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="peers-") as name, running_mesh(Path(name)) as mesh:
        bench = Bench.prepare(mesh, Path(name))
        measured = measure(bench, chosen, options.seconds, skipped)
    if not measured:
        return 1
    report = Report(
        machine=Machine.this(),
        options={"seconds": options.seconds, "peers": options.peers},
        versions={peer.title: version(peer) for peer in chosen},
        skipped=skipped,
        requests=", ".join(f"{len(each):,} distinct requests of {rows} rows" for rows, each in bench.questions.items())
        + f"; every answer equal to the mesh's to 1e-5; {bench.expired} flights with expired features left out.",
        measured=measured,
    )
    report.write(options.out)
    print(report.markdown())
    return 0 if report.right else 1


def installed(peers: list[Peer], skipped: list[str]) -> list[Peer]:
    """The peers that can be installed; of the others a line is added to *skipped*."""
    found = []
    for peer in peers:
        if problem := install(peer):
            skipped.append(f"{peer.title}: it can't be installed: {problem}")
            _say(skipped[-1])
        else:
            found.append(peer)
    return found


def measure(bench: Bench, peers: list[Peer], seconds: int, skipped: list[str]) -> list[Measured]:
    """All runs, peers in turn; of a setting that does not answer right a line is added to *skipped*."""
    measured = []
    for peer in peers:
        for setting in peer.settings:
            _say(f"{peer.title}, {setting.name}")
            try:
                measured += bench.measure(peer, setting, seconds)
            except Wrong as error:
                skipped.append(f"{peer.title}, {setting.name}: {error}")
                _say(skipped[-1])
    return measured


def _say(words: str) -> None:
    print(f"peers: {words}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
