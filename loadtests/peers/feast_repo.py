"""Makes the Feast repository that the peers read with; run in a process of its own, since importing Feast has effects.

It also says which rows hold a value older than its view's TTL at the mesh's clock: Feast's SDK does not look at the
TTL when it reads online, so of these rows a peer and the mesh would know different things.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from loadtests.bench.flights import Row

ROOT = Path(__file__).resolve().parents[2]
ENTITIES = ("carrier", "origin", "dest", "tailnum")
SERVICE = "flight_delay_v1"
SETTINGS = """\
project: flights
provider: local
registry: registry.db
online_store:
  type: redis
  connection_string: "{connection}"
offline_store:
  type: dask
entity_key_serialization_version: 3
"""


def make(folder: Path, definitions: Path, connection: str, rows: Sequence[Row], now: datetime) -> set[int]:
    """Makes the repository in *folder*; answers the indices of the *rows* that hold an expired value at *now*."""
    folder.mkdir()
    shutil.copy(definitions, folder / "definitions.py")
    settings = folder / "feature_store.yaml"
    settings.touch(0o600)  # The connection has a password.
    settings.write_text(SETTINGS.format(connection=connection))
    asked = folder / "rows.json"
    asked.write_text(json.dumps(rows))
    command = [sys.executable, "-m", "loadtests.peers.feast_repo", str(folder), now.isoformat()]
    environment = os.environ | {"FEAST_USAGE": "False", "PYTHONWARNINGS": "ignore", "TZ": "UTC"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"Feast could not apply the definitions:\n{done.stderr}")
    return set(json.loads((folder / "expired.json").read_text()))


def expired(times: Sequence[datetime | None], ttls: Sequence[timedelta], now: datetime) -> bool:
    """Whether any value, written at its time, is past its TTL; no time is no value, and a TTL of 0 is none."""
    return any(
        time is not None and ttl > timedelta() and now - time > ttl for time, ttl in zip(times, ttls, strict=True)
    )


def _main(folder: Path, now: datetime) -> None:
    from feast import FeatureStore
    from feast.repo_config import load_repo_config
    from feast.repo_operations import apply_total

    os.chdir(folder)
    sys.path.insert(0, str(folder))
    apply_total(load_repo_config(folder, folder / "feature_store.yaml"), folder, skip_source_validation=True)
    store = FeatureStore(repo_path=str(folder))
    rows = json.loads((folder / "rows.json").read_text())
    found = [number for start in range(0, len(rows), 500) for number in _expired(store, rows, start, now)]
    (folder / "expired.json").write_text(json.dumps(found))


def _expired(store: Any, rows: Sequence[Row], start: int, now: datetime) -> list[int]:
    service = store.get_feature_service(SERVICE)
    views = [(view.name, [feature.name for feature in view.features]) for view in service.feature_view_projections]
    ttl_of = {feature: store.get_feature_view(view).ttl for view, features in views for feature in features}
    keys = [{name: row.get(name) or "" for name in ENTITIES} for row in rows[start : start + 500]]
    answer = store.get_online_features(features=service, entity_rows=keys).proto
    names = answer.metadata.feature_names.val
    ttls = [ttl_of.get(name) or timedelta() for name in names]
    columns = [[_time(each, now) for each in vector.event_timestamps] for vector in answer.results]
    return [start + number for number, times in enumerate(zip(*columns, strict=True)) if expired(times, ttls, now)]


def _time(stamp: Any, now: datetime) -> datetime | None:
    return stamp.ToDatetime(tzinfo=now.tzinfo) if stamp.seconds else None


if __name__ == "__main__":
    _main(Path(sys.argv[1]), datetime.fromisoformat(sys.argv[2]))
