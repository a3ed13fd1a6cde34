"""Where a package is put: nothing of others is lost, nothing of an earlier one is left."""

from pathlib import Path

import pytest
from predmesh_clients.package import ClientError
from predmesh_clients.writing import write_package


def test_what_an_earlier_package_left_goes_and_what_others_put_there_stays(tmp_path: Path) -> None:
    write_package(tmp_path / "out", {"old.py": b"", "same.py": b"1"})
    (tmp_path / "out" / "mine.txt").write_text("mine")
    write_package(tmp_path / "out", {"same.py": b"2", "deep/new.py": b""})
    assert not (tmp_path / "out" / "old.py").exists()
    assert (tmp_path / "out" / "same.py").read_bytes() == b"2"
    assert (tmp_path / "out" / "mine.txt").read_text() == "mine"


def test_a_folder_of_others_is_refused(tmp_path: Path) -> None:
    (tmp_path / "theirs.txt").write_text("theirs")
    with pytest.raises(ClientError, match="holds no generated client"):
        write_package(tmp_path, {"new.py": b""})
    assert not (tmp_path / "new.py").exists()


def test_a_list_that_names_files_outside_removes_none(tmp_path: Path) -> None:
    (tmp_path / "outside.txt").write_text("outside")
    write_package(tmp_path / "out", {"a.py": b""})
    (tmp_path / "out" / "predmesh-client.json").write_text('{"files": ["../outside.txt"]}')
    write_package(tmp_path / "out", {"b.py": b""})
    assert (tmp_path / "outside.txt").exists()
