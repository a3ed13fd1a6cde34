"""What a `predmesh.yaml` says, as types; not how it is read, nor which of its names must agree."""

import enum
import re
from collections.abc import Mapping
from datetime import date
from functools import cached_property
from typing import Annotated, Any, Literal, Self, TypeVar, get_args

from predmesh_frame import DataType
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)
from pydantic import StringConstraints as Text

from predmesh_bundle.durations import seconds
from predmesh_bundle.nearest import hint

TYPE_NAMES: dict[str, DataType] = {
    name: DataType[name.upper()]
    for name in ("bool", "int32", "int64", "float", "double", "string", "bytes", "timestamp")
}
"""The types of columns under the names that a bundle uses."""

Framework = Literal["onnx", "pytorch", "torchscript", "sklearn", "xgboost", "lightgbm", "tensorflow", "python"]
"""What made the model, and so what runs it."""

TensorType = Literal[
    "BOOL", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64", "FP16", "FP32", "FP64", "BYTES"
]
"""The element types of the Open Inference Protocol."""

Stage = Literal["features", "preprocessing", "inference", "explanation"]
"""The stages of a prediction that may meet trouble."""

Scalar = bool | int | float | str
"""A single value, as YAML and JSON know it."""


class Policy(enum.StrEnum):
    """What a stage's trouble means for the answer."""

    FAIL = "fail"
    """The request fails with the stage's error."""
    DEFAULTS = "defaults"
    """The declared defaults stand in; the answer says so."""
    LAST_KNOWN = "last_known"
    """The values last seen stand in; the answer says so."""
    SKIP = "skip"
    """The answer comes without the stage's part; it says so."""


class Placement(enum.StrEnum):
    """Where a stage of a bundle runs."""

    IN_PROCESS = "in-process"
    """In the prediction process itself: no hop."""
    LOCAL = "local"
    """In a process of its own on this machine, behind a private socket."""
    REMOTE = "remote"
    """At the address that the prediction service has been given for it."""


def _type(value: object) -> DataType:
    if isinstance(value, DataType):
        return value
    if isinstance(value, str) and value in TYPE_NAMES:
        return TYPE_NAMES[value]
    raise ValueError(f"{value!r} is no type; {hint(str(value), TYPE_NAMES)}")


def _duration(value: object, info: ValidationInfo) -> float:
    if isinstance(value, str):
        return seconds(value)
    # A bare number in a file that a person wrote could be meant in any unit; the compiled bundle holds seconds.
    if isinstance(value, bool) or not isinstance(value, int | float) or (info.context or {}).get("written"):
        raise ValueError(f"{value!r} has no unit: write a duration such as 200ms, 1s or 5m")
    return float(value)


def _within_positive(value: float) -> float:
    if not 0 < value < float("inf"):
        raise ValueError("a duration must be longer than 0")
    return value


def _version(value: object) -> object:
    if isinstance(value, float):
        raise ValueError(f"{value!r} is no whole number: versions count up from 1")
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _join_key(value: object, info: ValidationInfo) -> object:
    """An input that says `entity_key: true` fills the join key of its own name."""
    if isinstance(value, bool):
        return info.data.get("name") if value else None
    return value


def _relative(value: str) -> str:
    if value.startswith("/") or ".." in value.split("/") or "\\" in value or "\0" in value:
        raise ValueError(f"{value!r} leaves the bundle: name a path inside its folder, such as model.onnx")
    return value


def _exact(value: object, read: ValidatorFunctionWrapHandler, info: ValidationInfo) -> int | float:
    """A bound of integers stays the integer that was written: beyond 2^53, its float is another one."""
    number: float = read(value)
    of_integers = info.data.get("type") in (DataType.INT32, DataType.INT64)
    return value if of_integers and type(value) is int else number


def bound_text(bound: float) -> str:
    """A bound as a person writes it, all digits of it."""
    return str(bound).removesuffix(".0")


ColumnType = Annotated[
    DataType, PlainValidator(_type), PlainSerializer(lambda value: value.name.lower(), return_type=str)
]
Bound = Annotated[float, WrapValidator(_exact), PlainSerializer(lambda bound: bound, return_type=Any)]
Seconds = Annotated[float, BeforeValidator(_duration), AfterValidator(_within_positive)]
RelativePath = Annotated[str, Text(min_length=1), AfterValidator(_relative)]
ModelName = Annotated[str, Text(pattern=r"^[a-z][a-z0-9-]{0,62}$")]
Version = Annotated[str, BeforeValidator(_version), Text(pattern=r"^[0-9]+$", max_length=18)]
JoinKeyName = Annotated[str | None, BeforeValidator(_join_key)]
FieldName = Annotated[str, Text(pattern=r"^[a-z][a-z0-9]*(_[a-z0-9]+)*$", max_length=63)]
TensorName = Annotated[str, Text(pattern=r"^[A-Za-z_][A-Za-z0-9_.:/-]{0,254}$")]
# 19000 to 19999 are protobuf's own.
FieldNumber = Annotated[int, Field(ge=1, le=536_870_911)]
RowDimension = Annotated[int, Field(ge=1)]
TensorDimension = Annotated[int, Field(ge=-1)]


