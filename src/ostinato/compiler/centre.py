"""The mean that a layer norm takes from a product, taken from the weight instead.

Of ``v = W u`` the mean over the features is ``mean(W over its rows) u``. So ``v - mean(v)`` is a product too, with
``W - mean(W)``, which is made once a call (``less_mean.py``). The loop then adds up squares only: one pass
over a row less in the forward step, and one in the backward.
"""

from __future__ import annotations

from collections import Counter

from ostinato.compiler.graph import Builder, Graph, Node, rewrite


def centre(graph: Graph) -> Graph:
    """The graph with layer norms of products as root-mean-square norms of centred products."""
    nodes = graph.nodes()
    readers = Counter(id(value) for node in nodes for value in node.inputs)
    readers.update(id(value) for value in graph.outputs.values())
    norms = {id(node) for node in nodes if node.op == "layer_norm" and _is_linear(node.inputs[0], readers)}

    def rule(build: Builder, node: Node, inputs: tuple[Node, ...]) -> Node | None:
        if id(node) not in norms:
            return None
        centred = _centred(build, inputs[0])
        return build.make("rms_norm", (centred,), node.shape, True, "real", node.source, eps=node["eps"])

    return rewrite(graph, rule) if norms else graph


def _is_linear(value: Node, readers: Counter[int]) -> bool:
    """Whether a value is a sum of products and of parameters. What is read elsewhere too would be computed twice."""
    if len(value.shape) != 1:
        return False
    if value.op == "broadcast":
        return not value.inputs[0].rows and value.inputs[0].shape == value.shape and value.inputs[0].op != "const"
    if readers[id(value)] > 1:
        return False
    if value.op == "linear":
        return not value.attrs and len(value.inputs[1].shape) == 2
    return value.op in ("add", "sub") and all(_is_linear(i, readers) for i in value.inputs)


def _centred(build: Builder, value: Node) -> Node:
    if value.op == "broadcast":
        return build.broadcast(_from_mean(build, value.inputs[0]), value.shape, value.source)
    if value.op == "linear":
        return build.linear(value.inputs[0], _from_mean(build, value.inputs[1]), value.source)
    left, right = (_centred(build, i) for i in value.inputs)
    return build.pointwise(value.op, left, right, source=value.source)


def _from_mean(build: Builder, weight: Node) -> Node:
    """A parameter less its mean over its rows, outside the loop."""
    return build.make("less_mean", (weight,), weight.shape, False, "real", weight.source)
