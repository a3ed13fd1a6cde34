"""What breaks clients is named, what does not passes, and what passes keeps old rows valid."""

from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from predmesh_bundle.schema import Bundle
from predmesh_compiler import Contract, breaks, contract
from predmesh_compiler.json_schema import example_row
from predmesh_prediction.validation import Validator

from tests.unit.compiler.generated_bundles import bundles
from tests.unit.compiler.golden_files import golden_contract

Change = Callable[[dict[str, Any]], None]

SETTINGS = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))


def changed(change: Change) -> tuple[Contract, Contract]:
    """Everything, and what *change* makes of its parts by name; new inputs and outputs are appended."""
    old = golden_contract("everything")
    parts = old.bundle.model_dump(mode="json")
    for side in ("inputs", "outputs"):
        parts[side] = {each["name"]: each for each in parts[side]}
    change(parts)
    for side in ("inputs", "outputs"):
        parts[side] = list(parts[side].values())
    return old, contract(Bundle.model_validate(parts), old.lock)


def set_in(side: str, name: str, /, **values: Any) -> Change:
    return lambda parts: parts[side][name].update(values)


def remove(side: str, name: str) -> Change:
    def change(parts: dict[str, Any]) -> None:
        del parts[side][name]

    return change


def add(**values: Any) -> Change:
    return lambda parts: parts["inputs"].update({"new": {"name": "new", "type": "double", "example": 1} | values})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param(remove("inputs", "level"), "inputs.level: was removed", id="removed"),
        pytest.param(
            set_in("inputs", "level", name="grade", number=52),
            "inputs.level: was renamed to 'grade'; JSON goes by name",
            id="renamed",
        ),
        pytest.param(
            set_in("inputs", "given_int32", type="int64"),
            "inputs.given_int32: the type was int32 and is int64",
            id="retyped",
        ),
        pytest.param(
            set_in("inputs", "carrier", enum=False), "inputs.carrier: the type was an enum and is string", id="no enum"
        ),
        pytest.param(
            set_in("inputs", "given_int64", required=True), "inputs.given_int64: is now required", id="newly required"
        ),
        pytest.param(add(), "inputs.new: is new and required: give it `required: false`", id="new and required"),
        pytest.param(
            set_in("inputs", "given_int32", minimum=0),
            "inputs.given_int32: the minimum was -5 and is 0",
            id="higher minimum",
        ),
        pytest.param(
            set_in("inputs", "given_double", maximum=20),
            "inputs.given_double: the maximum was 1000000000.0 and is 20.0",
            id="lower maximum",
        ),
        pytest.param(
            set_in("inputs", "carrier", categories=["AA", "a-b"]),
            "inputs.carrier: the categories '9E', 'très cher' went",
            id="dropped categories",
        ),
        pytest.param(
            set_in("inputs", "given_string", categories=["ü"]),
            "inputs.given_string: any text was allowed, and only its categories are",
            id="only categories",
        ),
        pytest.param(
            set_in("inputs", "few", shape=[2], example=[1, 2]),
            "inputs.few: the shape was [3] and is [2]",
            id="other shape",
        ),
        pytest.param(
            set_in("inputs", "given_int32", unit="h"),
            "inputs.given_int32: the unit was 'min' and is 'h'",
            id="other unit",
        ),
        pytest.param(remove("outputs", "total"), "outputs.total: was removed", id="output removed"),
        pytest.param(
            set_in("outputs", "total", type="double"),
            "outputs.total: the type was int64 and is double",
            id="output retyped",
        ),
        pytest.param(
            set_in("outputs", "late", maximum=None), "outputs.late: the maximum was 1.0 and is none", id="wider range"
        ),
        pytest.param(
            set_in("outputs", "kind", labels=["a", "b", "d"]),
            "outputs.kind: the label 'd' would be new to clients",
            id="new label",
        ),
        pytest.param(
            lambda parts: parts.update(explanation=None),
            "explanation: was removed, and with it Explain",
            id="no explanation",
        ),
    ],
)
def test_a_break_is_named_with_its_field_and_reason(change: Change, said: str) -> None:
    assert said in map(str, breaks(*changed(change)))


