"""The form the emitters read: elementwise work at the width of one gate, products cut where gates are.

See :mod:`ostinato.compiler.canonical` for the form. What needs to know a value's readers is here: a product of which
only slices are read becomes products with rows of the weight.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from ostinato.compiler.canonical import Canonical
from ostinato.compiler.graph import Builder, Graph, Node, rewrite
from ostinato.compiler.interpret import PRODUCTS
from ostinato.compiler.program import Backward
from ostinato.compiler.rebuild import trimmed


def simplify(graph: Graph, keep: tuple[str, ...] = ("state", "grad")) -> Graph:
    """The graph in canonical form, without inputs that nothing reads, but for those of the kinds ``keep``."""
    graph = _canonical(graph, {})
    while cuts := _cuts(graph):
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


def _canonical(graph: Graph, cuts: dict[int, list[int]]) -> Graph:
    def rule(build: Builder, node: Node, inputs: tuple[Node, ...]) -> Node:
        canonical = Canonical(build)
        if id(node) in cuts:
            parts = [_part(build, node, inputs, a, b) for a, b in pairwise(cuts[id(node)])]
            return canonical.cat(parts, len(node.shape) - 1)
        return canonical.again(node, inputs)

    return rewrite(graph, rule)


def _part(build: Builder, node: Node, inputs: tuple[Node, ...], start: int, stop: int) -> Node:
    first = dict(node.attrs).get("start", 0)
    shape = (*node.shape[:-1], stop - start)
    return build.make(node.op, inputs, shape, True, "real", node.source, start=first + start, stop=first + stop)


def _cuts(graph: Graph) -> dict[int, list[int]]:
    """Where products are to be cut: at the slices that are read of them, unless those overlap."""
    slices: dict[int, list[tuple[int, int]]] = {}
    products: dict[int, Node] = {}
    for node in graph.nodes():
        value = node.inputs[0] if node.inputs else node
        if node.op == "slice" and value.op in PRODUCTS and node["step"] == 1 and node["axis"] == len(node.shape) - 1:
            products[id(value)] = value
            slices.setdefault(id(value), []).append((node["start"], node["stop"]))
    found: dict[int, list[int]] = {}
    for key, spans in slices.items():
        spans.sort()
        if all(left[1] <= right[0] for left, right in pairwise(spans)):
            found[key] = sorted({0, products[key].shape[-1], *(edge for span in spans for edge in span)})
    return found
