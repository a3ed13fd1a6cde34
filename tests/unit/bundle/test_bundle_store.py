"""The store: what is in it stays as it was put in."""

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from predmesh_bundle.clock import parse_clock
from predmesh_bundle.compiling import compile_bundle
from predmesh_bundle.content import content_hash
from predmesh_bundle.generation import Generation, LiveModel
from predmesh_bundle.loading import load_bundle
from predmesh_bundle.members import Acknowledgement, Member
from predmesh_bundle.store import Store, StoreError

WriteBundle = Callable[..., Path]


@pytest.fixture
def compiled(write_bundle: WriteBundle, tmp_path: Path) -> Path:
    compile_bundle(write_bundle(), tmp_path / "compiled")
    return tmp_path / "compiled"


def generation(number: int, *bundle_ids: str) -> Generation:
    models = tuple(
        LiveModel(name=each.rsplit("-", 2)[0], version=each.rsplit("-", 2)[1], bundle_id=each, default=True)
        for each in bundle_ids
    )
    return Generation(number=number, models=models)


def test_a_stored_bundle_says_what_it_said(store: Store, compiled: Path, write_bundle: WriteBundle) -> None:
    stored = store.put(compiled)
    assert stored.bundle_id == f"wine-1-{content_hash(compiled)[:12]}"
    assert stored.bundle == load_bundle(write_bundle())
    assert (stored.folder / "model.onnx").read_bytes() == b"weights"
    assert abs(stored.stored_time.timestamp() - time.time()) < 60
    assert stored.read_plan() is None


def test_putting_twice_changes_nothing(store: Store, compiled: Path) -> None:
    first = store.put(compiled)
    shutil.copytree(compiled, compiled.parent / "again")
    assert Store(store.root).put(compiled.parent / "again").stored_time == first.stored_time


def test_stored_files_are_read_only(store: Store, compiled: Path) -> None:
    folder = store.put(compiled).folder
    assert {path.stat().st_mode & 0o222 for path in folder.rglob("*") if path.is_file()} == {0}


def test_nothing_but_the_bundle_is_left_behind(store: Store, compiled: Path) -> None:
    stored = store.put(compiled)
    assert [path.name for path in (store.root / "bundles").iterdir()] == [stored.bundle_id]


def test_a_changed_bundle_is_found_and_replaced(store: Store, compiled: Path) -> None:
    stored = store.put(compiled)
    store.verify(stored.bundle_id)
    (stored.folder / "model.onnx").chmod(0o600)
    (stored.folder / "model.onnx").write_bytes(b"other")
    with pytest.raises(StoreError, match="deploy it anew"):
        store.verify(stored.bundle_id)
    store.put(compiled)
    store.verify(stored.bundle_id)


def test_caches_of_python_do_not_change_a_bundle(store: Store, compiled: Path) -> None:
    stored = store.put(compiled)
    (stored.folder / "__pycache__").mkdir()
    (stored.folder / "__pycache__" / "x.pyc").write_bytes(b"x")
    store.verify(stored.bundle_id)


@pytest.mark.parametrize("bundle_id", ["wine-1-000000000000", "../../etc", "wine"])
def test_an_unknown_bundle_is_an_error(store: Store, bundle_id: str) -> None:
    with pytest.raises(StoreError):
        store.bundle(bundle_id)


def test_a_new_store_has_the_empty_generation(store: Store) -> None:
    assert (store.current().number, store.current().models, store.proposed()) == (0, (), None)
    assert store.members() == []
    assert not store.root.exists()


def test_a_proposal_ends_when_it_is_live(store: Store) -> None:
    store.write_generation(generation(1))
    store.propose(1)
    assert store.proposed() == generation(1)
    store.flip(1)
    assert (store.current(), store.proposed()) == (generation(1), None)


def test_numbers_are_never_used_again(store: Store) -> None:
    store.write_generation(generation(1))
    store.propose(1)
    store.withdraw()
    assert store.next_number() == 2
    with pytest.raises(StoreError, match="already written"):
        store.write_generation(generation(1, "wine-1-aaaaaaaaaaaa"))