def test_a_renumbered_field_is_a_break() -> None:
    old = golden_contract("everything")
    moved = [each.model_copy(update={"number": (each.number or 0) + 100}) for each in old.bundle.inputs]
    found = breaks(old, contract(old.bundle.model_copy(update={"inputs": tuple(moved)})))
    assert "inputs.given_int32: the number was 1 and is 101" in map(str, found)


def test_a_renumbered_category_is_a_break() -> None:
    old = golden_contract("everything")
    found = breaks(old, contract(old.bundle))
    assert "inputs.carrier: the number of 'AA' was 1 and is 2" in map(str, found)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(add(required=False), id="a new input that may be left out"),
        pytest.param(set_in("inputs", "level", required=False), id="no longer required"),
        pytest.param(set_in("inputs", "given_int32", minimum=None, maximum=100), id="a wider range"),
        pytest.param(
            set_in("inputs", "carrier", categories=["9E", "AA", "très cher", "a-b", "ZZ"]), id="a new category"
        ),
        pytest.param(set_in("inputs", "level", categories=[]), id="any text"),
        pytest.param(set_in("inputs", "level", description="other words", personal=True), id="other words"),
        pytest.param(set_in("outputs", "late", minimum=0.1), id="a narrower answer"),
        pytest.param(set_in("outputs", "kind", labels=["a", "b"]), id="a label less"),
        pytest.param(lambda parts: parts.update(inputs=dict(reversed(parts["inputs"].items()))), id="another order"),
    ],
)
def test_a_compatible_change_passes(change: Change) -> None:
    assert breaks(*changed(change)) == []


@given(bundle=bundles())
@SETTINGS
def test_nothing_breaks_a_contract_that_stays(bundle: Bundle) -> None:
    compiled = contract(bundle)
    assert breaks(compiled, contract(bundle, compiled.lock)) == []


@given(bundle=bundles(), data=st.data())
@SETTINGS
def test_what_passes_still_takes_a_row_of_the_earlier_contract(bundle: Bundle, data: st.DataObject) -> None:
    old = contract(bundle)
    drawn = [data.draw(perhaps_changed(each.model_dump())) for each in old.bundle.inputs]
    inputs = [each for each in drawn if each is not None]
    assume(inputs)
    after = Bundle.model_validate(old.bundle.model_dump() | {"inputs": inputs})
    new = contract(after, old.lock)
    assume(not breaks(old, new))
    left_out = {each.name for each in old.inputs if not each.required and data.draw(st.booleans())}
    row = {name: value for name, value in example_row(old.bundle.inputs).items() if name not in left_out}
    assert Validator(new.bundle).of_instances([row]).rows == 1
    assert read_as(new, written(old)) == {each.name for each in old.inputs}


@st.composite
def perhaps_changed(draw: st.DrawFn, given: dict[str, Any]) -> dict[str, Any] | None:
    kind = draw(st.sampled_from(["same", "same", "gone", "free", "wider", "narrower", "open", "required"]))
    example = given["example"]
    match kind:
        case "gone":
            return None
        case "free":
            return given | {"required": False}
        case "wider":
            return given | {"minimum": None, "maximum": None}
        case "narrower" if given["type"] in ("int32", "double") and not given["shape"]:
            return given | {"minimum": example, "maximum": example}
        case "open":
            return given | {"categories": (), "enum": False}
        case "required":
            return given | {"required": True, "default": None}
    return given


def written(compiled: Contract) -> bytes:
    """Inputs with every field set to something."""
    message = inputs_class(compiled)()
    for each in message.DESCRIPTOR.fields:
        if each.is_repeated:
            values = getattr(message, each.name)
            values.add() if each.message_type else values.append(nonzero(each))
        elif each.message_type:
            getattr(message, each.name).SetInParent()
        else:
            setattr(message, each.name, nonzero(each))
    content: bytes = message.SerializeToString()
    return content


def read_as(compiled: Contract, content: bytes) -> set[str]:
    return {each.name for each, _ in inputs_class(compiled).FromString(content).ListFields()}


def nonzero(field: Any) -> Any:
    if field.enum_type is not None:
        return 1
    return {field.CPPTYPE_STRING: b"x" if field.type == field.TYPE_BYTES else "x"}.get(field.cpp_type, 1)


def inputs_class(compiled: Contract) -> Any:
    pool: Any = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(compiled.files.SerializeToString()).file:
        pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{compiled.package}.Inputs"))
