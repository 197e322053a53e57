"""Formulas over nodes, written as arithmetic."""

from __future__ import annotations

from collections.abc import Sequence

from ostinato.compiler.graph import Builder, Node

BOOL = frozenset(("lt", "le", "gt", "ge", "eq", "ne", "and", "or", "not"))
"""Operations whose value is true or false."""


class Maths:
    """``m("add", a, 1.0)``: an elementwise node, numbers made constants."""

    def __init__(self, build: Builder, source: str = "") -> None:
        self.build = build
        self.source = source

    def __call__(self, op: str, *values: Node | float | bool) -> Node:
        nodes = [v if isinstance(v, Node) else self.build.const(v) for v in values]
        dtype = "bool" if op in BOOL else _dtype(op, nodes)
        return self.build.pointwise(op, *nodes, dtype=dtype, source=self.source)

    def chain(self, op: str, *values: Node | float) -> Node:
        """``a op b op c``."""
        first, *rest = values
        for value in rest:
            first = self(op, first, value)
        assert isinstance(first, Node)
        return first

    def between(self, value: Node, low: float, high: float) -> Node:
        """Whether ``low ≤ value ≤ high``."""
        return self("and", self("ge", value, low), self("le", value, high))

    def over_last(self, op: str, value: Node) -> Node:
        """A reduction over the last axis, at every element of it."""
        return self.build.broadcast(self.reduced(op, value), value.shape)

    def reduced(self, op: str, value: Node) -> Node:
        """A reduction over the last axis, which stays with size 1."""
        return self.build.reduce(op, value, [len(value.shape) - 1], self.source)


def _dtype(op: str, nodes: Sequence[Node]) -> str:
    return nodes[1].dtype if op == "where" else "real"
