"""The folder that holds one mesh: where its parts lie, and nothing about what is in them."""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

LONGEST_SOCKET_PATH = 100
"""Bytes; the kernel allows 107, and the supervisor appends its pid to one name while it starts."""

LONGEST_SOCKET_NAME = max(len("supervisor.sock.4194304"), len("prediction.63-ws.sock"))


@dataclass(frozen=True, slots=True)
class Home:
    """The paths of one mesh."""

    root: Path
    """Absolute, free of links."""

    @classmethod
    def at(cls, folder: Path) -> Home:
        """The home in *folder*, which need not exist yet."""
        return cls(folder.expanduser().resolve())

    @property
    def run(self) -> Path:
        """What lives as long as the mesh runs: sockets, pids, written configuration."""
        return self.root / "run"

    @property
    def programs(self) -> Path:
        """One file a program that says how it is started; mode 0600, its environment holds secrets."""
        return self.run / "programs"

    @property
    def records(self) -> Path:
        """One file a program that says who it is and how often it was started."""
        return self.run / "records"

    @property
    def logs(self) -> Path:
        """One rotated log a program."""
        return self.root / "logs"

    @property
    def secrets(self) -> Path:
        """Passwords made once, mode 0600."""
        return self.root / "secrets"

    @property
    def redis_data(self) -> Path:
        """The online store's append-only file."""
        return self.root / "redis"

    @property
    def store(self) -> Path:
        """Bundles and generations."""
        return self.root / "store"

    @property
    def triton(self) -> Path:
        """Model repository that the inference agent writes and Triton reads."""
        return self.root / "triton"

    @property
    def settings_file(self) -> Path:
        """What an operator may change, and the ports that were chosen."""
        return self.root / "mesh.toml"

    @property
    def lock_file(self) -> Path:
        """Held by the `up` or `down` at work."""
        return self.root / "lock"

    @property
    def supervisor_configuration(self) -> Path:
        """The supervisor's INI."""
        return self.run / "supervisord.ini"

    @property
    def scrape_targets(self) -> Path:
        """Where every program's metrics are, for Prometheus."""
        return self.run / "scrape.json"

    @property
    def shm_prefix(self) -> str:
        """How the names of this mesh's shared-memory regions begin."""
        return f"predmesh-{digest(self.root)}-"

    def log(self, program: str) -> Path:
        """The log of *program*."""
        return self.logs / f"{program}.log"

    def record(self, program: str) -> Path:
        """The record of *program*'s starts."""
        return self.records / f"{program}.json"

    def make(self) -> None:
        """Create the folders; those that may hold secrets are the owner's alone."""
        for folder in (self.root, self.run, self.programs, self.records, self.logs, self.redis_data, self.triton):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.secrets.mkdir(mode=0o700, exist_ok=True)
        self.secrets.chmod(0o700)
        self.programs.chmod(0o700)


def digest(root: Path) -> str:
    """A short name for *root*, the same every time."""
    return hashlib.sha256(os.fsencode(root)).hexdigest()[:12]


def socket_folder(home: Home) -> Path:
    """Where sockets go: the home's run folder, or a short folder of this user's when that path is too long."""
    if len(os.fsencode(home.run)) + 1 + LONGEST_SOCKET_NAME <= LONGEST_SOCKET_PATH:
        return home.run
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    base = Path(runtime) / "predmesh" if runtime else Path(tempfile.gettempdir()) / f"predmesh-{os.getuid()}"
    return base / digest(home.root)
