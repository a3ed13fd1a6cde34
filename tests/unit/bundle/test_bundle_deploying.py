"""Deploys into a store that nobody follows yet, and deployers that get in each other's way."""

import fcntl
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from predmesh_bundle.deploying import DeployerBusy, DeployError, VersionTaken, deploy, undeploy
from predmesh_bundle.members import Member
from predmesh_bundle.problems import BundleError
from predmesh_bundle.store import Store

WriteBundle = Callable[..., Path]


def versions(store: Store) -> list[tuple[str, str, bool]]:
    return [(each.name, each.version, each.default) for each in store.current().models]


def test_without_members_a_deploy_is_live_at_once(store: Store, write_bundle: WriteBundle) -> None:
    generation = deploy(store, write_bundle())
    assert generation == store.current()
    assert (generation.number, versions(store)) == (1, [("wine", "1", True)])
    assert generation.created is not None


def test_the_same_again_changes_nothing(store: Store, write_bundle: WriteBundle) -> None:
    assert deploy(store, write_bundle()) == deploy(store, write_bundle())
    assert store.generations() == [1]


def test_other_content_needs_another_version(store: Store, write_bundle: WriteBundle) -> None:
    deploy(store, write_bundle())
    with pytest.raises(VersionTaken, match=r"raise `version` in predmesh.yaml, or deploy with --replace"):
        deploy(store, write_bundle(model=b"other"))
    assert store.current().number == 1


def test_replace_puts_other_content_in_place(store: Store, write_bundle: WriteBundle) -> None:
    first = deploy(store, write_bundle())
    second = deploy(store, write_bundle(model=b"other"), replace=True)
    assert versions(store) == [("wine", "1", True)]
    assert first.bundle_ids != second.bundle_ids


def test_the_newest_takes_the_traffic_unless_told_otherwise(store: Store, write_bundle: WriteBundle) -> None:
    deploy(store, write_bundle())
    deploy(store, write_bundle(version="2"), default=False)
    assert versions(store) == [("wine", "1", True), ("wine", "2", False)]
    deploy(store, write_bundle(version="2"))
    assert versions(store) == [("wine", "1", False), ("wine", "2", True)]


def test_undeploy_hands_the_default_on(store: Store, write_bundle: WriteBundle) -> None:
    for version in ("1", "2", "10"):
        deploy(store, write_bundle(version=version))
    undeploy(store, "wine", "10")
    assert versions(store) == [("wine", "1", False), ("wine", "2", True)]


def test_undeploy_takes_all_versions_out(store: Store, write_bundle: WriteBundle) -> None:
    deploy(store, write_bundle())
    deploy(store, write_bundle(version="2"))
    assert undeploy(store, "wine").models == ()


def test_a_version_stays_until_the_day_that_it_promises(store: Store, write_bundle: WriteBundle) -> None:
    today = datetime.now(UTC).date()
    promised = {"since": str(today), "sunset": str(today + timedelta(days=2))}
    deploy(store, write_bundle(deprecated=promised))
    deploy(store, write_bundle(version="2"))
    for version in ("1", None):
        with pytest.raises(DeployError, match="promises its callers to be there until"):
            undeploy(store, "wine", version)
    undeploy(store, "wine", "2")
    assert undeploy(store, "wine", "1", early=True).models == ()


def test_a_version_goes_from_that_day_on(store: Store, write_bundle: WriteBundle) -> None:
    today = datetime.now(UTC).date()
    deploy(store, write_bundle(deprecated={"since": str(today - timedelta(days=9)), "sunset": str(today)}))
    assert undeploy(store, "wine").models == ()


@pytest.mark.parametrize(
    ("name", "version", "message"),
    [("wien", None, "did you mean 'wine'"), ("wine", "2", "has no live version '2'")],
)
def test_undeploy_of_the_unknown_names_the_nearest(
    store: Store, write_bundle: WriteBundle, name: str, version: str | None, message: str
) -> None:
    deploy(store, write_bundle())
    with pytest.raises(DeployError, match=message):
        undeploy(store, name, version)


def test_a_broken_bundle_touches_nothing(store: Store, write_bundle: WriteBundle) -> None:
    with pytest.raises(BundleError):
        deploy(store, write_bundle(budget="soon"))
    assert (store.current().number, store.bundle_ids()) == (0, [])
    assert [path.name for path in store.root.iterdir()] == ["deploy.lock"]


def test_a_second_deployer_is_turned_away(store: Store, write_bundle: WriteBundle) -> None:
    store.root.mkdir()
    with (store.root / "deploy.lock").open("w") as held:
        held.write("4711")
        held.flush()
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(DeployerBusy, match="process 4711"):
            deploy(store, write_bundle())
    assert deploy(store, write_bundle()).number == 1


def test_what_a_killed_deployer_left_is_swept_up(store: Store, write_bundle: WriteBundle) -> None:
    deploy(store, write_bundle())
    (store.root / ".deploy-dead" / "bundle").mkdir(parents=True)
    (store.root / "bundles" / ".wine-1-dead.1").mkdir()
    store.write_generation(store.current().model_copy(update={"number": 2}))
    store.propose(2)
    assert undeploy(store, "wine").number == 3
    assert store.proposed() is None
    assert [path.name for path in store.root.glob(".*")] == []
    assert [path.name for path in (store.root / "bundles").glob(".*")] == []


def test_old_bundles_go_and_recent_ones_stay(store: Store, write_bundle: WriteBundle) -> None:
    for number in range(6):
        deploy(store, write_bundle(model=b"%d" % number), replace=True)
        _age(store, number + 1)
    assert len(store.bundle_ids()) == 3


def test_bundles_that_may_still_drain_stay(store: Store, write_bundle: WriteBundle) -> None:
    for number in range(6):
        deploy(store, write_bundle(model=b"%d" % number), replace=True)
    assert len(store.bundle_ids()) == 6


def _age(store: Store, number: int) -> None:
    """Make a generation an hour older than it is."""
    generation = store.generation(number)
    assert generation.created is not None
    older = generation.model_copy(update={"created": generation.created - timedelta(hours=1)})
    (store.root / "generations" / f"{number:06d}.json").write_text(older.model_dump_json())


def test_a_deployer_that_is_killed_leaves_the_next_one_free(store: Store, write_bundle: WriteBundle) -> None:
    store.announce(Member("deaf-1", "inference", os.getpid(), time.time(), socket.gethostname()))
    script = "import sys, pathlib; from predmesh_bundle import deploying, store; "
    script += "deploying.deploy(store.Store(pathlib.Path(sys.argv[1])), pathlib.Path(sys.argv[2]))"
    command = [sys.executable, "-c", script, str(store.root), str(write_bundle())]
    with subprocess.Popen(command) as deployer:
        while store.proposed() is None:
            assert deployer.poll() is None
            time.sleep(0.01)
        deployer.kill()
    store.leave("deaf-1")
    assert (store.current().number, store.proposed() is None) == (0, False)
    assert deploy(store, write_bundle()).number == 2
    assert store.proposed() is None


def test_progress_is_told(store: Store, write_bundle: WriteBundle) -> None:
    lines: list[str] = []
    generation = deploy(store, write_bundle(), on_progress=lines.append)
    (bundle_id,) = generation.bundle_ids
    assert lines == ["checking and compiling", f"storing {bundle_id}", "generation 1 is live"]
