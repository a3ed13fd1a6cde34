"""A process that only sleeps: how late it wakes tells when the machine itself stood still."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO

_LATE_SECONDS = 0.05
_CODE = f"""
import time
last = time.monotonic()
while True:
    time.sleep(0.005)
    now = time.monotonic()
    if now - last > {_LATE_SECONDS}:
        print(now - last, flush=True)
    last = now
"""


@dataclass(slots=True)
class Witness:
    """What the sleeper has noted.

    Attributes:
        notes: its output, a line each time that it woke late.
        pid: its own.
    """

    notes: IO[str]
    pid: int

    def longest_ms(self) -> float:
        """The longest time that it was kept from running since it was last asked; 0 below 50 ms."""
        return round(max(map(float, self.notes.readlines()), default=0.0) * 1000, 1)


@contextlib.contextmanager
def sleeping() -> Iterator[Witness]:
    """A sleeper while the block runs."""
    # Two files of one path: a shared one would have one position, which reading moves.
    with (
        NamedTemporaryFile("ab") as noted,
        Path(noted.name).open() as notes,
        subprocess.Popen([sys.executable, "-c", _CODE], stdout=noted) as sleeper,
    ):
        try:
            yield Witness(notes, sleeper.pid)
        finally:
            sleeper.terminate()
