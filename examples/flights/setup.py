"""Serves the flights in the running mesh: trains, materialises, deploys and sets the clock, each only if needed.

Run as `python examples/flights/setup.py` after `predmesh up`; the mesh is the one of PREDMESH_HOME (default .predmesh).
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
if __name__ == "__main__":  # a script finds its own folder only
    sys.path.insert(0, str(ROOT))

from predmesh_bundle.clock import FixedClock  # noqa: E402
from predmesh_bundle.deploying import DeployError, deploy  # noqa: E402
from predmesh_bundle.problems import BundleError  # noqa: E402
from predmesh_bundle.store import Store  # noqa: E402
from predmesh_cli.home import Home  # noqa: E402
from predmesh_cli.mesh_settings import read_settings  # noqa: E402
from predmesh_cli.passwords import passwords  # noqa: E402
from predmesh_compiler import typed_compiler  # noqa: E402
from redis.exceptions import RedisError  # noqa: E402

from examples.flights import materialise, train  # noqa: E402
from examples.flights.content import stamped  # noqa: E402


class NotServed(Exception):
    """The flights could not be served; the message says what to do next."""


def main() -> int:
    """Answers 1, and says why, when something is in the way."""
    try:
        serve(Home.at(Path(os.environ.get("PREDMESH_HOME", ".predmesh"))))
    except (NotServed, BundleError, DeployError) as error:
        print(f"the flights are not served: {error}", file=sys.stderr)
        return 1
    return 0


def serve(home: Home) -> None:
    """Makes the mesh in *home* serve the flights, as of the example's time.

    Raises:
        NotServed, BundleError, DeployError: something is in the way.
    """
    store, online = Store(home.store), connection(home)
    try:
        materialised = materialise.held(online)
    except RedisError as error:
        raise NotServed(f"the mesh's Redis does not answer ({error}); start the mesh with: predmesh up") from error
    train.main()
    store.set_clock(FixedClock(materialise.DEMO_TIME))
    # Materialising takes a process whose memory is bounded; it runs while the deploy compiles.
    filling = None if materialised == (stamped("trained"), materialise.DEMO_TIME) else _fill(online)
    try:
        deploy(store, train.BUNDLE, replace=True, on_progress=_say, compiler=typed_compiler(store))
    finally:
        failure = _filled(filling) if filling is not None else ""
    if failure:
        raise NotServed(f"the features could not be materialised; mend this and run this again:\n{failure}")


def connection(home: Home) -> str:
    """How Feast reaches the online store of the mesh in *home*; a secret.

    Raises:
        NotServed: there is no mesh.
    """
    settings = read_settings(home.settings_file)
    if settings is None or "redis" not in settings.ports:
        raise NotServed(f"there is no mesh in {home.root}; start one with: predmesh up")
    return f"127.0.0.1:{settings.ports['redis']},username=writer,password={passwords(home.secrets).writer}"


def _fill(online: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "examples.flights.materialise"]
    environment = os.environ | {materialise.CONNECTION: online}
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def _filled(filling: subprocess.Popen[str]) -> str:
    """What the process said if it failed, else nothing: Feast is talkative, and only its end matters."""
    said, _ = filling.communicate()
    if filling.returncode != 0:
        return said
    _say(said.strip().splitlines()[-1])
    return ""


def _say(words: str) -> None:
    print(f"flights: {words}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