class Part(BaseModel):
    """A part of a bundle: immutable, and strict about its keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, ser_json_inf_nan="constants")


class Input(Part):
    """One thing that a caller sends with each row."""

    name: FieldName
    """Its name in requests, contract and frames."""
    type: ColumnType
    """Type of its values."""
    description: str = ""
    """What it means."""
    number: FieldNumber | None = None
    """Its field number in the model's own contract."""
    shape: tuple[RowDimension, ...] = ()
    """Shape of one row's value; empty for a scalar."""
    unit: str = ""
    """Unit of its values, e.g. `mi`."""
    minimum: Bound | None = None
    """Smallest value allowed."""
    maximum: Bound | None = None
    """Largest value allowed."""
    categories: tuple[str, ...] = ()
    """Values allowed; empty where any is."""
    enum: bool = False
    """Whether the categories are an enum in the model's own contract."""
    required: bool = True
    """Whether each row must bring it."""
    default: Any = None
    """Value of a row that does not bring it."""
    entity_key: JoinKeyName = None
    """Join key that it fills in feature look-ups; `true` in the file means its own name."""
    personal: bool = False
    """Whether it is data about a person."""
    subject: bool = False
    """Whether it names the person that the row is about."""
    example: Any
    """A typical value: shown in the documentation and used to warm up."""


class FeatureCache(Part):
    """How long what was read of an entity is used again."""

    max_age_seconds: Seconds = Field(alias="max_age")
    """Time for which a process answers with a row that it has read."""
    max_rows: Annotated[int, Field(ge=1, le=10_000_000)] = 100_000
    """Rows that a process keeps, those used last; one an entity and set of join keys."""


class FeatureSet(Part):
    """Which features are looked up for a row."""

    repo: RelativePath
    """Folder in the bundle with `feature_store.yaml` and the definitions."""
    service: Annotated[str, Text(min_length=1)]
    """Name of the Feast feature service."""
    defaults: dict[str, Scalar] = {}
    """Value that stands in where a feature is missing, by feature name."""
    max_age_seconds: Seconds | None = Field(default=None, alias="max_age")
    """Values older than this count as missing, beside the views' own time to live."""
    cache: FeatureCache | None = None
    """What a process keeps of what it has read; None where each request reads the online store."""


