"""The page for people: what stands in it, and that no text of a bundle is anything but text."""

import base64
import hashlib
import json
import re
from typing import Any
from xml.etree.ElementTree import Element

import html5lib
import pytest
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.json_format import ParseDict
from hypothesis import HealthCheck, given, settings
from predmesh_bundle.schema import Bundle, Input
from predmesh_compiler import Contract, contract
from predmesh_compiler.json_schema import example_row
from predmesh_compiler.reference_page import Control, calls, control, protobuf_row, reference_page

from tests.unit.compiler.generated_bundles import bundles
from tests.unit.compiler.golden_files import NAMES, golden_contract

HOSTILE = "</script></style></textarea><script>alert(1)</script><img src=x onerror=alert(2)>\"'{{ 7*7 }}"


def parsed(page: str, *, strict: bool = True) -> Element:
    parser = html5lib.HTMLParser(strict=strict, namespaceHTMLElements=False)
    root: Element = parser.parse(page)
    return root


def text_of(element: Element) -> str:
    return "".join(element.itertext())


def hostile(name: str) -> Contract:
    """An example whose every free text is an attack."""
    bundle = golden_contract(name).bundle
    texts = {"description": HOSTILE, "unit": HOSTILE}
    choices = {"type": "string", "shape": (), "minimum": None, "maximum": None, "enum": False}
    attacks = {"example": HOSTILE, "default": HOSTILE, "required": False, "categories": (HOSTILE, "b")}
    first, *rest = (Input.model_validate(each.model_dump() | texts) for each in bundle.inputs)
    free = Input.model_validate(first.model_dump() | choices | attacks | {"name": "free", "categories": ()})
    chosen = Input.model_validate(first.model_dump() | choices | attacks | {"name": "chosen"})
    inputs = [each.model_copy(update={"number": None}) for each in (free, chosen, *rest)]
    outputs = [each.model_copy(update=texts) for each in bundle.outputs]
    return contract(
        bundle.model_copy(update={"inputs": tuple(inputs), "outputs": tuple(outputs), "owner": HOSTILE} | texts)
    )


@pytest.mark.parametrize("name", NAMES)
def test_the_page_of_an_example_is_html_without_an_error(name: str) -> None:
    page = parsed(reference_page(golden_contract(name)))
    labelled = {each.get("for") for each in page.iter("label")}
    asked = {each.get("id") for tag in ("input", "select", "textarea") for each in page.iter(tag)}
    assert labelled == asked == {f"input-{each.name}" for each in golden_contract(name).bundle.inputs}


@pytest.mark.parametrize("name", ["wine", "everything"])
def test_hostile_texts_stay_texts(name: str) -> None:
    page = parsed(reference_page(hostile(name)))
    [script] = page.iter("script")
    assert "alert(" not in text_of(script)
    assert list(page.iter("img")) == []
    [owner] = [text_of(each) for each in page.iter("small") if text_of(each).startswith("Owner")]
    assert owner == f"Owner: {HOSTILE}"
    [free] = [each for each in page.iter("input") if each.get("id") == "input-free"]
    assert free.get("value") == HOSTILE
    [chosen] = [each for each in page.iter("select") if each.get("id") == "input-chosen"]
    assert [each.get("value") for each in chosen] == ["", HOSTILE, "b"]


@given(bundle=bundles())
@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_bundle_has_a_page_of_the_same_bones(bundle: Bundle) -> None:
    page = parsed(reference_page(contract(bundle)), strict=False)
    assert len(list(page.iter("script"))) == len(list(page.iter("style"))) == 1
    assert len(list(page.iter("label"))) == len(bundle.inputs)
    attributes = {name for each in page.iter() if isinstance(each.tag, str) for name in each.attrib}
    assert not [name for name in attributes if name.startswith("on")]


