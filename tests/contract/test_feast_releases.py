"""Every Feast release that Predmesh supports: what it writes we read as it does, and what we push it reads.

By default the oldest one, because it differs most; PREDMESH_FEAST_RELEASES=all (`make test-feast-releases`) tries all.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from predmesh_bundle.read_plan import ReadPlan
from predmesh_features.feast_redis import FeastRedis
from predmesh_features.looking_up import FeatureReader
from predmesh_features.pushing import find_view, hash_writes
from predmesh_features.redis_address import parse_redis_url
from predmesh_features.redis_link import LinkOptions
from predmesh_frame.columns import Column, DataType
from predmesh_frame.frames import Frame
from predmesh_testing.feast import Feast, running_feast
from predmesh_testing.golden import comparable, differences
from predmesh_testing.needs import TOOLS
from predmesh_testing.redis import RedisServer, running_redis

REPO = Path(__file__).parent / "generated_repo"
PATIENT = LinkOptions(timeout_seconds=60)  # Equal is what counts here, however busy the machine.
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ROWS = 200  # Of ten features each.
RELEASES = [f"0.{minor}.{1 if minor == 54 else 0}" for minor in range(50, 68)]
ASKED = os.environ.get("PREDMESH_FEAST_RELEASES", RELEASES[0])
PUSHED = 1_000_000  # The row 0 is pushed to the row of this number, and so on.

pytestmark = pytest.mark.skipif(not (TOOLS / "uv/bin/uv").exists(), reason="missing here: uv, see `make dev`")


@pytest.fixture(scope="module", params=RELEASES if ASKED == "all" else ASKED.split(","))
def release(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def redis(release: str) -> Iterator[RedisServer]:
    with running_redis() as server:
        yield server


@pytest.fixture(scope="module")
def their_feast(release: str, redis: RedisServer) -> Iterator[Feast]:
    with running_feast(REPO, f"127.0.0.1:{redis.port}", python_with(release)) as feast:
        yield feast


@pytest.fixture(scope="module")
def our_feast(redis: RedisServer) -> Iterator[Feast]:
    with running_feast(REPO, f"127.0.0.1:{redis.port}") as feast:
        yield feast


def python_with(release: str) -> str:
    """A Python that has this release of Feast, in an environment of its own."""
    folder = TOOLS / "feast" / release
    python, uv = folder / "bin/python", str(TOOLS / "uv/bin/uv")
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([uv, "venv", "--quiet", "--python", "3.11", str(folder)], check=True)
        install = [uv, "pip", "install", "--quiet", "--python", str(python), f"feast[redis]=={release}"]
        subprocess.run(install, check=True)
        (folder / "complete").touch()
    return str(python)


async def test_what_it_writes_is_read_and_what_is_pushed_it_reads(
    our_feast: Feast, their_feast: Feast, redis: RedisServer
) -> None:
    kinds = their_feast.services()
    assert {"bool", "double_list", "unix_timestamp"} <= set(kinds)
    their_feast.fill(kinds, ROWS, NOW, seed=2)
    address = parse_redis_url(redis.unix_url)
    async with FeastRedis.connect(address, address, PATIENT) as store:
        for kind in kinds:
            plan = ReadPlan.from_json(our_feast.plan(kind))
            theirs = their_feast.read(kind, {"row": list(range(ROWS))})
            rows = Frame.of({"row": Column.of(DataType.INT64, range(ROWS))})
            lookup = await FeatureReader(plan).lookup(rows, store, now=NOW)
            assert differences(lookup, theirs) == []
            if lookup.stored:
                continue
            columns = {feature.name: feature.column for feature in lookup.features}
            pushed = Frame.of({"row": Column.of(DataType.INT64, range(PUSHED, PUSHED + ROWS))} | columns)
            nanos = [int(NOW.timestamp()) * 10**9] * ROWS
            view = find_view(plan, f"of_{kind}")
            assert all(await store.write(hash_writes(plan, view, pushed, nanos)))
            again = their_feast.read(kind, {"row": list(range(PUSHED, PUSHED + ROWS))})
            assert comparable(again) == comparable(theirs), kind
