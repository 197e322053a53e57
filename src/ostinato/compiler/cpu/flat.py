"""A graph made flat: rows of elements side by side, products of one row vector each, every other order written out."""

from __future__ import annotations

from dataclasses import dataclass

from ostinato.compiler.graph import Builder, Graph, Node, is_joined, remake
from ostinato.compiler.interpret import POINTWISE, REDUCTIONS

ELEMENTWISE = frozenset(POINTWISE) | {"copy"}
LINEAR = ("linear", "linear_t")

COPIES = ("slice", "permute", "broadcast", "cat")
"""Views that no plain read expresses: they are written out, element by element."""


@dataclass(frozen=True)
class Read:
    """How an elementwise operation reads an operand: at its own position, or one element for all of them (splat)."""

    node: Node
    offset: int = 0
    splat: bool = False


def flatten(graph: Graph) -> Graph:
    """Products of one row vector each, views that are no plain slice made copies, outputs that nothing computes too."""
    build = Builder()
    new: dict[int, Node] = {}
    for node in graph.nodes():
        inputs = tuple(new[id(i)] for i in node.inputs)
        new[id(node)] = _flat_node(build, node, inputs)
    outputs = {name: _computed(build, new[id(node)]) for name, node in graph.outputs.items()}
    return Graph({name: new[id(node)] for name, node in graph.inputs.items()}, outputs)


def _flat_node(build: Builder, node: Node, inputs: tuple[Node, ...]) -> Node:
    if node.op in LINEAR:
        return _flat_linear(build, node, inputs)
    if node.op in REDUCTIONS:
        return _flat_reduction(build, node, inputs[0])
    if node.op == "cat":
        return build.cat((_computed(build, i) for i in inputs), node["axis"], node.source)
    if node.op in COPIES and not is_plain(node):
        inputs = (_laid_out(build, inputs[0]),)
    return remake(build, node, inputs)


def _computed(build: Builder, node: Node) -> Node:
    """The node itself if an operation computes it into memory, else a copy of it."""
    if is_joined(node):
        return build.cat((_computed(build, i) for i in node.inputs), node["axis"], node.source)
    return node if node.op in ELEMENTWISE else build.pointwise("copy", node, dtype=node.dtype)


def _laid_out(build: Builder, node: Node) -> Node:
    """The node itself if its elements lie side by side, else a copy of it: one number for all of them does not."""
    read = resolve(node)
    return build.pointwise("copy", node, dtype=node.dtype) if read.splat or read.node.op == "const" else node


def _flat_linear(build: Builder, node: Node, inputs: tuple[Node, ...]) -> Node:
    value, weight = _laid_out(build, inputs[0]), inputs[1]
    lead = value.shape[:-1]
    count = 1
    for size in lead:
        count *= size
    attrs = {key: v for key, v in node.attrs if key in ("start", "stop")}
    heads = len(weight.shape) == 3
    if count == 1 and not heads:
        flat = build.reshape(value, value.shape[-1:])
        made = build.make(node.op, (flat, weight), node.shape[-1:], True, "real", node.source, head=0, **attrs)
        return build.reshape(made, node.shape)
    width = value.shape[-1]
    whole = build.reshape(value, (count * width,))
    parts = []
    for n in range(count):
        part = build.slice(whole, 0, n * width, (n + 1) * width)
        head = n if heads else 0
        made = build.make(node.op, (part, weight), node.shape[-1:], True, "real", node.source, head=head, **attrs)
        parts.append(build.pointwise("copy", made))
    return build.reshape(build.cat(parts, 0), node.shape)


def _flat_reduction(build: Builder, node: Node, value: Node) -> Node:
    axes, rank = node["axes"], len(value.shape)
    inner = 1
    for a in axes:
        inner *= value.shape[a]
    rest = [a for a in range(rank) if a not in axes]
    dims = (*rest, *axes)
    ordered = value if dims == tuple(range(rank)) else build.permute(_laid_out(build, value), dims)
    outer = value.width // inner
    flat = build.reshape(ordered, (outer, inner))
    made = build.make(node.op, (flat,), (outer, 1), True, "real", node.source, axes=[1])
    return build.reshape(made, node.shape)


def resolve(node: Node) -> Read:
    """An operand as a read of a computed node, an input or a constant; views that keep the order cost nothing."""
    offset, splat = 0, False
    while True:
        if node.op == "reshape":
            node = node.inputs[0]
        elif node.op == "slice" and is_run(node):
            inner = 1
            for size in node.shape[node["axis"] + 1 :]:
                inner *= size
            offset += node["start"] * inner
            node = node.inputs[0]
        elif node.op == "broadcast" and node.inputs[0].op != "const" and node.inputs[0].width == node.width:
            node = node.inputs[0]
        elif node.op == "broadcast" and node.inputs[0].width == 1 and not splat:
            node, offset, splat = node.inputs[0], 0, True
        else:
            return Read(node, offset, splat)


def is_plain(node: Node) -> bool:
    """Whether a view is read where its source lies: see :func:`resolve`."""
    if node.op == "broadcast":
        return node.inputs[0].op == "const" or node.inputs[0].width in (1, node.width)
    return node.op == "slice" and is_run(node)


def is_run(node: Node) -> bool:
    """Whether a slice is one run of consecutive elements."""
    outer = 1
    for size in node.shape[: node["axis"]]:
        outer *= size
    return outer == 1 and (node["step"] == 1 or node.shape[node["axis"]] == 1)
