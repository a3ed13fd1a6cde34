"""Answers requests of the Open Inference Protocol, whichever form they came in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from predmesh_frame import oip
from predmesh_rpc import deadline
from predmesh_rpc.errors import DeadlineExceeded, DependencyDown

from predmesh_prediction.catalogue import Served
from predmesh_prediction.predicting import Predictor, Rows
from predmesh_prediction.raw_tensors import joined
from predmesh_prediction.v2 import (
    RAW,
    Described,
    Named,
    check_batch,
    check_wanted,
    checked_raw,
    described_inputs,
    described_outputs,
    described_raw,
    frame_of,
    named_outputs,
)
from predmesh_prediction.validation import check_row_count


@dataclass(frozen=True, slots=True)
class Inferred:
    """The answer to one request."""

    model: str
    version: str
    bundle_id: str
    outputs: list[Named]


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a model takes and gives."""

    model: str
    versions: list[str]
    platform: str
    inputs: list[Described]
    outputs: list[Described]


@dataclass(frozen=True, slots=True)
class Inferring:
    """The whole graph of a model under its name; the model alone under its name with `.raw`."""

    predictor: Predictor

    def check(self, model: str, version: str) -> None:
        """Raise NotFound or DependencyDown unless the model can be asked; before its request is read."""
        self._served(model, version)

    async def infer(
        self, model: str, version: str, tensors: Sequence[Named], wanted: Sequence[str], seconds: float
    ) -> Inferred:
        """The *wanted* outputs for *tensors*, or all where none is named, within *seconds*. Raises PredmeshError."""
        served = self._served(model, version)
        bundle = served.stored.bundle
        for tensor in tensors:
            check_row_count(tensor.values.shape[0] if tensor.values.ndim else 0, f"inputs.{tensor.name}")
        with deadline.within(seconds):
            if model.endswith(RAW):
                outputs = await _raw(served, tensors, wanted)
            else:
                check_wanted(wanted, [spec.name for spec in bundle.outputs], model)
                rows = Rows(columns=frame_of(bundle, tensors), place="inputs")
                answer = await self.predictor.predict(model, version, rows)
                outputs = named_outputs(answer.columns, wanted)
        return Inferred(model, bundle.version, served.stored.bundle_id, outputs)

    async def ready(self, model: str, version: str) -> bool:
        """Whether the model can be asked. Raises PredmeshError when it is unknown."""
        return await _ready(self._served(model, version))

    async def all_ready(self) -> bool:
        """Whether every live model can be asked."""
        catalogue = self.predictor.catalogue
        served = catalogue.models()
        if len(served) < len(catalogue.generation.models):
            return False
        for _, each in served:
            if not await _ready(each):
                return False
        return True

    def describe(self, model: str, version: str) -> Metadata:
        """What the model takes and gives. Raises PredmeshError when it is unknown."""
        served = self._served(model, version)
        bundle = served.stored.bundle
        generation = self.predictor.catalogue.generation
        versions = [each.version for each in generation.versions(bundle.name)]
        if model.endswith(RAW):
            inputs, outputs = described_raw(bundle.inference.inputs), described_raw(bundle.inference.outputs)
            return Metadata(model, versions, bundle.inference.framework, inputs, outputs)
        return Metadata(model, versions, "predmesh", described_inputs(bundle), described_outputs(bundle))

    def _served(self, model: str, version: str) -> Served:
        return self.predictor.catalogue.find(model.removesuffix(RAW), version)


async def _raw(served: Served, tensors: Sequence[Named], wanted: Sequence[str]) -> list[Named]:
    bundle = served.stored.bundle
    known = [spec.name for spec in bundle.inference.outputs]
    check_wanted(wanted, known, bundle.name)
    frame = served.model.frame(*checked_raw(bundle, tensors))
    if served.model.batches:
        answers = joined([part[:3] for part in await served.raw.submit(frame, bundle.budget_seconds)])
    else:
        check_batch(frame.rows, bundle)
        with deadline.within(bundle.budget_seconds):
            answers = await served.model.run(frame)
    return [Named(name, oip.datatype_of(answers[name].dtype), answers[name]) for name in wanted or known]


async def _ready(served: Served) -> bool:
    try:
        return await served.stages.inference.ready(served.stored)
    except (DependencyDown, DeadlineExceeded):
        return False
