"""Cuts one function out of the module that defines it, with what it needs and without Feast; no import of either."""

from __future__ import annotations

import ast
import builtins
import symtable
import sys
from collections.abc import Iterator

ALLOWED = frozenset(sys.stdlib_module_names) | {"numpy"}
"""Modules that an on-demand function may import: those the features service has."""


class SourceError(ValueError):
    """A function that cannot be carried to the features service; the message says what to change."""


def cut_out(source: str, function: str) -> str:
    """A module that defines *function* of *source*, undecorated, and whatever of *source* it uses.

    Raises:
        SourceError: it is no plain function of the module, or needs something that the features service has not.
    """
    module = ast.parse(source)
    bound = {name: statement for statement in module.body for name in _bound(statement)}
    start = bound.get(function)
    if not isinstance(start, ast.FunctionDef):
        raise SourceError(f"{function!r} must be a plain function at the top level of its module")
    start.decorator_list = []
    needed: set[ast.stmt] = set()
    _collect(start, bound, needed)
    kept = [ast.unparse(statement) for statement in module.body if statement in needed]
    return "\n\n".join(["from __future__ import annotations", *kept]) + "\n"


def _collect(statement: ast.stmt, bound: dict[str, ast.stmt], needed: set[ast.stmt]) -> None:
    if statement in needed:
        return
    needed.add(statement)
    _check_imports(statement)
    for name in sorted(_used(statement)):
        if name in bound:
            _collect(bound[name], bound, needed)
        elif not hasattr(builtins, name):
            raise SourceError(
                f"{name!r} is not defined in the function's module, where the features service could find it"
            )


def _check_imports(statement: ast.stmt) -> None:
    for node in ast.walk(statement):
        if isinstance(node, ast.ImportFrom) and node.level:
            raise SourceError("relative imports do not reach the features service; define what is needed in the module")
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        for name in names:
            if name.partition(".")[0] not in ALLOWED:
                raise SourceError(f"it needs {name!r}; an on-demand function may use the standard library and numpy")


def _bound(statement: ast.stmt) -> Iterator[str]:
    """Names that a top-level statement gives to the module."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield statement.name
        return
    for node in ast.walk(statement):
        if isinstance(node, ast.alias):
            yield (node.asname or node.name).partition(".")[0]
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id


def _used(statement: ast.stmt) -> set[str]:
    """Names of the module that a top-level statement reads, at once or when called; annotations are never evaluated."""
    bare = _Unannotated().visit(ast.parse(ast.unparse(statement)))
    table = symtable.symtable(ast.unparse(ast.fix_missing_locations(bare)), "<on-demand>", "exec")
    own = set(_bound(statement))
    return {name for name in _globals(table, top=True) if name not in own}


class _Unannotated(ast.NodeTransformer):
    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        node.returns = None
        self.generic_visit(node)
        return node


def _globals(table: symtable.SymbolTable, *, top: bool = False) -> Iterator[str]:
    for symbol in table.get_symbols():
        if symbol.is_referenced() and (top or symbol.is_global()):
            yield symbol.get_name()
    for child in table.get_children():
        yield from _globals(child)
