"""Whether a step is a linear recurrence: every new state follows linearly from states, element by element.

Then ``h_t = a_t · h_{t-1} + b_t`` with an ``a_t`` that no state has a part in, and a parallel scan over the steps gives
the same states (:func:`ostinato.functional.linear_scan`). No cell says so; the graph does.
"""

from __future__ import annotations

from ostinato.compiler.graph import Graph, Node
from ostinato.compiler.rebuild import walk

FREE, LINEAR, OTHER = range(3)
"""How a value follows from the states: not at all, linearly at its own position (with what is FREE added), or
otherwise."""


def is_linear_recurrence(step: Graph) -> bool:
    """Whether every new state is linear in the states, element by element."""
    new = [node for name, node in step.outputs.items() if name.startswith("new.")]
    kind: dict[int, int] = {}
    for node in walk(new):
        kind[id(node)] = _kind(node, [kind[id(i)] for i in node.inputs])
    return all(kind[id(node)] != OTHER for node in new)


def _kind(node: Node, inputs: list[int]) -> int:
    if node.op == "input":
        return LINEAR if node["kind"] == "state" else FREE
    most = max(inputs, default=FREE)
    if most != LINEAR:
        return most
    if node.op in ("add", "sub", "neg"):
        return LINEAR
    if node.op == "mul":
        return LINEAR if FREE in inputs else OTHER
    if node.op in ("div", "where"):  # the divisor, the condition
        return OTHER if inputs[1 if node.op == "div" else 0] != FREE else LINEAR
    return OTHER
