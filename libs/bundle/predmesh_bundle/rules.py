"""Which parts of a bundle must agree with each other: pure functions from parts to problems, each with its path."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from math import prod

from predmesh_frame import DataType

from predmesh_bundle.contract_names import (
    CONTRACT_MESSAGES,
    UNSPECIFIED,
    alike,
    camel,
    enum_name,
    service_name,
    value_name,
    value_word,
)
from predmesh_bundle.nearest import hint
from predmesh_bundle.schema import (
    Explanation,
    FeatureSet,
    Inference,
    Input,
    Output,
    Placement,
    Policies,
    Policy,
    Stages,
    TensorSpec,
    bound_text,
)
from predmesh_bundle.values import is_number, value_problem

Path = tuple[str | int, ...]
Found = Iterator[tuple[Path, str]]

ALLOWED_POLICIES: dict[str, tuple[Policy, ...]] = {
    "features": (Policy.FAIL, Policy.DEFAULTS, Policy.LAST_KNOWN),
    "preprocessing": (Policy.FAIL,),
    "inference": (Policy.FAIL,),
    "explanation": (Policy.FAIL, Policy.SKIP),
}
"""What each stage can do about trouble: without tensors there is no answer, without a look-up there may be."""

EXPLAINABLE: dict[str, tuple[str, ...]] = {"tree_shap": ("xgboost",)}
"""Frameworks that each method of explanation reads."""

_INTEGERS = ("INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64")
_PROTOBUFS_OWN = range(19_000, 20_000)


def input_rules(given: Input) -> Found:
    """What one input must keep to by itself."""
    yield from _range_rules(given.minimum, given.maximum, given.type)
    if given.categories and given.type is not DataType.STRING:
        yield ("categories",), f"categories are for strings; {given.name!r} is of type {_type(given)}"
    yield from _repeated(given.categories, ("categories",), "category")
    yield from _enum_rules(given.name, given.categories, "categories", enum=given.enum)
    if given.required and given.default is not None:
        yield ("default",), "a required input has no default: add `required: false`, or remove the default"
    if given.default is not None and (problem := value_problem(given, given.default)):
        yield ("default",), f"the default does not fit the input: {problem}"
    if problem := value_problem(given, given.example):
        yield ("example",), f"the example does not fit the input: {problem}"
    if given.entity_key is not None and (given.shape or not _can_be_key(given)):
        yield ("entity_key",), f"an entity key is a single string or integer; {given.name!r} is neither"
    if given.subject and not given.personal:
        yield ("subject",), "an input that names a person is data about a person: add `personal: true`"
    yield from _number_rules(given.number)


def inputs_rules(inputs: Sequence[Input]) -> Found:
    """What the inputs must keep to together."""
    yield from _repeated([each.name for each in inputs], (), "input", "name")
    yield from _alike([each.name for each in inputs], "input")
    yield from _repeated([each.number for each in inputs if each.number is not None], (), "field number")
    yield from _repeated([each.entity_key for each in inputs if each.entity_key is not None], (), "entity key")
    subjects = [index for index, each in enumerate(inputs) if each.subject]
    for index in subjects[1:]:
        yield (index, "subject"), f"a row is about one person: {inputs[subjects[0]].name!r} names it already"


def feature_rules(inputs: Sequence[Input], features: FeatureSet | None) -> Found:
    """How inputs and features hang together."""
    keys = [(index, each) for index, each in enumerate(inputs) if each.entity_key is not None]
    if features is None:
        for index, each in keys:
            yield ("inputs", index, "entity_key"), f"{each.name!r} is an entity key, but there are no `features`"
    elif not keys:
        yield ("features",), "no input is an entity key: mark those that name the entities with `entity_key: true`"
    for name in features.defaults if features else ():
        if name in {each.name for each in inputs}:
            yield ("features", "defaults", name), f"{name!r} is an input: give it a default of its own there"


def warmup_rules(inputs: Sequence[Input], inference: Inference) -> Found:
    """Whether the warm-up rows are rows that a caller could send; what one lacks is taken from the examples."""
    known = {each.name: each for each in inputs}
    for index, row in enumerate(inference.warmup):
        for name, value in row.items():
            path = ("inference", "warmup", index, name)
            if name not in known:
                yield path, f"there is no input {name!r}; {hint(name, known)}"
            elif problem := value_problem(known[name], value):
                yield path, f"the value does not fit the input: {problem}"


def inference_rules(inference: Inference) -> Found:
    """What the model's tensors must keep to."""
    for side, tensors in (("inputs", inference.inputs), ("outputs", inference.outputs)):
        yield from _repeated([each.name for each in tensors], (side,), "tensor", "name")
        for index, tensor in enumerate(tensors):
            yield from _prefixed((side, index), _tensor_rules(tensor))