def test_the_policy_lets_the_pages_own_script_and_style_run_and_nothing_else() -> None:
    page = parsed(reference_page(golden_contract("flights")))
    policy = next(each.get("content", "") for each in page.iter("meta") if each.get("http-equiv"))
    rules = dict(each.split(" ", 1) for each in policy.split("; "))
    for tag in ("script", "style"):
        digest = hashlib.sha256(text_of(next(page.iter(tag))).encode()).digest()
        assert rules.pop(f"{tag}-src") == f"'sha256-{base64.b64encode(digest).decode()}'"
    none = dict.fromkeys(("default-src", "base-uri", "form-action"), "'none'")
    assert rules == none | {"connect-src": "'self'"}


def test_the_page_loads_and_links_nothing_but_the_contract() -> None:
    page = parsed(reference_page(golden_contract("everything")))
    links = {value for each in page.iter() for key, value in each.items() if key in ("href", "src", "action", "srcset")}
    assert links == {"contract.proto", "contract.binpb", "openapi.json", "schema.json"}


def test_the_tables_say_what_a_row_is() -> None:
    page = parsed(reference_page(golden_contract("everything")))
    inputs, outputs = (
        [[text_of(cell).strip() for cell in row] for row in each.iter("tr")] for each in page.iter("table")
    )
    rows = {cells[0]: cells[1:] for cells in inputs}
    assert rows["given_int32"] == ["int32", "min", "from -5 to 90", "never: required", "7", ""]
    assert rows["given_float"][3] == "0.5"
    assert rows["level"][2] == 'low, high "er"'
    assert rows["passenger"][-1] == "Whose flight it is Personal data: the person that the row is about."
    assert {cells[0]: cells[3] for cells in outputs}["late"] == "from 0 to 1"


def test_errors_are_shown_with_an_example() -> None:
    page = parsed(reference_page(golden_contract("wine")))
    shown = {
        text_of(next(each.iter("code"))): json.loads(text_of(next(each.iter("pre")))) for each in page.iter("details")
    }
    assert list(shown) == ["400", "404", "429", "503", "504", "default"]
    assert shown["404"]["details"][0]["reason"] == "ERROR_REASON_MODEL_UNKNOWN"


@pytest.mark.parametrize(
    ("given", "filled"),
    [
        ({"type": "bool", "example": True}, Control("boolean", "true", ("true", "false"))),
        ({"type": "int64", "example": 2**53}, Control("integer", "9007199254740992")),
        ({"type": "float", "example": 0.25}, Control("number", "0.25")),
        ({"type": "string", "categories": ["a", "b"], "example": "b"}, Control("text", "b", ("a", "b"))),
        ({"type": "bytes", "example": "QUJD"}, Control("text", "QUJD")),
        ({"type": "timestamp", "example": "2013-12-30T16:51:00-05:00"}, Control("time", "2013-12-30T21:51:00")),
        ({"type": "timestamp", "example": "2013-12-30 16:51:00.1239z"}, Control("time", "2013-12-30T16:51:00.123")),
        ({"type": "float", "shape": [2], "example": [1, 2.5]}, Control("json", "[1, 2.5]")),
    ],
)
def test_an_input_is_filled_in_by_what_suits_it(given: dict[str, Any], filled: Control) -> None:
    assert control(Input.model_validate({"name": "x"} | given)) == filled


@given(bundle=bundles())
@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_example_is_inputs_in_protobufs_json(bundle: Bundle) -> None:
    compiled = contract(bundle)
    pool: Any = descriptor_pool.DescriptorPool()
    for each in compiled.files.file:
        pool.AddSerializedFile(each.SerializeToString())
    inputs = message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{compiled.package}.Inputs"))
    assert ParseDict(protobuf_row(compiled), inputs()).IsInitialized()


def test_pasted_bodies_are_the_example() -> None:
    compiled = golden_contract("flights")
    row = example_row(compiled.bundle.inputs)
    pasted = [re.search(r" -d '(.*?)'", call) for call in calls(compiled).values()]
    bodies = [json.loads(each[1]) for each in pasted if each]
    assert bodies == [{"instance": row}, {"instances": [row]}, {"instance": row}, {"instance": row}]


def test_a_model_that_is_not_explained_offers_no_explanation() -> None:
    assert "typed:explain" not in reference_page(golden_contract("wine"))
    assert "typed:explain" in reference_page(golden_contract("flights"))
