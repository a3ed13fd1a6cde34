"""JSON bodies are read strictly."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from predmesh_prediction.bodies import check_content_type, read_object
from predmesh_rpc.errors import InvalidInput

KEYS = ("instances", "columns")


def fault(body: bytes) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        read_object(body, KEYS, "m")
    return caught.value


@pytest.mark.parametrize(
    ("body", "position"),
    [
        pytest.param(b'{"instances": [', "line 1, column 16", id="cut off"),
        pytest.param(b'{\n "instances": [NaN]}', "line 2, column 16", id="NaN"),
        pytest.param(b"", "line 1, column 1", id="empty"),
        pytest.param(b'{"instances": ["\xff"]}', "line 1, column 1", id="not UTF-8"),
        pytest.param(b"[" * 5000, "line 1, column 1", id="deep"),
    ],
)
def test_broken_json_has_a_position(body: bytes, position: str) -> None:
    found = fault(body)
    assert found.reason == "ERROR_REASON_MALFORMED_BODY"
    assert found.metadata["position"].startswith(position[:12])


def test_an_unknown_key_offers_the_nearest() -> None:
    (found,) = fault(b'{"instance": []}').violations
    assert (found.field, found.nearest) == ("instance", "instances")


@pytest.mark.parametrize("body", [b"[]", b"7", b'"x"', b"null"])
def test_a_body_must_be_an_object(body: bytes) -> None:
    assert fault(body).violations[0].field == "body"


def test_a_body_of_more_than_four_mebibytes_is_refused() -> None:
    found = fault(b'{"instances": ["' + b"x" * (4 << 20) + b'"]}')
    assert (found.reason, found.metadata["limitBytes"]) == ("ERROR_REASON_TOO_LARGE", "4194304")


@pytest.mark.parametrize(
    ("body", "paths"),
    [
        pytest.param(b'{"instances": [{"a": 1}, {"a": 1, "a": 2}]}', ["instances[1].a"], id="in a row"),
        pytest.param(b'{"instances": [], "instances": []}', ["instances"], id="at the top"),
        pytest.param(b'{"instances": [{"a": ":", "b": 2, "a": "::"}]}', ["instances[0].a"], id="colons in texts"),
        pytest.param(b'{"instances": [{"a": 1, "a": "\\u003a"}]}', ["instances[0].a"], id="hidden by an escape"),
        pytest.param(b'{"instances": [{"a": 1, "\\u0061": 2}]}', ["instances[0].a"], id="escaped name"),
    ],
)
def test_a_key_that_is_there_twice_is_refused(body: bytes, paths: list[str]) -> None:
    assert [each.field for each in fault(body).violations] == paths


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(JSON)
def test_a_body_without_duplicates_is_read_as_it_is(value: object) -> None:
    body = orjson.dumps({"instances": value})
    assert read_object(body, KEYS, "m") == {"instances": orjson.loads(orjson.dumps(value))}


@pytest.mark.parametrize("content_type", ["", "application/json", "Application/JSON; charset=utf-8"])
def test_json_is_taken(content_type: str) -> None:
    check_content_type(content_type)


def test_another_content_type_is_refused() -> None:
    with pytest.raises(InvalidInput) as caught:
        check_content_type("text/csv")
    assert caught.value.reason == "ERROR_REASON_CONTENT_TYPE"
    assert caught.value.metadata == {"contentType": "text/csv", "accepted": "application/json"}
