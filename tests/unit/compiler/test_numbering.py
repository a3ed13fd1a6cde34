"""Numbers: a name keeps its own for ever, and nothing gets one that another had."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from predmesh_bundle.problems import BundleError
from predmesh_bundle.schema import Bundle
from predmesh_compiler.lock import PROTOBUFS_OWN, Lock, Numbers, parse_lock
from predmesh_compiler.numbering import Clash, numbered

NAMES = st.lists(st.sampled_from("abcdefgh"), min_size=1, unique=True)


def bundle(*inputs: str | tuple[str, int], labels: tuple[str, ...] = ()) -> Bundle:
    """A bundle with inputs by name, or name and number."""
    fields: list[dict[str, Any]] = []
    for each in inputs:
        name, number = (each, None) if isinstance(each, str) else each
        fields.append({"name": name, "number": number, "type": "double", "example": 1})
    return Bundle.model_validate(
        {
            "name": "model",
            "version": "1",
            "owner": "somebody",
            "description": "something",
            "inputs": fields,
            "inference": {
                "framework": "onnx",
                "file": "model.onnx",
                "inputs": [{"name": "x", "datatype": "FP32"}],
                "outputs": [{"name": "y", "datatype": "FP32"}],
            },
            "outputs": [{"name": "kind", "type": "string", "tensor": "y", "labels": labels, "enum": bool(labels)}],
        }
    )


def locked(*inputs: str | tuple[str, int], before: Lock | None = None, labels: tuple[str, ...] = ()) -> Lock:
    return numbered(bundle(*inputs, labels=labels), before or Lock())[1]


def test_names_without_numbers_get_the_next_ones_in_order() -> None:
    whole, lock = numbered(bundle("a", ("b", 7), "c"), Lock())
    assert {each.name: each.number for each in whole.inputs} == lock.inputs.used == {"b": 7, "a": 8, "c": 9}


def test_protobufs_own_numbers_are_passed_over() -> None:
    assert locked(("a", 18_999), "b").inputs.used["b"] == PROTOBUFS_OWN.stop


def test_after_the_largest_number_come_the_smallest_free_ones() -> None:
    assert locked(("a", 536_870_911), "b").inputs.used["b"] == 1


def test_a_name_that_went_stays_reserved() -> None:
    lock = locked("a", "c", before=locked("a", "b"))
    assert lock.inputs == Numbers({"a": 1, "c": 3}, {"b": 2})
    assert lock.inputs.reserved == [2]


def test_a_new_name_with_the_number_of_one_that_went_is_a_rename() -> None:
    lock = locked("a", ("c", 2), before=locked("a", "b"))
    assert lock.inputs == Numbers({"a": 1, "c": 2}, {"b": 2})
    assert lock.inputs.reserved == []


def test_a_removed_name_comes_back_with_its_own_number() -> None:
    removed = locked("a", before=locked("a", "b"))
    assert locked("a", ("b", 2), before=removed).inputs == Numbers({"a": 1, "b": 2})


def test_an_enum_moves_with_its_field_and_keeps_its_values() -> None:
    before = locked("a", labels=("x", "y"))
    renamed = bundle("a", labels=("y", "z", "x"))
    output = renamed.outputs[0].model_copy(update={"name": "sort", "number": 1})
    lock = numbered(renamed.model_copy(update={"outputs": (output,)}), before)[1]
    assert lock.output_values == {"sort": Numbers({"x": 1, "y": 2, "z": 3})}


def test_a_category_that_comes_back_has_the_number_that_it_had() -> None:
    lock = locked("a", labels=("y",), before=locked("a", labels=("x", "y")))
    assert lock.output_values["kind"] == Numbers({"y": 2}, {"x": 1})
    assert locked("a", labels=("x", "y"), before=lock).output_values["kind"] == Numbers({"x": 1, "y": 2})


GONE = locked("a", before=locked("a", "b"))


@pytest.mark.parametrize(
    ("asked", "before", "message"),
    [
        pytest.param([("a", 2)], locked("a"), "has the number 1 in predmesh.lock.yaml, which never moves", id="moved"),
        pytest.param(["a", ("b", 1)], locked("a"), "the number 1 is that of 'a'", id="taken"),
        pytest.param(["a", ("c", 2)], GONE, "was that of something removed", id="reserved"),
        pytest.param(["a", "b"], GONE, "write `number: 2` to bring it back", id="name came back"),
        pytest.param(["a", ("b", 9)], GONE, "was there before, with the number 2", id="came back otherwise"),
        pytest.param(["b", "a"], locked(("b", 1), before=locked("a")), "was renamed to 'b'", id="old name"),
    ],
)
def test_a_clash_says_what_to_do(asked: list[str | tuple[str, int]], before: Lock, message: str) -> None:
    with pytest.raises(Clash, match=message) as raised:
        numbered(bundle(*asked), before)
    ((path, _),) = raised.value.problems
    assert path[0] == "inputs"


@given(first=NAMES, second=NAMES, third=NAMES)
def test_no_number_moves_and_none_is_given_twice(first: list[str], second: list[str], third: list[str]) -> None:
    lock, numbers = Lock(), dict[str, int]()
    for names in (first, second, third):
        # What comes back must say so.
        lock = locked(*((name, numbers[name]) if name in lock.inputs.gone else name for name in names), before=lock)
        for name, number in lock.inputs.used.items():
            assert numbers.setdefault(name, number) == number
    assert len(set(numbers.values())) == len(numbers)
    assert {**lock.inputs.used, **lock.inputs.gone} == numbers


@given(names=st.permutations("abcdef"))
def test_order_changes_nothing(names: list[str]) -> None:
    before = locked(*"abcdef")
    assert locked(*names, before=before).to_yaml() == before.to_yaml()


@given(
    st.builds(
        Lock,
        inputs=st.builds(Numbers, used=st.just({"a": 1}), gone=st.dictionaries(st.text("bc"), st.integers(2, 9))),
        output_values=st.dictionaries(
            st.text("abc", min_size=1),
            st.builds(Numbers, used=st.dictionaries(st.text(min_size=1), st.integers(1, 1), max_size=1)),
        ),
    )
)
def test_a_lock_reads_as_it_was_written(lock: Lock) -> None:
    assert parse_lock(lock.to_yaml().encode()) == lock


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("inputs: {used: {a: 1, b: 1}}", 1, "'b' has the number of 'a'"),
        ("inputs:\n  used:\n    a: 19000", 3, "no number that 'a' can have"),
        ("inputs:\n  used:\n    a: one", 3, "no number that 'a' can have"),
        ("outputs:\n  lost: {}", 2, "there are used and gone"),
        ("fields: {}", 1, "there are inputs"),
        ("- a", 1, "no mapping"),
    ],
)
def test_a_broken_lock_is_told_with_its_line(text: str, line: int, message: str) -> None:
    with pytest.raises(BundleError, match=message) as raised:
        parse_lock(text.encode())
    assert [(each.file, each.line) for each in raised.value.problems] == [("predmesh.lock.yaml", line)]
