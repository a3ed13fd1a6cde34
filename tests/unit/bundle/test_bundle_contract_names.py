"""Names of a model's own contract, and what is refused because two would be one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from predmesh_bundle.contract_names import camel, enum_name, file_name, package_name, service_name, value_name
from predmesh_bundle.loading import load_bundle
from predmesh_bundle.problems import BundleError

WriteBundle = Callable[..., Path]
Document = dict[str, Any]


def test_a_model_names_its_package_file_and_service() -> None:
    assert package_name("flight-delay", "1") == "predmesh.models.flight_delay.v1"
    assert file_name("flight-delay", "1") == "predmesh/models/flight_delay/v1/flight_delay_service.proto"
    assert service_name("flight-delay") == "FlightDelayService"


@pytest.mark.parametrize(
    ("field", "text", "name"),
    [
        ("carrier", "9E", "CARRIER_9E"),
        ("late_reason", "très  cher!", "LATE_REASON_TRES_CHER"),
        ("carrier", "aB-c", "CARRIER_AB_C"),
        ("level_2", "low", "LEVEL2_LOW"),
        ("carrier", "…", "CARRIER_"),
    ],
)
def test_a_category_names_its_enum_value(field: str, text: str, name: str) -> None:
    assert value_name(field, text) == name


def test_words_are_joined_in_capitals_or_humps() -> None:
    assert (enum_name("late_reason_2b"), camel("late_reason_2b")) == ("LateReason2b", "lateReason2b")


def refused(write_bundle: WriteBundle, document: Document) -> str:
    with pytest.raises(BundleError) as raised:
        load_bundle(write_bundle(yaml.safe_dump(document, sort_keys=False)))
    return str(raised.value)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([], "an enum needs `labels`"),
        (["a b", "A_B"], "'A_B' gives the enum value CULTIVAR_A_B, too much like that of 'a b'"),
        (["a1", "a-1"], "'a-1' gives the enum value CULTIVAR_A_1, too much like that of 'a1'"),
        (["a", "…"], "'…' gives no name"),
        (["a", "unspecified"], "'unspecified' is the enum's own word for none"),
    ],
    ids=["none", "same", "alike", "nameless", "the word for none"],
)
def test_labels_must_give_names_of_their_own(
    write_bundle: WriteBundle, document: Document, labels: list[str], message: str
) -> None:
    document["inference"]["outputs"][0]["shape"] = [-1]
    document["outputs"][0] |= {"labels": labels, "enum": True, "type": "string"}
    assert message in refused(write_bundle, document)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("inputs", "its enum would be called 'Inputs', as that of the contract itself"),
        ("wine_service", "its enum would be called 'WineService', as that of the contract itself"),
        ("cultivar", "its enum would be called 'Cultivar', as that of the input 'cultivar'"),
    ],
)
def test_enums_have_names_of_their_own(write_bundle: WriteBundle, document: Document, name: str, message: str) -> None:
    given = {"name": name, "type": "string", "categories": ["a"], "enum": True, "example": "a"}
    document["inputs"].append(given)
    document["outputs"][0]["enum"] = True
    assert message in refused(write_bundle, document)


def test_values_of_two_enums_have_names_of_their_own(write_bundle: WriteBundle, document: Document) -> None:
    given = {"name": "soil", "type": "string", "categories": ["type_a"], "enum": True, "example": "type_a"}
    document["inputs"] += [given, given | {"name": "soil_type", "categories": ["a"], "example": "a"}]
    assert "'a' becomes the enum value SOIL_TYPE_A, as one of the input 'soil' does" in refused(write_bundle, document)


def test_names_differ_by_more_than_underscores(write_bundle: WriteBundle, document: Document) -> None:
    document["inputs"] += [{"name": name, "type": "double", "example": 1} for name in ("a1", "a_1")]
    assert "the input 'a_1' differs from 'a1' by underscores alone" in refused(write_bundle, document)


@pytest.mark.parametrize("name", ["a__b", "a_", "_a", "A"])
def test_a_name_is_made_of_words(write_bundle: WriteBundle, document: Document, name: str) -> None:
    document["inputs"][0]["name"] = name
    assert f"{name!r} must match" in refused(write_bundle, document)