def tensor_source_rules(inputs: Sequence[Input], inference: Inference) -> Found:
    """Whether each of the model's tensors comes from somewhere, where neither features nor preprocessing make them."""
    known = {each.name: each for each in inputs}
    for index, tensor in enumerate(inference.inputs):
        path = ("inference", "inputs", index)
        names = sources(inference.inputs, tensor)
        for name in names:
            if name not in known:
                yield path, f"without `preprocessing`, {name!r} must be an input; {hint(name, known)}"
            elif problem := _unfit(known[name], tensor, alone=len(names) == 1):
                yield path, f"{problem}: add `preprocessing`, or correct either"


def sources(tensors: Sequence[TensorSpec], tensor: TensorSpec) -> tuple[str, ...]:
    """Names of the columns that *tensor* is made of, without preprocessing: its own, or those along its last axis."""
    return tensor.feature_names if len(tensors) == 1 and tensor.feature_names else (tensor.name,)


def output_rules(output: Output) -> Found:
    """What one output must keep to by itself."""
    yield from _range_rules(output.minimum, output.maximum, output.type)
    yield from _repeated(output.labels, ("labels",), "label")
    yield from _enum_rules(output.name, output.labels, "labels", enum=output.enum)
    if output.labels and output.type is not DataType.STRING:
        yield ("labels",), f"labels name strings; {output.name!r} is of type {output.type.name.lower()}"
    if output.labels and output.index is not None:
        yield ("index",), "labels look at the whole row: remove `index` or `labels`"
    yield from _number_rules(output.number)


def outputs_rules(outputs: Sequence[Output]) -> Found:
    """What the outputs must keep to together."""
    yield from _repeated([each.name for each in outputs], (), "output", "name")
    yield from _alike([each.name for each in outputs], "output")
    yield from _repeated([each.number for each in outputs if each.number is not None], (), "field number")


def enum_rules(inputs: Sequence[Input], outputs: Sequence[Output], model: str) -> Found:
    """Whether the enums of the contract, and their values, have names of their own: all stand in one package."""
    owners = dict.fromkeys([*CONTRACT_MESSAGES, service_name(model)], "the contract itself")
    for side, key, index, name, texts in _enums(inputs, outputs):
        enum, shown = enum_name(name), f"the {side[:-1]} {name!r}"
        if enum in owners:
            yield (side, index, "enum"), f"its enum would be called {enum!r}, as that of {owners[enum]}: rename either"
            continue
        owners[enum] = shown
        for position, text in enumerate(texts):
            value = value_name(name, text)
            if value in owners and owners[value] != shown:
                message = f"{text!r} becomes the enum value {value}, as one of {owners[value]} does: rename either"
                yield (side, index, key, position), message
            owners.setdefault(value, shown)


def output_source_rules(outputs: Sequence[Output], inference: Inference) -> Found:
    """Whether the outputs are in the model's tensors."""
    tensors = {each.name: each for each in inference.outputs}
    for index, output in enumerate(outputs):
        tensor = tensors.get(output.tensor)
        if tensor is None:
            message = f"the model gives no tensor {output.tensor!r}; {hint(output.tensor, tensors)}"
            yield ("outputs", index, "tensor"), message
        else:
            yield from _prefixed(("outputs", index), _reading_rules(output, tensor))


def explained_output_rules(explanation: Explanation, outputs: Sequence[Output]) -> Found:
    """Whether the output that is explained can be."""
    known = {each.name: each for each in outputs}
    if explanation.output not in known:
        yield ("output",), f"there is no output {explanation.output!r}; {hint(explanation.output, known)}"
    elif not is_number(known[explanation.output].type):
        yield ("output",), f"only a number can be explained; {explanation.output!r} is none"


def explained_model_rules(explanation: Explanation, inference: Inference) -> Found:
    """Whether the method can read the model."""
    frameworks = EXPLAINABLE[explanation.method]
    if inference.framework not in frameworks:
        yield ("method",), f"{explanation.method} reads {', '.join(frameworks)}, not {inference.framework}"


def policy_rules(policies: Policies, *, features: bool, explanation: bool) -> Found:
    """Whether each stage can do what its policy says."""
    for stage, allowed in ALLOWED_POLICIES.items():
        policy = getattr(policies, stage)
        if policy not in allowed:
            yield (stage,), f"{stage} cannot {policy.value!r}; it can {_listed(each.value for each in allowed)}"
    if policies.features is not Policy.FAIL and not features:
        yield ("features",), "there are no `features` to stand in for"
    if policies.explanation is not Policy.FAIL and not explanation:
        yield ("explanation",), "there is no `explanation` to skip"


def stage_rules(stages: Stages, inference: Inference) -> Found:
    """Whether the model can run where it is placed."""
    if stages.inference is Placement.IN_PROCESS and inference.device == "gpu":
        yield ("inference",), "the prediction process has no GPU: say `local`, or `device: auto`"


def _range_rules(minimum: float | None, maximum: float | None, type: DataType) -> Found:
    for key, bound in (("minimum", minimum), ("maximum", maximum)):
        if bound is not None and not is_number(type):
            yield (key,), f"a {key} is for numbers, not for {type.name.lower()}"
        elif bound is not None and bound != bound:
            yield (key,), f"the {key} is not a number"
    if minimum is not None and maximum is not None and minimum > maximum:
        yield ("minimum",), f"the minimum, {bound_text(minimum)}, is above the maximum, {bound_text(maximum)}"