class Preprocessing(Part):
    """What turns inputs and features into the model's tensors."""

    onnx: RelativePath | None = None
    """An ONNX graph in the bundle."""
    plugin: Annotated[str, Text(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")] | None = None
    """`module:Class`; the module's file lies in the bundle."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.onnx is None) == (self.plugin is None):
            raise ValueError("exactly one of `onnx` and `plugin` is needed")
        return self


class TensorSpec(Part):
    """One tensor that a model takes or gives."""

    name: TensorName
    """Its name in the model."""
    datatype: TensorType
    """Element type in the words of the Open Inference Protocol."""
    shape: tuple[TensorDimension, ...] = ()
    """Shape of one row, without the batch dimension; -1 where any length goes."""
    feature_names: tuple[str, ...] = ()
    """Names along the last axis, for explanations."""


class Inference(Part):
    """The model and how it is run."""

    framework: Framework
    """What made the model."""
    file: RelativePath
    """The model's file, or folder, in the bundle."""
    inputs: Annotated[tuple[TensorSpec, ...], Field(min_length=1)]
    """Tensors that it takes."""
    outputs: Annotated[tuple[TensorSpec, ...], Field(min_length=1)]
    """Tensors that it gives."""
    instances: Annotated[int, Field(ge=1, le=64)] = 1
    """Copies of the model that run at once."""
    max_batch_rows: Annotated[int, Field(ge=1, le=10_000)] = 1024
    """Rows that one inference may hold."""
    device: Literal["auto", "cpu", "gpu"] = "auto"
    """Where it runs; `auto` takes a GPU where there is one."""
    warmup: tuple[dict[str, Any], ...] = ()
    """Further rows to warm up with, by input name; what a row lacks is taken from the inputs' examples."""


class Output(Part):
    """One thing that an answer holds for each row."""

    name: FieldName
    """Its name in answers, contract and frames."""
    type: ColumnType
    """Type of its values."""
    tensor: TensorName
    """The model's tensor that it is read from."""
    description: str = ""
    """What it means."""
    number: FieldNumber | None = None
    """Its field number in the model's own contract."""
    index: Annotated[int, Field(ge=0)] | None = None
    """Position along the tensor's last axis; without one, the whole row."""
    labels: tuple[str, ...] = ()
    """Names of the positions along the last axis: the answer is the name of the largest."""
    enum: bool = False
    """Whether the labels are an enum in the model's own contract."""
    unit: str = ""
    """Unit of its values."""
    minimum: Bound | None = None
    """Smallest value possible."""
    maximum: Bound | None = None
    """Largest value possible."""


class Explanation(Part):
    """How answers are explained."""

    method: Literal["tree_shap"]
    """How attributions are computed."""
    output: str
    """Output that is explained."""


class Policies(Part):
    """What each stage's trouble means for the answer."""

    features: Policy = Policy.FAIL
    """The look-up fails or is too late."""
    preprocessing: Policy = Policy.FAIL
    """The transformation fails or is too late."""
    inference: Policy = Policy.FAIL
    """The model fails or is too late."""
    explanation: Policy = Policy.FAIL
    """The explanation fails or is too late."""

    def of(self, stage: Stage) -> Policy:
        """The policy of one stage."""
        policy: Policy = getattr(self, stage)
        return policy


class Stages(Part):
    """Where each stage runs; in the file, one word may stand for all of them."""

    features: Placement = Placement.LOCAL
    """Where features are looked up."""
    preprocessing: Placement = Placement.LOCAL
    """Where the tensors are made."""
    inference: Placement = Placement.LOCAL
    """Where the model runs."""
    explanation: Placement = Placement.LOCAL
    """Where answers are explained."""

    @model_validator(mode="before")
    @classmethod
    def _one_word(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        words = [each.value for each in Placement]
        if value not in words:
            raise ValueError(f"{value!r} is not allowed; {hint(value, words)}")
        return dict.fromkeys(cls.model_fields, value)

    def of(self, stage: Stage) -> Placement:
        """The place of one stage."""
        place: Placement = getattr(self, stage)
        return place

    def __str__(self) -> str:
        """One word where all are in one place; else the stages that are not local."""
        places = {name: self.of(name) for name in get_args(Stage)}
        if len(set(places.values())) == 1:
            return self.inference.value
        return ", ".join(f"{name}: {place}" for name, place in places.items() if place is not Placement.LOCAL)


class Deprecation(Part):
    """That a version will go, and when; its answers say so."""

    since: date
    """Day since which callers are asked to move."""
    sunset: date | None = None
    """Day from which it may be gone; None where that is not known yet."""
    successor: Version | None = None
    """Version to move to."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.sunset is not None and self.sunset < self.since:
            raise ValueError(f"`sunset` {self.sunset} lies before `since` {self.since}")
        return self


class Bundle(Part):
    """A model version: all that the mesh needs to know to serve it."""

    name: ModelName
    """Name of the model."""
    version: Version
    """Version of the model, digits only."""
    owner: Annotated[str, Text(min_length=1)]
    """Who answers for it."""
    description: Annotated[str, Text(min_length=1)]
    """What it predicts."""
    inputs: Annotated[tuple[Input, ...], Field(min_length=1)]
    """What it takes."""
    features: FeatureSet | None = None
    """What is looked up; None where nothing is."""
    preprocessing: Preprocessing | None = None
    """What makes the tensors; None where each tensor is the input or feature of its name."""
    inference: Inference
    """The model."""
    outputs: Annotated[tuple[Output, ...], Field(min_length=1)]
    """What it gives."""
    explanation: Explanation | None = None
    """How it is explained; None where it is not."""
    stages: Stages = Stages()
    """Where its stages run."""
    budget_seconds: Seconds = Field(default=1.0, alias="budget")
    """Time that a prediction may take."""
    policies: Policies = Policies()
    """What trouble means."""
    deprecated: Deprecation | None = None
    """That this version will go; None where it stays."""

    @cached_property
    def join_keys(self) -> Mapping[str, str]:
        """Name of the input that fills each join key."""
        return {each.entity_key: each.name for each in self.inputs if each.entity_key is not None}

    def input(self, name: str) -> Input:
        """The input called *name*; KeyError where there is none."""
        return _named(self.inputs, name)

    def output(self, name: str) -> Output:
        """The output called *name*; KeyError where there is none."""
        return _named(self.outputs, name)


def bundle_name(bundle_id: str) -> tuple[str, str]:
    """Model name and version of a bundle id.

    Raises:
        ValueError: it is no bundle id.
    """
    match = _BUNDLE_ID.fullmatch(bundle_id)
    if match is None:
        raise ValueError(f"{bundle_id!r} is no bundle id: it has the form name-version-hash")
    return match["name"], match["version"]


_BUNDLE_ID = re.compile(r"(?P<name>[a-z][a-z0-9-]{0,62})-(?P<version>[0-9]+)-(?P<hash>[0-9a-f]{12})")


_Named = TypeVar("_Named", Input, Output)


def _named(items: tuple[_Named, ...], name: str) -> _Named:
    for item in items:
        if item.name == name:
            return item
    raise KeyError(name)
