"""docs/bundle.md: its example loads, and it names every key of the schema with its default."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from predmesh_bundle.loading import load_bundle
from predmesh_bundle.references import SUFFIXES
from predmesh_bundle.rules import ALLOWED_POLICIES
from predmesh_bundle.schema import (
    TYPE_NAMES,
    Bundle,
    Deprecation,
    Explanation,
    FeatureCache,
    FeatureSet,
    Inference,
    Input,
    Output,
    Part,
    Policies,
    Preprocessing,
    Stages,
    TensorSpec,
)
from pydantic.fields import FieldInfo

WriteBundle = Callable[..., Path]

TEXT = (Path(__file__).parents[3] / "docs" / "bundle.md").read_text()
SECTIONS: dict[str, type[Part]] = {
    "The bundle itself": Bundle,
    "Inputs": Input,
    "Features": FeatureSet,
    "A cache": FeatureCache,
    "Preprocessing": Preprocessing,
    "Inference": Inference,
    "A tensor": TensorSpec,
    "Outputs": Output,
    "Explanation": Explanation,
    "Stages": Stages,
    "Policies": Policies,
    "Deprecation": Deprecation,
}


def rows(section: str) -> dict[str, list[str]]:
    """Cells of the first table of a section, by key; a row of two keys counts for each."""
    after = re.split(rf"^(?:## )?{section}:?$", TEXT, flags=re.MULTILINE)[1]
    table = after[after.index("| key") :].split("\n\n")[0].splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table]
    return {key: each for each in cells for key in re.findall(r"`(\w+)`", each[0])}


def keys(kind: type[Part]) -> dict[str, FieldInfo]:
    return {field.alias or name: field for name, field in kind.model_fields.items()}


@pytest.mark.parametrize("section", SECTIONS)
def test_every_key_has_its_row_and_no_other(section: str) -> None:
    assert rows(section).keys() == keys(SECTIONS[section]).keys()


@pytest.mark.parametrize("section", [each for each in SECTIONS if each not in ("Stages", "Policies")])
def test_what_is_required_is_said(section: str) -> None:
    required = {name for name, field in keys(SECTIONS[section]).items() if field.is_required()}
    assert {key for key, cells in rows(section).items() if cells[2] == "required"} == required


@pytest.mark.parametrize(
    ("section", "key"),
    [
        ("A cache", "max_rows"),
        ("Inference", "instances"),
        ("Inference", "max_batch_rows"),
        ("Inference", "device"),
        ("Stages", "inference"),
        ("Policies", "features"),
    ],
)
def test_defaults_are_as_documented(section: str, key: str) -> None:
    assert rows(section)[key][2] == f"`{keys(SECTIONS[section])[key].default}`"


def test_the_default_budget_is_as_documented() -> None:
    assert rows("The bundle itself")["budget"][2] == "`1s`"
    assert keys(Bundle)["budget"].default == 1.0


@pytest.mark.parametrize("stage", ALLOWED_POLICIES)
def test_the_policies_of_each_stage_are_as_documented(stage: str) -> None:
    assert re.findall(r"`(\w+)`", rows("Policies")[stage][1]) == [each.value for each in ALLOWED_POLICIES[stage]]


def test_every_type_and_framework_is_explained() -> None:
    assert all(f"`{name}`" in TEXT for name in TYPE_NAMES)
    assert all(f"| `{name}` |" in TEXT for name in SUFFIXES)


def test_the_example_loads_and_uses_every_part(write_bundle: WriteBundle) -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", TEXT, flags=re.DOTALL)
    folder = write_bundle(example)
    (folder / "model.ubj").write_bytes(b"trees")
    (folder / "prepare.py").write_text("class Prepare:\n    def transform(self, frame): ...\n")
    (folder / "feature_repo").mkdir()
    (folder / "feature_repo" / "feature_store.yaml").write_text("project: flights\n")
    bundle = load_bundle(folder)
    assert bundle.model_fields_set == set(Bundle.model_fields)
    assert bundle.join_keys == {"carrier": "carrier", "tailnum": "tail_number"}
    assert bundle.features is not None
    assert bundle.features.max_age_seconds == 86_400
