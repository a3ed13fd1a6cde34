"""What reflection says of the contracts; only what grpcio-reflection leaves out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import FileDescriptor
from grpc_reflection.v1alpha._async import ReflectionServicer


class Symbols:
    """The default descriptor pool, which also finds the file of a method.

    protobuf's own `FindFileContainingSymbol` knows services, not their methods, and ghz asks for methods.
    """

    def __init__(self) -> None:
        self._pool: Any = descriptor_pool.Default()  # type: ignore[no-untyped-call]

    def __getattr__(self, name: str) -> object:
        return getattr(self._pool, name)

    def FindFileContainingSymbol(self, symbol: str) -> FileDescriptor:
        """The file of a message, enum, service or method.

        Raises:
            KeyError: nothing has this name.
        """
        try:
            file: FileDescriptor = self._pool.FindFileContainingSymbol(symbol)
        except KeyError:
            file = self._pool.FindMethodByName(symbol).containing_service.file
        return file


def reflection_of(services: Sequence[str]) -> ReflectionServicer:
    """The servicer of grpc.reflection.v1alpha for *services*."""
    return ReflectionServicer(services, pool=Symbols())
