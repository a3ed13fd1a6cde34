"""YAML as plain values with lines, and nothing that a writer can do to harm the reader."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from predmesh_bundle.problems import BundleError
from predmesh_bundle.reading import MAX_BYTES, read_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("yes", "yes"),
        ("12:30", "12:30"),
        ("2013-12-31", "2013-12-31"),
        ("010", "010"),
        ("9E", "9E"),
        ("true", True),
        ("7", 7),
        ("-7", -7),
        ("0", 0),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        ("-.inf", float("-inf")),
        ("~", None),
        ("'7'", "7"),
        ("[1, {a: b}]", [1, {"a": "b"}]),
    ],
)
def test_a_scalar_is_what_its_writer_meant(text: str, value: object) -> None:
    assert read_yaml(text.encode(), "f").values == value


def test_every_value_knows_its_line() -> None:
    document = read_yaml(b"a: 1\nb:\n  - c: 2\n  - d: 3\n", "f")
    assert document.line(("b", 1, "d")) == 4
    assert document.line(("b", 1, "unknown", "deeper")) == 4


def test_a_key_that_is_there_twice_is_told_with_both_lines() -> None:
    (problem,) = read_yaml(b"a: 1\nb: 2\na: 3\n", "f").problems
    assert str(problem) == "f:3: the key 'a' is here twice; the first is on line 1"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"a: [1", "this is no YAML"),
        (b"\xff\xfe\xff", "no UTF-8"),
        (b"a: 1\n---\nb: 2\n", "this is no YAML"),
        (b"a: *b", "undefined alias"),
        (b"x" * (MAX_BYTES + 1), "at most"),
        (b"[" * 5000, "nests too deeply"),
        (b"a: &a [*a]", "nests too deeply"),
        (b"a: \x07", "this is no YAML"),
    ],
    ids=["open", "encoding", "two-documents", "alias", "size", "depth", "loop", "control"],
)
def test_what_is_no_yaml_is_refused(text: bytes, reason: str) -> None:
    with pytest.raises(BundleError, match=reason):
        read_yaml(text, "f")


def test_aliases_of_aliases_do_not_grow_without_bound() -> None:
    layers = [b"a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    layers += [b"a%d: &a%d [%s]" % (n, n, b", ".join([b"*a%d" % (n - 1)] * 9)) for n in range(1, 10)]
    with pytest.raises(BundleError, match="expands to more than"):
        read_yaml(b"\n".join(layers), "f")


@pytest.mark.parametrize("text", [b"a: !!python/object/apply:os.getcwd []", b"a: !!python/name:os.system ''", b"!x a"])
def test_tags_build_nothing(text: bytes) -> None:
    document = read_yaml(text, "f")
    assert "os" not in repr(document.values) or document.values == {"a": []}


def test_merge_keys_are_told_not_dropped() -> None:
    (problem,) = read_yaml(b"a: &a {b: 1}\nc:\n  <<: *a\n", "f").problems
    assert problem.line == 3


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_a_bundle_error(text: bytes) -> None:
    try:
        read_yaml(text, "f")
    except BundleError as error:
        assert error.problems
