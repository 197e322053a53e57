"""The form the emitters read: elementwise work at the width of one gate, products cut where gates are.

See :mod:`ostinato.compiler.canonical` for the form. What needs to know a value's readers is here: a value that is read
in slices is computed in slices, so that nothing is computed both whole and in part, and a product of which only slices
are read becomes products with some rows of the weight.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from ostinato.compiler.canonical import Canonical
from ostinato.compiler.graph import Builder, Graph, Node, rewrite
from ostinato.compiler.interpret import POINTWISE, PRODUCTS
from ostinato.compiler.program import Backward
from ostinato.compiler.rebuild import trimmed

Span = tuple[int, int, int]
"""An axis, and from where to where along it."""

Cuts = dict[int, tuple[int, list[int]]]
"""By a node's id: the axis along which its value is made in parts, and their edges."""


def simplify(graph: Graph, keep: tuple[str, ...] = ("state", "grad")) -> Graph:
    """The graph in canonical form, without inputs that nothing reads, but for those of the kinds ``keep``."""
    cuts = _elementwise_cuts(graph)
    graph = _canonical(graph, cuts)
    while cuts := _product_cuts(graph):
        graph = _canonical(graph, cuts)
    return trimmed(graph, keep)


def simplify_backward(backward: Backward) -> Backward:
    """The same for a backward step; of equal outputs one is left, the gradient of an input if it is among them."""
    graph = simplify(backward.graph)
    first: dict[int, str] = {}
    for name, node in graph.outputs.items():
        first.setdefault(id(node), name)
    named = {name: first[id(node)] for name, node in graph.outputs.items()}
    outputs = {n: node for n, node in graph.outputs.items() if n.startswith("grad.") or named[n] == n}
    weights = tuple(
        replace(w, grad=named[w.grad], value=named[w.value] if w.where == "backward" else w.value)
        for w in backward.weights
    )
    sums = tuple(replace(s, grad=named[s.grad]) for s in backward.sums)
    return replace(backward, graph=Graph(graph.inputs, outputs), weights=weights, sums=sums)


def _canonical(graph: Graph, cuts: Cuts) -> Graph:
    def rule(build: Builder, node: Node, inputs: tuple[Node, ...]) -> Node:
        canonical = Canonical(build)
        if id(node) not in cuts:
            return canonical.again(node, inputs)
        axis, edges = cuts[id(node)]
        part = canonical.product_part if node.op in PRODUCTS else canonical.elementwise_part
        return canonical.cat([part(node, inputs, axis, a, b) for a, b in pairwise(edges)], axis)

    return rewrite(graph, rule)


def _elementwise_cuts(graph: Graph) -> Cuts:
    """Where elementwise values are to be cut: at the slices that are read of them or of what is made of them."""
    spans: dict[int, set[Span]] = {}
    found: Cuts = {}
    for node in reversed(graph.nodes()):
        if node.op == "slice" and node["step"] == 1:
            spans.setdefault(id(node.inputs[0]), set()).add((node["axis"], node["start"], node["stop"]))
        own = spans.get(id(node), set())
        if node.op in POINTWISE and (cut := _edges(node, own)) is not None:
            found[id(node)] = cut
        for value in node.inputs:
            spans.setdefault(id(value), set()).update(_below(node, value, own))
    return found


def _below(node: Node, value: Node, spans: set[Span]) -> set[Span]:
    """The slices of what a node reads that slices of it come to."""
    if node.op in POINTWISE:
        return spans
    if node.op == "permute":
        return {(node["dims"][axis], start, stop) for axis, start, stop in spans}
    if node.op == "reshape" and len(value.shape) == 1 and all(axis == 0 for axis, _, _ in spans):
        block = value.width // max(1, node.shape[0]) if node.shape else 1
        return {(0, start * block, stop * block) for _, start, stop in spans}
    return set()


def _product_cuts(graph: Graph) -> Cuts:
    """Where products are to be cut: at the slices that are read of them."""
    spans: dict[int, set[Span]] = {}
    for node in graph.nodes():
        if node.op == "slice" and node["step"] == 1:
            spans.setdefault(id(node.inputs[0]), set()).add((node["axis"], node["start"], node["stop"]))
    found: Cuts = {}
    for node in graph.nodes():
        cut = _edges(node, spans.get(id(node), set())) if node.op in PRODUCTS else None
        if cut is not None and cut[0] == len(node.shape) - 1:
            found[id(node)] = cut
    return found


def _edges(node: Node, spans: set[Span]) -> tuple[int, list[int]] | None:
    """Where to cut, if every part is one of the slices, or is in none of them: slices that overlap cut nothing."""
    axes = {axis for axis, _, _ in spans}
    if len(axes) != 1:
        return None
    (axis,) = axes
    read = {(start, stop) for _, start, stop in spans}
    edges = sorted({0, node.shape[axis], *(edge for span in read for edge in span)})
    for part in pairwise(edges):
        if part not in read and any(start < part[1] and part[0] < stop for start, stop in read):
            return None
    return (axis, edges) if len(edges) > 2 else None
