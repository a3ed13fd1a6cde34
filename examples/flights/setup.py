"""Serves the flights in the running mesh: trains, materialises, deploys and sets the clock, each only if needed.

Run as `python examples/flights/setup.py` after `predmesh up`; the mesh is the one of PREDMESH_HOME (default .predmesh).
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from predmesh_bundle.clock import FixedClock  # noqa: E402
from predmesh_bundle.store import Store  # noqa: E402
from predmesh_cli.home import Home  # noqa: E402
from predmesh_cli.mesh_settings import read_settings  # noqa: E402
from predmesh_cli.passwords import passwords  # noqa: E402

from examples.flights import materialise, train  # noqa: E402
from examples.flights.content import stamped  # noqa: E402


def main() -> int:
    """Answers 1, and says why, when something is in the way."""
    home = Home.at(Path(os.environ.get("PREDMESH_HOME", ".predmesh")))
    settings = read_settings(home.settings_file)
    if settings is None:
        print(f"there is no mesh in {home.root}; start one with: predmesh up", file=sys.stderr)
        return 1
    train.main()
    _materialise(f"127.0.0.1:{settings.ports['redis']},username=writer,password={passwords(home.secrets).writer}")
    store = Store(home.store)
    store.set_clock(FixedClock(materialise.DEMO_TIME))
    return _deploy(store)


def _materialise(connection: str) -> None:
    """In a process of its own, whose memory is bounded and ends with it."""
    if materialise.held(connection) != (stamped("trained"), materialise.DEMO_TIME):
        command = [sys.executable, "-m", "examples.flights.materialise"]
        subprocess.run(command, cwd=ROOT, env=os.environ | {materialise.CONNECTION: connection}, check=True)


def _deploy(store: Store) -> int:
    """Deploys unless the same training is live."""
    deployed = store.root.parent / "flights-example"
    live = [model.bundle_id for model in store.current().models]
    if deployed.exists():
        digest, bundle_id = deployed.read_text().split()
        if digest == stamped("trained") and bundle_id in live:
            return 0
    from predmesh_bundle.deploying import DeployError, deploy
    from predmesh_bundle.problems import BundleError

    try:
        generation = deploy(store, train.BUNDLE, replace=True, on_progress=_say)
    except (BundleError, DeployError) as error:
        print(f"the flights could not be deployed: {error}", file=sys.stderr)
        return 1
    model = next(model for model in generation.models if model.name == "flight-delay")
    deployed.write_text(f"{stamped('trained')} {model.bundle_id}\n")
    return 0


def _say(words: str) -> None:
    print(f"flights: {words}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
