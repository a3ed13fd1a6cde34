"""Writes ONNX graphs as expressions: `(x + 4) % 7` becomes two nodes. Knows nothing of flights."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

# Old enough for every ONNX Runtime of the last years, and for Triton's.
OPSET, ML_OPSET, IR_VERSION = 17, 3, 8


class Graph:
    """A graph in the making."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._constants: dict[tuple[str, bytes], onnx.TensorProto] = {}

    def input(self, name: str, element_type: int) -> Term:
        """A column of any number of rows."""
        self._inputs.append(helper.make_tensor_value_info(name, element_type, ["rows"]))
        return Term(self, name, element_type)

    def node(self, operator: str, *operands: str, gives: int = TensorProto.INT64, **attributes: Any) -> Term:
        """The first output of a new node, whose elements are of the type that it *gives*."""
        output = f"{operator.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, operands, [output], **attributes))
        return Term(self, output, gives)

    def constant(self, value: object, dtype: type[np.generic]) -> str:
        """Name of a constant."""
        array = np.asarray(value, dtype)
        key = (array.dtype.str + str(array.shape), array.tobytes())
        if key not in self._constants:
            self._constants[key] = numpy_helper.from_array(array, f"constant_{len(self._constants)}")
        return self._constants[key].name

    def codes(self, term: Term, categories: Sequence[str]) -> Term:
        """Position of each string in *categories* as float; NaN for any other."""
        return self.node(
            "LabelEncoder",
            term.name,
            gives=TensorProto.FLOAT,
            domain="ai.onnx.ml",
            keys_strings=list(categories),
            values_floats=[float(position) for position in range(len(categories))],
            default_float=float("nan"),
        )

    def columns(self, terms: Iterable[Term], name: str) -> None:
        """Makes the output: the terms side by side, (rows, terms), float32."""
        axis = self.constant([1], np.int64)
        wide = [self.node("Unsqueeze", term.floats().name, axis, gives=TensorProto.FLOAT).name for term in terms]
        self._nodes.append(helper.make_node("Concat", wide, [name], axis=1))
        self._output = helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", len(wide)])

    def model(self, name: str) -> onnx.ModelProto:
        """The finished, checked model."""
        graph = helper.make_graph(
            self._nodes, name, self._inputs, [self._output], initializer=list(self._constants.values())
        )
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="predmesh-examples")
        onnx.checker.check_model(model, full_check=True)
        return model


@dataclass(frozen=True, slots=True)
class Term:
    """A value of a graph; operators on int64 terms, with int64 numbers or terms."""

    graph: Graph
    name: str
    elements: int
    """Their type, as TensorProto has it."""

    def __add__(self, other: Term | int) -> Term:
        return self._with("Add", other)

    def __sub__(self, other: Term | int) -> Term:
        return self._with("Sub", other)

    def __mul__(self, other: Term | int) -> Term:
        return self._with("Mul", other)

    def __floordiv__(self, other: Term | int) -> Term:
        # ONNX rounds towards zero: the same for what is not negative.
        return self._with("Div", other)

    def __mod__(self, other: Term | int) -> Term:
        return self._with("Mod", other)

    def at_least(self, other: Term) -> Term:
        """1 where it is at least *other*, else 0."""
        return self._with("GreaterOrEqual", other, gives=TensorProto.BOOL).cast(TensorProto.INT64)

    def floats(self, per: float = 1) -> Term:
        """As float32, divided by *per*."""
        if per == 1:
            return self.cast(TensorProto.FLOAT)
        divisor = self.graph.constant(per, np.float64)
        divided = self.graph.node("Div", self.cast(TensorProto.DOUBLE).name, divisor, gives=TensorProto.DOUBLE)
        return divided.cast(TensorProto.FLOAT)

    def cast(self, elements: int) -> Term:
        """The same values as *elements*; itself where it has that type."""
        if elements == self.elements:
            return self
        return self.graph.node("Cast", self.name, gives=elements, to=elements)

    def _with(self, operator: str, other: Term | int, *, gives: int = TensorProto.INT64) -> Term:
        operand = other.name if isinstance(other, Term) else self.graph.constant(other, np.int64)
        return self.graph.node(operator, self.name, operand, gives=gives)
