"""The contract of a bundle: its descriptors and names, and the lock that keeps its numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from google.api import annotations_pb2
from google.protobuf import descriptor_pb2
from predmesh_bundle.schema import Bundle

from predmesh_compiler.fields import TypedField, input_fields, output_fields
from predmesh_compiler.lock import Lock
from predmesh_compiler.numbering import numbered
from predmesh_compiler.published import ERROR_DETAILS, closure
from predmesh_compiler.service_file import service_file


@dataclass(frozen=True, slots=True)
class Method:
    """One method of a typed service."""

    name: str
    """Its name, e.g. `Predict`."""
    path: str
    """Its HTTP/2 path, e.g. `/predmesh.models.flight_delay.v1.FlightDelayService/Predict`."""
    request: str
    """Full name of what it takes."""
    response: str
    """Full name of what it gives."""
    streams: bool
    """Whether both sides are streams."""
    rest_path: str
    """Where it answers over REST, by POST; empty where it does not."""


@dataclass(frozen=True)
class Contract:
    """The typed contract of one model version."""

    bundle: Bundle
    """What it was compiled from, with all numbers."""
    lock: Lock
    """The numbers, those that are gone included: what the file beside the bundle must say."""
    inputs: tuple[TypedField, ...]
    """Fields of Inputs, in order of their numbers."""
    outputs: tuple[TypedField, ...]
    """Fields of Outputs, in order of their numbers."""
    file: descriptor_pb2.FileDescriptorProto
    """Its file, comments included."""

    @property
    def package(self) -> str:
        """Its package, e.g. `predmesh.models.flight_delay.v1`."""
        return self.file.package

    @property
    def service(self) -> str:
        """Full name of its service."""
        return f"{self.package}.{self.file.service[0].name}"

    @cached_property
    def methods(self) -> Mapping[str, Method]:
        """The methods of its service, by name."""
        return {
            each.name: Method(
                name=each.name,
                path=f"/{self.service}/{each.name}",
                request=each.input_type.removeprefix("."),
                response=each.output_type.removeprefix("."),
                streams=each.client_streaming,
                rest_path=each.options.Extensions[annotations_pb2.http].post,
            )
            for each in self.file.service[0].method
        }

    @cached_property
    def files(self) -> descriptor_pb2.FileDescriptorSet:
        """Its file and all that it imports, each after what it imports; the details of errors are among them."""
        imported = closure([*self.file.dependency, *ERROR_DETAILS])
        return descriptor_pb2.FileDescriptorSet(file=[*imported, self.file])


def contract(bundle: Bundle, lock: Lock | None = None) -> Contract:
    """The contract that *bundle* compiles to.

    Args:
        bundle: a checked bundle.
        lock: the numbers that its contract had before; None where it had none.

    Raises:
        Clash: the bundle asks for numbers that the lock refuses.
    """
    whole, kept = numbered(bundle, lock or Lock())
    inputs, outputs = input_fields(whole, kept), output_fields(whole, kept)
    return Contract(
        bundle=whole,
        lock=kept,
        inputs=inputs,
        outputs=outputs,
        file=service_file(whole, inputs, outputs, kept.inputs, kept.outputs),
    )
