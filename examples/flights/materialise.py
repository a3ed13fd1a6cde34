"""Puts the newest feature values as of a time into the online store: `python -m examples.flights.materialise`.

Feast does it, in a working copy of the bundle's repository that also holds the tables and the registry. The online
store is the one that `PREDMESH_FEAST_REDIS` names (`host:port,username=…,password=…`, a user that may write).
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, cast

from examples.flights import train
from examples.flights.content import BUILD, stamped

if TYPE_CHECKING:
    from feast import FeatureStore
    from redis import Redis

DEMO_TIME = datetime(2013, 12, 30, 17, tzinfo=UTC)
"""Noon in New York on the last day of 2013 that has weather to its end."""

FIRST_TIME = datetime(2012, 12, 31, tzinfo=UTC)
WORKING_COPY = BUILD / "feast"
CONNECTION = "PREDMESH_FEAST_REDIS"
MARKER = "predmesh:example:flights"
"""Hash in the online store that says what is in it; a hash, because the mesh lets writers do nothing else."""

MOST_MEMORY_BYTES = 4 << 30


def main() -> None:
    """Materialises as the command line says, unless that is what the store holds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--as-of", type=_time, default=DEMO_TIME, metavar="TIME", help="RFC 3339; %(default)s")
    parser.add_argument("--follow", action="store_true", help="replay: read times from standard input")
    asked = parser.parse_args()
    if not os.environ.get(CONNECTION):
        parser.error(f"{CONNECTION} must name the online store: host:port,username=…,password=…")
    resource.setrlimit(resource.RLIMIT_DATA, (MOST_MEMORY_BYTES, MOST_MEMORY_BYTES))
    train.main()
    if asked.follow:
        _follow()
    elif held(os.environ[CONNECTION]) != (stamped("trained"), asked.as_of):
        _once(asked.as_of)


def _once(as_of: datetime) -> None:
    start = time.monotonic()
    with contextlib.redirect_stdout(sys.stderr):
        materialise(open_store(WORKING_COPY), as_of)
    print(f"materialised as of {as_of.isoformat()} in {time.monotonic() - start:.1f} s", file=sys.stderr)


def _follow() -> None:
    """Answers each line with the same line, once that is what the store holds."""
    answers = sys.stdout
    with tempfile.TemporaryDirectory(prefix="predmesh-flights-") as folder, contextlib.redirect_stdout(sys.stderr):
        store = open_store(Path(folder) / "feast")
        for line in sys.stdin:
            materialise(store, _time(line.strip()))
            print(line.strip(), file=answers, flush=True)


def open_store(folder: Path) -> FeatureStore:
    """Feast's store on a fresh working copy in *folder*, its definitions applied."""
    # DuckDB compares zoned times with Feast's zoneless ones in the zone of the process.
    os.environ |= {"TZ": "UTC", "FEAST_USAGE": "False"}
    time.tzset()
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(train.BUNDLE / "feature_repo", folder)
    shutil.copytree(train.TABLES, folder / "data")
    with _quiet(), _inside(folder):
        from feast import FeatureStore
        from feast.repo_config import load_repo_config
        from feast.repo_operations import apply_total

        config = load_repo_config(folder, folder / "feature_store.yaml")
        apply_total(config, folder, skip_source_validation=True)
        return FeatureStore(config=config)


def materialise(store: FeatureStore, as_of: datetime) -> None:
    """Makes the online store hold the newest values up to *as_of*, and none that are newer."""
    connection = os.environ[CONNECTION]
    digest, before = stamped("trained"), held(connection)
    with contextlib.closing(connect(connection)) as redis:
        redis.delete(MARKER)
        # Feast never writes a value over a newer one, so going back in time starts from nothing.
        if before is None or before[0] != digest or before[1] > as_of:
            views = store.list_feature_views()
            store._get_provider().teardown_infra(store.project, views, store.list_entities())
        with _quiet(), _inside(store.repo_path):
            store.materialize(FIRST_TIME, as_of)
        redis.hset(MARKER, mapping={"digest": digest, "as_of": as_of.isoformat()})


def held(connection: str) -> tuple[str, datetime] | None:
    """Digest of the training and time of the values in the online store; None where neither is known."""
    with contextlib.closing(connect(connection)) as redis:
        # redis-py types every call as if it might be awaited.
        digest, as_of = cast("list[bytes | None]", redis.hmget(MARKER, ["digest", "as_of"]))
    if digest is None or as_of is None:
        return None
    return digest.decode(), datetime.fromisoformat(as_of.decode())


def connect(connection: str) -> Redis:
    """A client by Feast's connection string."""
    from redis import Redis

    address, *options = connection.split(",")
    host, _, port = address.rpartition(":")
    words = dict(option.split("=", 1) for option in options)
    return Redis(host=host, port=int(port), username=words.get("username"), password=words.get("password"))


@contextlib.contextmanager
def _inside(folder: Path) -> Iterator[None]:
    """Where Feast finds definitions: they are modules to it, named by their path from here."""
    paths = sys.path[:]
    sys.path.insert(0, str(folder))
    try:
        with contextlib.chdir(folder):
            yield
    finally:
        sys.path[:] = paths


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what Feast and its libraries warn of."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _time(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text!r} has no zone; write for example 2013-12-30T17:00:00Z")
    return found.astimezone(UTC)


if __name__ == "__main__":
    main()
