"""What reflection says of the contracts; only what grpcio-reflection leaves out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import FileDescriptor
from grpc_reflection.v1alpha._async import ReflectionServicer

Contracts = Callable[[], Mapping[str, Any]]
"""Gives the descriptor pools of services that come and go, by the service's full name."""


class Symbols:
    """The default descriptor pool and those of services that come and go, as one; it also finds the file of a method.

    protobuf's own `FindFileContainingSymbol` knows services, not their methods, and ghz asks for methods.
    """

    def __init__(self, contracts: Contracts) -> None:
        self._pool: Any = descriptor_pool.Default()  # type: ignore[no-untyped-call]
        self._contracts = contracts

    def __getattr__(self, name: str) -> object:
        return getattr(self._pool, name)

    def FindFileByName(self, name: str) -> FileDescriptor:
        """The file of that name.

        Raises:
            KeyError: there is none.
        """
        return self._first(lambda pool: pool.FindFileByName(name))

    def FindFileContainingSymbol(self, symbol: str) -> FileDescriptor:
        """The file of a message, enum, service or method.

        Raises:
            KeyError: nothing has this name.
        """
        try:
            return self._first(lambda pool: pool.FindFileContainingSymbol(symbol))
        except KeyError:
            return self._first(lambda pool: pool.FindMethodByName(symbol).containing_service.file)

    def _first(self, find: Callable[[Any], FileDescriptor]) -> FileDescriptor:
        for pool in (self._pool, *self._contracts().values()):
            try:
                return find(pool)
            except KeyError:
                continue
        raise KeyError


class Reflection(ReflectionServicer):  # type: ignore[misc]
    """The servicer of grpc.reflection.v1alpha for services that stay and others that come and go."""

    def __init__(self, services: Sequence[str], contracts: Contracts) -> None:
        """Show *services*, of the default pool, and those that *contracts* gives when asked."""
        super().__init__(services, pool=Symbols(contracts))
        self._fixed = tuple(services)
        self._contracts = contracts

    def _list_services(self, request: Any) -> Any:
        self._service_names = tuple(sorted((*self._fixed, *self._contracts())))
        return super()._list_services(request)
