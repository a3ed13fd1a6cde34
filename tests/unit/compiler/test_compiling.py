"""From a folder to what the store keeps: the contract in it, and the lock beside the bundle."""

from collections.abc import Callable
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2
from predmesh_bundle.contract_names import DESCRIPTORS, REFERENCE
from predmesh_bundle.deploying import VersionTaken, deploy
from predmesh_bundle.problems import BundleError
from predmesh_bundle.schema import Bundle
from predmesh_bundle.skeleton import Template, write_skeleton
from predmesh_bundle.store import DOCUMENTS, Store
from predmesh_compiler import check_typed, compile_typed, typed_compiler
from predmesh_compiler.earlier import Broken
from predmesh_compiler.lock import LOCK_FILE, read_lock

Edit = Callable[[str, str], None]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A bundle with the inputs alcohol and hue; its model is none, but nobody looks into it here."""
    made = write_skeleton("my-model", Template.ONNX, tmp_path)
    (made / "model.onnx").write_bytes(b"weights")
    return made


@pytest.fixture
def edit(folder: Path) -> Edit:
    def replace(old: str, new: str) -> None:
        text = (folder / "predmesh.yaml").read_text()
        assert old in text
        (folder / "predmesh.yaml").write_text(text.replace(old, new))

    return replace


def test_the_stored_bundle_holds_its_contract_and_its_lock(folder: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    live = deploy(store, folder, compiler=compile_typed).models[0]
    stored = store.bundle(live.bundle_id)
    compiled = {path.name for path in (stored.folder / "compiled").iterdir()}
    assert compiled == {"contract.binpb", "bundle.json"}
    for name in ("contract.binpb", "contract.proto", "openapi.json", "schema.json", "reference.html"):
        assert stored.contract_file(name)
    assert read_lock(stored.folder) == read_lock(folder) != read_lock(tmp_path)
    assert [each.number for each in stored.bundle.inputs] == [1, 2, 3, 4]
    assert [each.number for each in stored.bundle.outputs] == [1, 2]


def test_the_descriptors_of_the_contract_come_last(folder: Path, tmp_path: Path) -> None:
    compile_typed(folder, tmp_path / "out")
    content = (tmp_path / "out" / "compiled" / DESCRIPTORS).read_bytes()
    assert descriptor_pb2.FileDescriptorSet.FromString(content).file[-1].package == "predmesh.models.my_model.v1"


def test_deploying_again_changes_nothing(folder: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    first = deploy(store, folder, compiler=compile_typed)
    assert deploy(store, folder, compiler=compile_typed) == first


def test_a_release_that_tells_of_a_contract_otherwise_renews_the_documents_of_the_same_bundle(
    folder: Path, tmp_path: Path
) -> None:
    def later(source: Path, into: Path) -> Bundle:
        bundle = compile_typed(source, into)
        (into / DOCUMENTS / REFERENCE).write_bytes(b"another page")
        return bundle

    store = Store(tmp_path / "store")
    first = deploy(store, folder, compiler=compile_typed)
    stored = store.bundle(first.models[0].bundle_id)
    assert deploy(store, folder, compiler=later) == first
    assert stored.contract_file(REFERENCE) == b"another page"
    store.verify(stored.bundle_id)


def test_a_contract_that_changed_is_another_bundle(folder: Path, tmp_path: Path) -> None:
    def later(source: Path, into: Path) -> Bundle:
        bundle = compile_typed(source, into)
        (into / "compiled" / DESCRIPTORS).write_bytes(b"others")
        return bundle

    store = Store(tmp_path / "store")
    deploy(store, folder, compiler=compile_typed)
    with pytest.raises(VersionTaken):
        deploy(store, folder, compiler=later)


def test_what_goes_from_the_store_goes_with_its_documents(folder: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    compile_typed(folder, tmp_path / "out")
    store.put(tmp_path / "out")
    assert list((store.root / "documents").iterdir())
    store.prune()
    assert not list((store.root / "documents").iterdir())


def test_a_lock_that_changed_is_a_changed_bundle(folder: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    deploy(store, folder, compiler=compile_typed)
    (folder / LOCK_FILE).write_text(
        (folder / LOCK_FILE).read_text().replace("outputs:\n", "outputs:\n  gone: {x: 9}\n")
    )
    with pytest.raises(VersionTaken):
        deploy(store, folder, compiler=compile_typed)


def test_compiling_a_compiled_bundle_gives_the_same_bundle(folder: Path, tmp_path: Path) -> None:
    bundle = compile_typed(folder, tmp_path / "out")
    text = (tmp_path / "out" / "compiled" / "bundle.json").read_bytes()
    assert Bundle.model_validate_json(text) == bundle == check_typed(folder)[1].bundle


def test_a_clash_with_the_lock_has_file_and_line(folder: Path, edit: Edit, tmp_path: Path) -> None:
    compile_typed(folder, tmp_path / "out")
    edit("name: sepal_length,", "name: sepal_length, number: 77,")
    with pytest.raises(BundleError, match=r"predmesh.yaml:\d+: .*which never moves"):
        check_typed(folder)


def test_a_lock_that_cannot_be_read_is_told(folder: Path) -> None:
    (folder / LOCK_FILE).mkdir()
    with pytest.raises(BundleError, match=r"predmesh.lock.yaml: the file cannot be read"):
        check_typed(folder)


def test_an_enum_whose_categories_give_one_name_is_told_at_the_category(folder: Path, edit: Edit) -> None:
    edit("labels: [", "enum: true\n    labels: [se-tosa, ")
    edit("se-tosa, ", "se-tosa, Se.Tosa, ")
    with pytest.raises(
        BundleError, match=r"predmesh.yaml:\d+: 'Se.Tosa' gives the enum value .*SE_TOSA, too much like"
    ):
        check_typed(folder)


def test_a_deploy_that_would_break_clients_is_refused(folder: Path, edit: Edit, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    first = deploy(store, folder, compiler=typed_compiler(store))
    lock = (folder / LOCK_FILE).read_bytes()
    edit("labels: [setosa,", "labels: [tulip,")
    with pytest.raises(
        Broken, match=r"(?s)outputs.species: the label 'tulip' would be new to clients.*Raise `version`"
    ):
        deploy(store, folder, replace=True, compiler=typed_compiler(store))
    assert store.current() == first
    assert (folder / LOCK_FILE).read_bytes() == lock


def test_a_version_that_breaks_the_other_lives_beside_it(folder: Path, edit: Edit, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    deploy(store, folder, compiler=typed_compiler(store))
    edit("labels: [setosa,", "labels: [tulip,")
    edit('version: "1"', 'version: "2"')
    live = deploy(store, folder, compiler=typed_compiler(store))
    assert [each.version for each in live.versions("my-model")] == ["1", "2"]


def test_a_compatible_change_replaces_its_version(folder: Path, edit: Edit, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    deploy(store, folder, compiler=typed_compiler(store))
    edit("labels: [setosa,", "unit: kind\n    labels: [setosa,")
    assert deploy(store, folder, replace=True, compiler=typed_compiler(store)).number == 2