def _enum_rules(name: str, texts: Sequence[str], key: str, *, enum: bool) -> Found:
    if not enum:
        return
    if not texts:
        yield ("enum",), f"an enum needs `{key}`: its values are made of them"
    seen: dict[str, str] = {}
    for index, text in enumerate(texts):
        if not (word := value_word(text)):
            yield (key, index), f"{text!r} gives no name: the values of an enum need a Latin letter or a digit"
        elif word == UNSPECIFIED:
            yield (key, index), f"{text!r} is the enum's own word for none: choose another, or remove `enum`"
        elif (first := seen.setdefault(alike(word), text)) != text:
            message = f"{text!r} gives the enum value {value_name(name, text)}, too much like that of {first!r}"
            yield (key, index), f"{message}: rename either, or remove `enum`"


def _enums(inputs: Sequence[Input], outputs: Sequence[Output]) -> Iterator[tuple[str, str, int, str, tuple[str, ...]]]:
    for index, given in enumerate(inputs):
        if given.enum:
            yield "inputs", "categories", index, given.name, given.categories
    for index, output in enumerate(outputs):
        if output.enum:
            yield "outputs", "labels", index, output.name, output.labels


def _alike(names: Sequence[str], what: str) -> Found:
    """In camel case, as protobuf's JSON has it, underscores do not count before digits."""
    seen: dict[str, str] = {}
    for index, name in enumerate(names):
        if (first := seen.setdefault(camel(name), name)) != name:
            yield (index, "name"), f"the {what} {name!r} differs from {first!r} by underscores alone: rename either"


def _number_rules(number: int | None) -> Found:
    if number is not None and number in _PROTOBUFS_OWN:
        yield ("number",), "field numbers 19000 to 19999 are protobuf's own: choose another"


def _tensor_rules(tensor: TensorSpec) -> Found:
    if 0 in tensor.shape:
        yield ("shape",), "a dimension of 0 holds nothing: write its length, or -1 for any"
    yield from _repeated(tensor.feature_names, ("feature_names",), "feature")
    width = tensor.shape[-1] if tensor.shape else 1
    if tensor.feature_names and width not in (-1, len(tensor.feature_names)):
        message = f"{len(tensor.feature_names)} names for a last axis of {width}: name each position, or none"
        yield ("feature_names",), message


def _unfit(given: Input, tensor: TensorSpec, *, alone: bool) -> str | None:
    text = given.type in (DataType.STRING, DataType.BYTES)
    if text != (tensor.datatype == "BYTES"):
        return f"{given.name!r} is of type {_type(given)} and does not fit into {tensor.datatype}"
    if not (given.required or given.default is not None or text or tensor.datatype.startswith("FP")):
        return f"{tensor.datatype} cannot hold a missing {given.name!r}; give that input a default"
    if not alone and given.shape:
        return f"{given.name!r} is no single value and cannot stand beside others"
    if alone and -1 not in tensor.shape and prod(given.shape) != prod(tensor.shape):
        return f"{given.name!r} has the shape {list(given.shape)}, its tensor {list(tensor.shape)}"
    return None


def _reading_rules(output: Output, tensor: TensorSpec) -> Found:
    width = tensor.shape[-1] if tensor.shape else 1
    if output.index is not None and width != -1 and output.index >= width:
        yield ("index",), f"{tensor.name!r} has positions 0 to {width - 1}"
    if output.labels and width not in (-1, len(output.labels)) and not _classes(tensor):
        yield ("labels",), f"{len(output.labels)} labels for the {width} positions of {tensor.name!r}"
    if output.type is DataType.STRING and not output.labels and tensor.datatype != "BYTES":
        yield ("type",), f"{tensor.name!r} holds {tensor.datatype}: add `labels`, or choose a number as type"
    if output.type is not DataType.STRING and (output.type is DataType.BYTES) != (tensor.datatype == "BYTES"):
        yield ("type",), f"{tensor.name!r} holds {tensor.datatype}, which is no {output.type.name.lower()}"


def _classes(tensor: TensorSpec) -> bool:
    """Whether a tensor may hold the number of a class rather than a score a class."""
    return tensor.datatype in _INTEGERS and tensor.shape in ((), (1,))


def _repeated(names: Iterable[object], at: Path, what: str, key: str | None = None) -> Found:
    names = list(names)
    for name, count in Counter(names).items():
        if count > 1:
            last = len(names) - 1 - names[::-1].index(name)
            path = at if key is None else (*at, last, key)
            yield path, f"the {what} {name!r} is here {count} times"


def _prefixed(prefix: Path, found: Found) -> Found:
    return (((*prefix, *path), message) for path, message in found)


def _can_be_key(given: Input) -> bool:
    return given.type in (DataType.STRING, DataType.INT32, DataType.INT64, DataType.BYTES, DataType.TIMESTAMP)


def _type(given: Input) -> str:
    return given.type.name.lower()


def _listed(names: Iterable[str]) -> str:
    return " or ".join(map(repr, names))
