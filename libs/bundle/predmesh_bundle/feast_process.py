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
    """Write the answer for a service of a repository: the plan, and code of it that lies elsewhere; or the problems."""
    repo, service, answer = arguments
    spare_type_checks()
    from predmesh_bundle.feast_definitions import read

    found = read(Path(repo), service) | {"outside": _outside(Path(repo))}
    Path(answer).write_text(json.dumps(found))


def _outside(repo: Path) -> list[str]:
    """Files of imported modules that are neither in *repo* nor installed, nor ours."""
    known = [repo, Path(sys.prefix), Path(sys.base_prefix), Path(__file__).parents[2]]
    roots = [root.resolve() for root in known]
    files = [
        Path(file).resolve() for module in list(sys.modules.values()) if (file := getattr(module, "__file__", None))
    ]
    return sorted(str(file) for file in files if not any(file.is_relative_to(root) for root in roots))


if __name__ == "__main__":
    main(sys.argv[1:])
