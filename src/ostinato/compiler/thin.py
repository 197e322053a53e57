"""Products with few columns, written out: x of one feature times a weight is a broadcast and a multiplication.

As elementwise work it stays in the loop beside what reads it; its result need not be kept, and the weight's gradient is
added up where the gradient is made, without another look at all steps.
"""

from __future__ import annotations

from ostinato.compiler.graph import Builder, Graph, Node, rewrite

FEW = 2
"""So many columns are written out: with four, inference of few rows is slower by a half."""


def thin(graph: Graph) -> Graph:
    """The graph with its thin products as elementwise work."""
    return rewrite(graph, _rule)


def _rule(build: Builder, node: Node, inputs: tuple[Node, ...]) -> Node | None:
    if node.op != "linear" or len(node.shape) != 1 or node.attrs:
        return None
    value, weight = inputs
    if value.dtype != "real" or not 1 <= weight.shape[1] <= FEW:
        return None
    total: Node | None = None
    for k in range(weight.shape[1]):
        column = build.reshape(build.slice(weight, 1, k, k + 1), node.shape, node.source)
        factor = build.broadcast(build.slice(value, 0, k, k + 1), node.shape, node.source)
        part = build.pointwise("mul", factor, build.broadcast(column, node.shape), source=node.source)
        total = part if total is None else build.pointwise("add", total, part, source=node.source)
    return total
