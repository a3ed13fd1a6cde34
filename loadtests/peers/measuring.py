"""Measures peers and Predmesh by turns, with the same requests from the same load generators."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from grpc_tools import protoc  # type: ignore[import-untyped]
from predmesh_cli.processes import pss_bytes
from predmesh_testing.running import ROOT

from examples.flights import train
from examples.flights.materialise import DEMO_TIME
from loadtests.bench.flights import flights
from loadtests.bench.generators import ghz, ghz_config, vegeta, write_messages, write_targets
from loadtests.bench.runs import Load, Run
from loadtests.bench.scenarios import Face
from loadtests.bench.usage import cpu_seconds
from loadtests.peers import feast_repo
from loadtests.peers.asking import AT_ONCE, Question, ask_all, check, wait_until_it_answers
from loadtests.peers.catalogue import Dialect, Peer, Setting
from loadtests.peers.mesh import Mesh, Placement
from loadtests.peers.serving import serving
from loadtests.peers.shared.variables import BUNDLE, REPO

MOST_FLIGHTS = 20_000
MOST_REQUESTS = 2000
CHECKED_ALONE = 200
"""Requests compared one after another, before any at the same time."""

WARM_UP_SECONDS = 1
"""Of each shape; comparing answers has warmed the server before."""

PEER = "peer"
"""Who a peer is beside the placements of Predmesh."""


@dataclass(frozen=True, slots=True)
class Shape:
    """One kind of load."""

    rows: int
    concurrency: int


ALONE, CROWD, TABLES = Shape(1, 1), Shape(1, 64), Shape(256, 8)
SHAPES = (ALONE, CROWD, TABLES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One run, beside others of the same peer and setting."""

    peer: str
    """Title of the peer that was there, also of a run of Predmesh beside it."""
    setting: str
    who: str
    """`peer`, or Predmesh's placement."""
    face: Face
    shape: Shape
    run: Run
    cpu_us: float
    """CPU time of all its processes, a request."""
    memory_bytes: int
    """Of all its processes (PSS), after the run."""

    @property
    def rows_per_second(self) -> float:
        """Rows answered well."""
        return self.run.per_second * self.shape.rows


@dataclass(frozen=True, slots=True)
class Side:
    """Someone who is measured."""

    who: str
    title: str
    address: str
    dialect: Dialect
    pids: Callable[[], Mapping[int, str]]
    """All its processes."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What all runs share.

    Attributes:
        mesh: that runs beside the peers.
        folder: for all that is written.
        questions: by number of rows, every request and its right answer.
        expired: how many flights are left out, because Feast's SDK reads expired values that the mesh does not use.
    """

    mesh: Mesh
    folder: Path
    questions: Mapping[int, Sequence[Question]]
    expired: int

    @classmethod
    def prepare(cls, mesh: Mesh, folder: Path) -> Bench:
        """Makes the peers' feature repository, and asks the mesh for every answer.

        Raises:
            Wrong: the mesh's two placements do not agree.
        """
        rows, definitions = flights(MOST_FLIGHTS), train.BUNDLE / "feature_repo" / "definitions.py"
        expired = feast_repo.make(folder / "feast", definitions, mesh.redis_connection(), rows, DEMO_TIME)
        pool = [row for number, row in enumerate(rows) if number not in expired]
        questions = {}
        for size in sorted({shape.rows for shape in SHAPES}):
            starts = range(0, len(pool) - size + 1, size)[:MOST_REQUESTS]
            asked = [pool[start : start + size] for start in starts]
            found = ask_all(mesh.address, Placement.PROCESSES.dialect(Face.REST), asked, at_once=2)
            questions[size] = [Question(*each) for each in zip(asked, found, strict=True)]
        bench = cls(mesh, folder, questions, len(expired))
        for shape in SHAPES:
            bench.check(mesh.address, Placement.IN_PROCESS.dialect(Face.REST), shape)
        return bench

    def check(self, address: str, dialect: Dialect, shape: Shape) -> None:
        """Compares the answers to requests of *shape* with the mesh's, at most its callers at once. Raises Wrong."""
        questions = self.questions[shape.rows]
        asked = questions[:CHECKED_ALONE] if shape == ALONE else questions
        check(address, dialect, asked, min(AT_ONCE, shape.concurrency))

    def measure(self, peer: Peer, setting: Setting, seconds: int) -> list[Measured]:
        """Starts the peer, checks every answer, measures it and Predmesh by turns, and ends it.

        Raises:
            Wrong: it does not answer as the mesh does.
        """
        scratch = self.folder / f"{peer.name}-{peer.settings.index(setting)}"
        variables = {REPO: str(self.folder / "feast"), BUNDLE: str(train.BUNDLE)}
        with serving(peer, setting, scratch, variables) as server:
            wait_until_it_answers(server.address, peer.dialect, self.questions[1][0].rows, server.failure)
            title = f"{peer.title}, {setting.name}"
            sides = (
                Side(PEER, title, server.address, peer.dialect, server.pids),
                *(self._predmesh(placement, peer.dialect.face) for placement in Placement),
            )
            found = []
            # BentoML's batching goes on waiting for a crowd long after there was one: the single caller comes first.
            for shape in SHAPES:
                self.check(server.address, peer.dialect, shape)
                found += [self._run(peer, setting, side, shape, seconds) for side in sides]
            return found

    def _predmesh(self, placement: Placement, face: Face) -> Side:
        title = f"Predmesh {'REST' if face is Face.REST else 'gRPC'}, {placement}"
        return Side(placement, title, self.mesh.address, placement.dialect(face), self.mesh.pids)

    def _run(self, peer: Peer, setting: Setting, side: Side, shape: Shape, seconds: int) -> Measured:
        self._load(side, shape, WARM_UP_SECONDS)
        pids = side.pids()
        before = sum(cpu_seconds(pids).values())
        run = self._load(side, shape, seconds)
        return Measured(
            peer=peer.title,
            setting=setting.name,
            who=side.who,
            face=peer.dialect.face,
            shape=shape,
            run=run,
            cpu_us=(sum(cpu_seconds(pids).values()) - before) / run.requests * 1e6,
            memory_bytes=sum(map(pss_bytes, pids)),
        )

    def _load(self, side: Side, shape: Shape, seconds: int) -> Run:
        load, dialect = Load(concurrency=shape.concurrency, seconds=seconds), side.dialect
        name = f"{side.title}, {shape.rows} rows" if shape.rows > 1 else side.title
        bodies = [dialect.body(question.rows) for question in self.questions[shape.rows]]
        if dialect.face is Face.REST:
            targets = write_targets(self.folder / "targets", f"http://{side.address}{dialect.path}", bodies)
            return vegeta(name, targets, load)
        messages = write_messages(self.folder / "messages.json", bodies)
        descriptors = self._descriptors(dialect.proto) if dialect.proto else None
        config = ghz_config(load, messages, host=side.address, call=dialect.path, descriptors=descriptors)
        return ghz(name, config, load)

    def _descriptors(self, proto: str) -> Path:
        """The descriptor set of a contract that is not Predmesh's."""
        file = self.folder / "descriptors.binpb"
        if not file.exists():
            protoc.main(["", f"-I{ROOT}", f"--descriptor_set_out={file}", proto])
        return file
