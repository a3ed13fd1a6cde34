"""What comes out of some bundles, kept in golden/; `.venv/bin/python -m tests.unit.compiler.golden_files` renews it."""

from collections.abc import Mapping
from pathlib import Path

from predmesh_bundle.contract_names import DESCRIPTORS
from predmesh_bundle.reading import read_yaml
from predmesh_bundle.schema import Bundle
from predmesh_compiler import Contract, Lock, contract
from predmesh_compiler.compiling import contract_files
from predmesh_compiler.lock import LOCK_FILE, parse_lock

ROOT = Path(__file__).parents[3]
GOLDEN = Path(__file__).parent / "golden"
NAMES = ("flights", "everything")


def golden_contract(name: str) -> Contract:
    own = GOLDEN / name / "predmesh.yaml"
    text = (own if own.exists() else ROOT / "examples" / name / "bundle" / "predmesh.yaml").read_bytes()
    bundle = Bundle.model_validate(read_yaml(text, "predmesh.yaml").values, context={"written": True})
    before = GOLDEN / name / "before.lock.yaml"
    return contract(bundle, parse_lock(before.read_bytes()) if before.exists() else Lock())


def golden_files(name: str) -> Mapping[str, bytes]:
    """Text of each file; the descriptors are those of the text."""
    compiled = golden_contract(name)
    files = {each: text for each, text in contract_files(compiled).items() if each != DESCRIPTORS}
    return files | {LOCK_FILE: compiled.lock.to_yaml().encode()}


def main() -> None:
    for name in NAMES:
        folder = GOLDEN / name
        folder.mkdir(parents=True, exist_ok=True)
        for each, text in golden_files(name).items():
            (folder / each).write_bytes(text)


if __name__ == "__main__":
    main()
