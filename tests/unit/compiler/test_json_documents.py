"""JSON Schema and OpenAPI: they are what they say, and agree with the strict reader of the prediction service."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from predmesh_bundle.schema import Bundle, Input
from predmesh_compiler import contract
from predmesh_compiler.json_schema import example_row, inputs_schema, outputs_schema, schema_document
from predmesh_compiler.openapi import openapi_document
from predmesh_frame import Frame
from predmesh_prediction.json_values import records
from predmesh_prediction.outputs import outputs_of
from predmesh_prediction.validation import Validator
from predmesh_rpc.errors import InvalidInput

from tests.unit.compiler.generated_bundles import VALUES, bundles
from tests.unit.compiler.test_contract_text import EXAMPLES, example

ODD: st.SearchStrategy[Any] = st.sampled_from(
    [
        *(None, True, 0, 1, -1, 7.0, 7.5, 2**31, 2**53, -(2**53), 2**63, 1e300, [], [1], {}),
        *("7", "+7", "1e3", "", "QUJD", "QQ", "Q", "QQ=", "-_-_", "x"),
        *("2013-06-01T10:30:00Z", "2013-06-01 10:30:00.123+02:00", "2013-06-01", "2013-06-01T10:30:00"),
    ]
)
FIELDS = st.sampled_from(list(VALUES)).flatmap(
    lambda type: st.builds(
        Input,
        name=st.just("x"),
        type=st.just(type),
        shape=st.sampled_from([(), (), (), (2,), (1, 2)]),
        required=st.booleans(),
        minimum=st.sampled_from([None, 0.5]) if type in ("int32", "int64", "float", "double") else st.none(),
        maximum=st.sampled_from([None, 1e4]) if type in ("int32", "int64", "float", "double") else st.none(),
        categories=st.sampled_from([(), ("7", "x")]) if type == "string" else st.just(()),
        example=st.just(1),
    )
)


def with_input(given: Input) -> Bundle:
    return example("wine").bundle.model_copy(update={"inputs": (given,)})


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_documents_of_an_example_are_valid(name: str) -> None:
    compiled = example(name)
    OpenAPIV31SpecValidator(openapi_document(compiled)).validate()
    for schema in schema_document(compiled)["$defs"].values():
        Draft202012Validator.check_schema(schema)


@given(bundle=bundles())
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_documents_of_any_bundle_are_valid(bundle: Bundle) -> None:
    document = openapi_document(contract(bundle))
    OpenAPIV31SpecValidator(json.loads(json.dumps(document, allow_nan=False))).validate()


@given(bundle=bundles())
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_row_of_examples_is_a_row(bundle: Bundle) -> None:
    row = example_row(bundle.inputs)
    Draft202012Validator(inputs_schema(contract(bundle))).validate(row)
    assert Validator(bundle).of_instances([row]).rows == 1


@given(each=FIELDS, value=st.one_of(ODD, st.lists(ODD, min_size=2, max_size=2), *VALUES.values()))
@settings(max_examples=800, deadline=None, suppress_health_check=list(HealthCheck))
def test_schema_and_server_agree_on_a_value(each: Input, value: Any) -> None:
    bundle = with_input(each)
    allowed = Draft202012Validator(inputs_schema(contract(bundle))).is_valid({"x": value})
    assert allowed == taken(bundle, {"x": value}) or (allowed and beyond_schemas(each, value))


def taken(bundle: Bundle, row: dict[str, Any]) -> bool:
    try:
        Validator(bundle).of_instances([row])
    except InvalidInput:
        return False
    return True


def beyond_schemas(each: Input, value: Any) -> bool:
    """Whether it holds a decimal string, whose bounds a schema cannot tell."""
    texts = [value] if isinstance(value, str) else [text for text in value if isinstance(text, str)]
    return bool(texts) and each.type.name in ("INT32", "INT64")


@pytest.mark.parametrize("row", [{}, {"alcohol": 13}, {"alcohol": 13, "hue": 1, "colour": 2}])
def test_what_lacks_an_input_or_has_another_is_no_row(row: dict[str, Any]) -> None:
    assert not Draft202012Validator(inputs_schema(example("wine"))).is_valid(row)


def test_the_typed_and_the_generic_calls_have_their_paths() -> None:
    document = openapi_document(example("flights"))
    version = "/v1/models/flight-delay/versions/1"
    typed = {f"{version}/typed:{verb}" for verb in ("predict", "predictBatch", "streamPredict", "explain")}
    places, verbs = ("/v1/models/flight-delay", version), ("predict", "streamPredict", "explain")
    generic = {f"{place}:{verb}" for place in places for verb in verbs}
    assert document["paths"].keys() == typed | generic


def test_streams_take_and_give_lines_and_events() -> None:
    document = openapi_document(example("flights"))
    operation = document["paths"]["/v1/models/flight-delay/versions/1/typed:streamPredict"]["post"]
    assert operation["requestBody"]["content"].keys() == {"application/json", "application/x-ndjson"}
    given = operation["responses"]["200"]["content"]
    assert given.keys() == {"application/x-ndjson", "text/event-stream"}


def test_the_examples_of_a_stream_are_what_its_schemas_say() -> None:
    document = openapi_document(example("flights"))
    defined = {"components": document["components"]}
    for path in (each for each in document["paths"] if each.endswith(":streamPredict")):
        operation = document["paths"][path]["post"]
        for content in (operation["requestBody"]["content"], operation["responses"]["200"]["content"]):
            for shown in content.values():
                for each in shown["examples"].values():
                    Draft202012Validator(shown["schema"] | defined).validate(each["value"])


def test_a_model_without_explanation_has_no_such_call() -> None:
    assert not any(path.endswith(":explain") for path in openapi_document(example("wine"))["paths"])


def test_answers_are_what_the_schema_says() -> None:
    compiled = example("wine")
    scores = np.array([[0.1, 0.8, 0.1], [np.nan, 0.5, 0.5]])
    answered: Frame = outputs_of(compiled.bundle.outputs, {"probabilities": scores}, 2, "wine-1-000000000000")
    for row in records(answered):
        Draft202012Validator(outputs_schema(compiled)).validate(row)
