"""Live models as the contract describes them."""

from __future__ import annotations

from predmesh.prediction.v1 import prediction_service_pb2 as pb
from predmesh_bundle.generation import LiveModel
from predmesh_bundle.schema import Bundle, Input, Output
from predmesh_bundle.store import StoredBundle
from predmesh_frame import DataType

from predmesh_prediction.structs import to_value
from predmesh_prediction.values import json_example


def model_proto(live: LiveModel, stored: StoredBundle) -> pb.Model:
    """The description of one live model version."""
    bundle = stored.bundle
    model = pb.Model(
        name=bundle.name,
        version=bundle.version,
        bundle_id=stored.bundle_id,
        owner=bundle.owner,
        description=bundle.description,
        inputs=[_input(spec) for spec in bundle.inputs],
        outputs=[_output(spec, bundle) for spec in bundle.outputs],
        default_version=live.default,
        explainable=bundle.explanation is not None,
        feature_service=bundle.features.service if bundle.features else "",
    )
    model.budget.FromMicroseconds(round(bundle.budget_seconds * 1e6))
    model.deploy_time.FromDatetime(stored.stored_time)
    return model


def row_shape(spec: Output, bundle: Bundle) -> tuple[int, ...]:
    """Shape of one row's value of an output; -1 where the model leaves it open."""
    tensor = next((each for each in bundle.inference.outputs if each.name == spec.tensor), None)
    if tensor is None or spec.labels or tensor.shape in ((), (1,)):
        return ()
    return tensor.shape if spec.index is None else tensor.shape[:-1]


def _input(spec: Input) -> pb.FieldDescription:
    return pb.FieldDescription(
        name=spec.name,
        type=spec.type.value,  # type: ignore[arg-type]
        row_shape=spec.shape,
        unit=spec.unit,
        description=spec.description,
        required=spec.required,
        minimum=spec.minimum,
        maximum=spec.maximum,
        categories=spec.categories,
        example=to_value(json_example(spec.example, integer=spec.type is DataType.INT64)),
        personal=spec.personal,
    )


def _output(spec: Output, bundle: Bundle) -> pb.FieldDescription:
    return pb.FieldDescription(
        name=spec.name,
        type=spec.type.value,  # type: ignore[arg-type]
        row_shape=row_shape(spec, bundle),
        unit=spec.unit,
        description=spec.description,
        required=True,
        minimum=spec.minimum,
        maximum=spec.maximum,
        categories=spec.labels,
    )
