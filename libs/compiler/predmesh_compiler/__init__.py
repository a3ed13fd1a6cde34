"""Compiles a bundle to the typed contract of its model; knows no service and runs no protoc."""

from predmesh_compiler.breaks import Break, breaks
from predmesh_compiler.compiling import check_typed, compile_typed
from predmesh_compiler.contracts import Contract, Method, contract
from predmesh_compiler.earlier import typed_compiler
from predmesh_compiler.fields import TypedField
from predmesh_compiler.lock import Lock, Numbers

__all__ = [
    "Break",
    "Contract",
    "Lock",
    "Method",
    "Numbers",
    "TypedField",
    "breaks",
    "check_typed",
    "compile_typed",
    "contract",
    "typed_compiler",
]
