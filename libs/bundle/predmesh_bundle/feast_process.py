"""The process that reads a Feast repository: ``python -m predmesh_bundle.feast_process REPO SERVICE ANSWER``."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def spare_type_checks() -> None:
    """Leave Feast's run-time type checks out, for the whole process: instrumenting them is half of its import (3 s).

    Must come before Feast is imported. What definitions hold is checked by Feast when they are applied, and by us.
    """
    with contextlib.suppress(ImportError):
        import typeguard

        typeguard.typechecked = _as_it_is


def _as_it_is(target: Any = None, **_: Any) -> Any:
    return target if target is not None else _as_it_is


def main(arguments: Sequence[str]) -> None:
    """Write the answer for a service of a repository: the plan, or the problems."""
    repo, service, answer = arguments
    spare_type_checks()
    from predmesh_bundle.feast_definitions import read

    Path(answer).write_text(json.dumps(read(Path(repo), service)))


if __name__ == "__main__":
    main(sys.argv[1:])
