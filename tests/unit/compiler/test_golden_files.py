"""What comes out, in full: a change shows in golden/, and is renewed on purpose."""

import pytest
from predmesh_bundle.loading import load_bundle
from predmesh_testing.needs import needs

from tests.unit.compiler.conftest import Lint, Protoc
from tests.unit.compiler.golden_files import GOLDEN, NAMES, golden_contract, golden_files
from tests.unit.compiler.test_contract_text import without_places


@pytest.mark.parametrize("name", NAMES)
def test_what_comes_out_is_as_it_was(name: str) -> None:
    kept = {path.name: path.read_bytes() for path in (GOLDEN / name).iterdir()}
    made = golden_files(name)
    renew = "renew it by `.venv/bin/python -m tests.unit.compiler.golden_files`"
    assert {each: kept.get(each) for each in made} == dict(made), renew


def test_protoc_makes_the_same_of_everything(by_protoc: Protoc) -> None:
    compiled = golden_contract("everything")
    assert by_protoc(compiled).SerializeToString() == without_places(compiled)


@needs("buf")
def test_buf_has_nothing_against_everything(lint: Lint) -> None:
    assert lint([golden_contract("everything")]) == ""


def test_everything_is_a_bundle(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("everything")
    (folder / "predmesh.yaml").write_bytes((GOLDEN / "everything" / "predmesh.yaml").read_bytes())
    (folder / "model.ubj").write_bytes(b"trees")
    (folder / "prepare.py").write_text("class Prepare:\n    def transform(self, frame): ...\n")
    assert load_bundle(folder).name == "every-thing"
