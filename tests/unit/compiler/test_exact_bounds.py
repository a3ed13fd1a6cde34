"""Bounds of 64-bit integers stay exact, from the bundle to contract, schema, page and errors."""

from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from predmesh_bundle.schema import Bundle
from predmesh_compiler import Contract, breaks, contract
from predmesh_compiler.compiling import contract_files
from predmesh_compiler.json_schema import example_row, inputs_schema
from predmesh_prediction.validation import Validator
from predmesh_rpc.errors import InvalidInput

from tests.unit.compiler.golden_files import golden_contract

LOW, HIGH = 2**53 + 1, 2**63 - 1


def compiled(minimum: int, maximum: int) -> Contract:
    parts = golden_contract("everything").bundle.model_dump(mode="json")
    given = {"name": "big", "type": "int64", "example": str(min(maximum, LOW)), "minimum": minimum, "maximum": maximum}
    written = yaml.safe_load(yaml.safe_dump(given))
    return contract(Bundle.model_validate(parts | {"inputs": [written]}))


def test_text_and_page_name_the_very_integers() -> None:
    files = contract_files(compiled(LOW, HIGH))
    proto, page, schema = (files[name].decode() for name in ("contract.proto", "reference.html", "schema.json"))
    assert f"Range: {LOW} to {HIGH}." in proto
    assert f"int64: {{gte: {LOW}, lte: {HIGH}}}" in proto
    assert f"from {LOW} to {HIGH}" in page
    assert f'min="{LOW}" max="{HIGH}"' in page
    assert f"Range: {LOW} to {HIGH}." in schema
    assert str(LOW - 1) not in proto + page + schema


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        pytest.param({"example": 2**53 - 1}, 2**53 - 1, id="the last number"),
        pytest.param({"example": 2**53}, str(2**53), id="beyond"),
        pytest.param({"example": -(2**63)}, str(-(2**63)), id="least of all"),
        pytest.param({"example": str(2**53)}, str(2**53), id="written as text"),
        pytest.param({"example": [1, 2**53], "shape": [2]}, [1, str(2**53)], id="in a list"),
    ],
)
def test_an_example_is_written_as_the_mesh_takes_it(given: dict[str, Any], shown: Any) -> None:
    parts = golden_contract("everything").bundle.model_dump(mode="json")
    big = {"name": "big", "type": "int64", "required": False, "default": given["example"]} | given
    made = contract(Bundle.model_validate(parts | {"inputs": [big]}))
    schema = inputs_schema(made)
    told = schema["properties"]["big"]
    assert (example_row(made.bundle.inputs), told["examples"], told["default"]) == ({"big": shown}, [shown], shown)
    Draft202012Validator(schema).validate({"big": shown})
    assert Validator(made.bundle).of_instances([{"big": shown}]).rows == 1


@pytest.mark.parametrize(
    ("minimum", "maximum", "value", "said", "nearest"),
    [
        pytest.param(LOW, HIGH, LOW - 1, f"must be at least {LOW} ", LOW, id="just below"),
        pytest.param(-HIGH, LOW, LOW + 1, f"must be at most {LOW} ", LOW, id="just above"),
        pytest.param(-HIGH, HIGH, -HIGH - 1, f"must be at least {-HIGH} ", -HIGH, id="lowest of all"),
        pytest.param(-HIGH, HIGH - 1, HIGH, f"must be at most {HIGH - 1} ", HIGH - 1, id="highest of all"),
    ],
)
def test_a_value_one_beyond_is_refused(minimum: int, maximum: int, value: int, said: str, nearest: int) -> None:
    validator = Validator(compiled(minimum, maximum).bundle)
    validator.of_instances([{"big": str(nearest)}])
    with pytest.raises(InvalidInput) as caught:
        validator.of_instances([{"big": str(value)}])
    (violation,) = caught.value.violations
    assert violation.reason_text.startswith(said)
    assert violation.nearest == str(nearest)


def test_a_bound_that_moves_by_one_is_a_break() -> None:
    wide, narrow = compiled(-HIGH, LOW), compiled(-HIGH + 1, LOW - 1)
    assert [each.reason for each in breaks(wide, narrow)] == [
        f"the minimum was {-HIGH} and is {-HIGH + 1}",
        f"the maximum was {LOW} and is {LOW - 1}",
    ]
    assert not breaks(narrow, wide)


def test_a_stored_bundle_reads_back_the_very_integers() -> None:
    bundle = compiled(-HIGH - 1, LOW).bundle
    assert Bundle.model_validate_json(bundle.model_dump_json()).inputs[0].minimum == -HIGH - 1
    assert Bundle.model_validate_json(bundle.model_dump_json()).inputs[0].maximum == LOW
