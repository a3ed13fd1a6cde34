"""What a compiled bundle holds, and what is found only when its features are read."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from predmesh_bundle.compiling import check_bundle, compile_bundle, plan_rules
from predmesh_bundle.content import content_hash
from predmesh_bundle.loading import load_bundle
from predmesh_bundle.problems import BundleError
from predmesh_bundle.read_plan import (
    FeaturePlan,
    FeatureType,
    JoinKey,
    OnDemandInput,
    OnDemandPlan,
    ReadPlan,
    StoredFeaturePlan,
    ViewPlan,
)
from predmesh_bundle.schema import Bundle

WriteBundle = Callable[..., Path]
Document = dict[str, Any]

FEATURE_STORE = """\
project: cellar
provider: local
registry: registry.db
online_store: {type: redis, connection_string: "127.0.0.1:6379"}
offline_store: {type: duckdb}
entity_key_serialization_version: 3
"""
DEFINITIONS = """\
from datetime import timedelta

from feast import Entity, FeatureService, FeatureView, Field, FileSource
from feast.types import Float64, String
from feast.value_type import ValueType

vineyard = Entity(name="vineyard", join_keys=["vineyard"], value_type=ValueType.STRING)
soil = FeatureView(
    name="soil",
    entities=[vineyard],
    ttl=timedelta(days=1),
    schema=[Field(name="vineyard", dtype=String), Field(name="acidity", dtype=Float64)],
    source=FileSource(path="soil.parquet", timestamp_field="event_timestamp"),
)
service = FeatureService(name="wine_v1", features=[soil])
"""


@pytest.fixture
def featured(write_bundle: WriteBundle, document: Document) -> Callable[..., Path]:
    """Writes a bundle with features; the document is changed by the function given."""

    def write(change: Callable[[Document], object] = lambda _: None) -> Path:
        document["inputs"].append({"name": "vineyard", "type": "string", "entity_key": True, "example": "v1"})
        document["features"] = {"repo": "repo", "service": "wine_v1", "defaults": {"acidity": 6.5}}
        tensor = document["inference"]["inputs"][0]
        tensor.update(shape=[3], feature_names=["alcohol", "hue", "acidity"])
        change(document)
        folder = write_bundle(yaml.safe_dump(document, sort_keys=False))
        (folder / "repo").mkdir(exist_ok=True)
        (folder / "repo" / "feature_store.yaml").write_text(FEATURE_STORE)
        (folder / "repo" / "definitions.py").write_text(DEFINITIONS)
        return folder

    return write


def test_it_holds_the_users_files_and_the_normal_form(write_bundle: WriteBundle, tmp_path: Path) -> None:
    bundle = compile_bundle(write_bundle(), tmp_path / "out")
    files = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert files == {"predmesh.yaml", "model.onnx", "compiled/bundle.json"}
    assert Bundle.model_validate_json((tmp_path / "out" / "compiled" / "bundle.json").read_bytes()) == bundle


def test_the_same_files_compile_to_the_same_content(write_bundle: WriteBundle, tmp_path: Path) -> None:
    for name in ("one", "two"):
        compile_bundle(write_bundle(folder=name), tmp_path / f"{name}-out")
    assert content_hash(tmp_path / "one-out") == content_hash(tmp_path / "two-out")


def test_what_does_not_belong_stays_out(write_bundle: WriteBundle, tmp_path: Path) -> None:
    folder = write_bundle()
    (folder / ".predmeshignore").write_text("# what training needs\ndata/\n*.csv\n")
    for name in ("data/big.parquet", "notes.csv", ".git/config", "__pycache__/x.pyc", "compiled/old.json", "kept.txt"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("x")
    compile_bundle(folder, tmp_path / "out")
    kept = {path.name for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert kept == {"predmesh.yaml", "model.onnx", "bundle.json", "kept.txt"}


def test_a_link_inside_the_bundle_becomes_a_file(write_bundle: WriteBundle, tmp_path: Path) -> None:
    folder = write_bundle()
    (folder / "again.onnx").symlink_to("model.onnx")
    compile_bundle(folder, tmp_path / "out")
    assert not (tmp_path / "out" / "again.onnx").is_symlink()
    assert (tmp_path / "out" / "again.onnx").read_bytes() == b"weights"


def test_features_are_compiled_to_a_read_plan(featured: Callable[..., Path], tmp_path: Path) -> None:
    compile_bundle(featured(), tmp_path / "out")
    assert "acidity" in (tmp_path / "out" / "compiled" / "read_plan.json").read_text()


TAGS = StoredFeaturePlan(name="tags", feast_type="Map", stored_as="map_val", reason="store its parts as features")


def plan(*, key: str = "vineyard", request_input: str = "hue", row_shape: tuple[int, ...] = ()) -> ReadPlan:
    feature = FeaturePlan(name="acidity", type=FeatureType.DOUBLE, row_shape=row_shape)
    return ReadPlan(
        project="cellar",
        feature_service="wine_v1",
        entity_key_serialization_version=3,
        views=(
            ViewPlan(
                name="soil",
                alias="soil",
                join_keys=(JoinKey(name=key, type=FeatureType.STRING, column=key),),
                ttl_seconds=None,
                features=(feature,),
                stored=(TAGS,),
            ),
        ),
        on_demand=(
            OnDemandPlan(
                name="ratio",
                module="",
                function="ratio",
                singleton=True,
                inputs=(OnDemandInput(name=request_input, type=FeatureType.DOUBLE),),
                outputs=(FeaturePlan(name="ratio", type=FeatureType.DOUBLE),),
            ),
        ),
        features=("acidity", "ratio"),
    )


@pytest.mark.parametrize(
    ("change", "plan", "message"),
    [
        (
            {},
            plan(key="soil_id"),
            "the features need the join key 'soil_id': mark its input with `entity_key: soil_id`",
        ),
        ({"name": "vineyrd"}, plan(), "'vineyrd' is no join key; did you mean 'vineyard'?"),
        ({"type": "int64", "example": 1}, plan(), "'vineyard' must be of type string, as its join key is"),
        ({"name": "ratio", "entity_key": "vineyard"}, plan(), "'ratio' is a feature too: rename the input"),
        ({}, plan(request_input="hew"), "an on-demand feature needs the input 'hew'; did you mean 'hue'?"),
        ({"tensor": "acidty"}, plan(), "'acidty' must be an input or a feature; did you mean 'acidity'?"),
        ({"tensor": "tags"}, plan(), "'tags' is of type Map and no tensor: store its parts as features"),
        ({"name": "tags", "entity_key": "vineyard"}, plan(), "'tags' is a feature too: rename the input"),
        ({}, plan(row_shape=(4,)), "'acidity' is no single value and cannot stand beside others"),
        ({"alone": "acidity"}, plan(row_shape=(4,)), "'acidity' has the shape [4], its tensor [3]"),
    ],
    ids=["join-key", "no-join-key", "type", "twice", "request-input", "tensor", "map", "map-twice", "beside", "shape"],
)
def test_inputs_and_features_must_agree(
    featured: Callable[..., Path], change: dict[str, Any], plan: ReadPlan, message: str
) -> None:
    def apply(document: Document) -> None:
        if tensor := change.get("tensor"):
            document["inference"]["inputs"][0]["feature_names"] = ["alcohol", "hue", tensor]
        elif alone := change.get("alone"):
            del document["inference"]["inputs"][0]["feature_names"]
            document["inference"]["inputs"][0]["name"] = alone
        else:
            document["inputs"][2].update(change)

    found = [text for _, text in plan_rules(load_bundle(featured(apply)), plan)]
    assert any(message in text for text in found), found


def test_a_right_plan_has_no_problem(featured: Callable[..., Path]) -> None:
    assert list(plan_rules(load_bundle(featured()), plan())) == []


def test_a_default_of_no_feature_is_told_on_its_line(featured: Callable[..., Path]) -> None:
    folder = featured(lambda document: document["features"].update(defaults={"acidty": 6.5}))
    line = (folder / "predmesh.yaml").read_text().splitlines().index("    acidty: 6.5") + 1
    with pytest.raises(BundleError, match=rf"^predmesh.yaml:{line}: .*'acidty'.*did you mean 'acidity'"):
        check_bundle(folder)