@pytest.mark.parametrize("text", ["", "seven", "99"])
def test_a_damaged_current_says_how_to_mend_it(store: Store, text: str) -> None:
    store.write_generation(generation(1))
    (store.root / "current").write_text(text)
    with pytest.raises(StoreError, match="write the number of a whole file"):
        store.current()


def test_prune_keeps_what_is_live_proposed_or_recent(store: Store, write_bundle: WriteBundle, tmp_path: Path) -> None:
    ids = []
    for number in range(1, 6):
        compile_bundle(write_bundle(model=b"%d" % number), tmp_path / f"c{number}")
        ids.append(store.put(tmp_path / f"c{number}").bundle_id)
        store.write_generation(generation(number, ids[-1]))
    store.flip(4)
    store.propose(5)
    store.acknowledge(2, Acknowledgement("i", "features", True))
    assert sorted(store.prune(keep=2)) == sorted(ids[:2])
    assert store.bundle_ids() == sorted(ids[2:])
    assert store.acknowledgements(2) == {}


def test_a_member_lives_while_it_is_heard_of(store: Store) -> None:
    now = time.time()
    store.announce(Member("features-1", "features", 1, now))
    (member,) = store.members()
    assert member.live(now + 4)
    assert not member.live(now + 6)
    store.leave("features-1")
    assert store.members() == []


def test_a_busy_member_lives_while_its_process_is_there(store: Store) -> None:
    now = time.time()
    here = Member("features-1", "features", os.getpid(), now, os.uname().nodename)
    elsewhere = Member("features-2", "features", os.getpid(), now, "another-machine")
    assert here.live(now + 30)
    assert not here.live(now + 61)
    assert not elsewhere.live(now + 30)


@pytest.mark.parametrize("instance", ["../x", "a/b", "", ".hidden"])
def test_an_instance_name_cannot_leave_its_folder(store: Store, instance: str) -> None:
    with pytest.raises(ValueError, match="no instance name"):
        store.announce(Member(instance, "features", 1, 0.0))


def test_what_is_half_written_is_no_member(store: Store) -> None:
    (store.root / "members").mkdir(parents=True)
    for name, text in (("a", "{"), ("b", "[]"), ("c", '{"service": 1}'), (".d", json.dumps({"service": "x"}))):
        (store.root / "members" / f"{name}.json").write_text(text)
    assert store.members() == []


def test_acknowledgements_say_who_and_why(store: Store) -> None:
    store.acknowledge(7, Acknowledgement("features-1", "features", True))
    store.acknowledge(7, Acknowledgement("inference-1", "inference", False, "no memory"))
    answers = store.acknowledgements(7)
    assert answers["features-1"].ok
    assert (answers["inference-1"].service, answers["inference-1"].error) == ("inference", "no memory")


def test_the_clock_is_kept(store: Store) -> None:
    before = store.signature()
    store.set_clock(parse_clock("2013-12-31T23:59:00Z"))
    assert store.clock().now().year == 2013
    assert store.signature() != before


def test_a_damaged_clock_is_told(store: Store) -> None:
    store.set_clock(parse_clock("system"))
    (store.root / "clock.json").write_text("{}")
    with pytest.raises(StoreError, match="predmesh clock system"):
        store.clock()


NAMES = st.text("ab.", min_size=1, max_size=3).filter(lambda name: not name.startswith("."))
TREES = st.dictionaries(NAMES, st.binary(max_size=4), max_size=4)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(one=TREES, other=TREES)
def test_the_hash_tells_folders_apart(tmp_path: Path, one: dict[str, bytes], other: dict[str, bytes]) -> None:
    hashes = []
    for tree in (one, other):
        shutil.rmtree(tmp_path / "tree", ignore_errors=True)
        (tmp_path / "tree").mkdir()
        for name, content in tree.items():
            (tmp_path / "tree" / name).write_bytes(content)
        hashes.append(content_hash(tmp_path / "tree"))
    assert (hashes[0] == hashes[1]) == (one == other)
