"""Where a mesh keeps its files, and its sockets when that path is too long."""

import stat
from pathlib import Path

import pytest
from predmesh_cli.home import LONGEST_SOCKET_NAME, LONGEST_SOCKET_PATH, Home, socket_folder
from predmesh_cli.passwords import passwords, write_private


def test_sockets_lie_in_the_run_folder(tmp_path: Path) -> None:
    home = Home.at(Path("/srv/mesh"))
    assert socket_folder(home) == home.run


def test_sockets_of_a_deep_home_lie_in_a_short_folder_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/7")
    deep, other = Home.at(Path("/srv") / ("x" * 90)), Home.at(Path("/srv") / ("y" * 90))
    folder = socket_folder(deep)
    assert folder.parent == Path("/run/user/7/predmesh")
    assert len(str(folder)) + LONGEST_SOCKET_NAME < LONGEST_SOCKET_PATH
    assert folder != socket_folder(other)


def test_two_homes_name_their_shared_memory_apart() -> None:
    assert Home.at(Path("/srv/a")).shm_prefix != Home.at(Path("/srv/b")).shm_prefix


def test_passwords_are_made_once_and_stay_private(tmp_path: Path) -> None:
    first = passwords(tmp_path)
    assert passwords(tmp_path) == first
    assert len({first.features, first.writer, first.watcher}) == 3
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}


def test_passwords_are_in_no_representation(tmp_path: Path) -> None:
    kept = passwords(tmp_path)
    assert kept.writer not in repr(kept)


def test_a_private_file_replaces_an_open_one(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    path.chmod(0o644)
    write_private(path, "new")
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]
