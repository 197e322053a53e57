"""The graph of one time step: values, operations, and a printer.

A value either has a row axis, one entry a sequence of the batch, or it is made of parameters alone. Its ``shape`` is
what comes after the row axis: the hidden state (B, H) is ``rows=True, shape=(H,)``; a parameter (4·H, I) is
``rows=False, shape=(4·H, I)``. Rows never mix: no operation here joins two of them.

Pointwise operations take values of one shape, or constants; whatever torch broadcasts is an explicit
:func:`Builder.broadcast`. :mod:`ostinato.compiler.interpret` says in plain PyTorch what each operation means.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

Shape = tuple[int, ...]
Attrs = tuple[tuple[str, Any], ...]

KINDS = ("x", "stream", "constant", "state", "param", "tensor", "saved", "grad", "output")
"""What an input is.

x: the layer's input at a step. stream: another value a step. constant: a value a sequence. state: carried from step to
step. param: read by the loop, without a row axis. tensor: a tensor of the cell, before it is made into a param.
saved: a value of the forward step, kept for the backward one. grad: the gradient of an output or of a state.
output: what the forward step put out (the backward step may read it).
"""


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One value and the operation that makes it.

    Attributes:
        op: the operation's name; ``"input"`` and ``"const"`` have no inputs.
        inputs: the values it reads.
        shape: the axes after the row axis.
        rows: whether there is a row axis.
        attrs: what else the operation needs to know, as sorted pairs of plain, JSON-like values.
        dtype: ``"real"`` or ``"bool"``.
        source: the line of the cell it comes from.
    """

    op: str
    inputs: tuple[Node, ...]
    shape: Shape
    rows: bool
    attrs: Attrs = ()
    dtype: str = "real"
    source: str = ""

    @property
    def width(self) -> int:
        """The number of elements a row (of elements, for a value without rows)."""
        n = 1
        for size in self.shape:
            n *= size
        return n

    def __getitem__(self, name: str) -> Any:
        for key, value in self.attrs:
            if key == name:
                return value
        raise KeyError(name)


@dataclass(frozen=True)
class Graph:
    """Named inputs (nodes of op ``"input"``, with attrs ``kind`` and ``name``) and named outputs, in order."""

    inputs: dict[str, Node]
    outputs: dict[str, Node]

    def nodes(self) -> tuple[Node, ...]:
        """Every node an output needs, and every input, each after what it reads."""
        return self._nodes

    @cached_property
    def _nodes(self) -> tuple[Node, ...]:
        order: list[Node] = []
        seen: set[int] = set()
        for root in (*self.inputs.values(), *self.outputs.values()):
            stack = [(root, False)]
            while stack:
                node, done = stack.pop()
                if done:
                    order.append(node)
                elif id(node) not in seen:
                    seen.add(id(node))
                    stack.append((node, True))
                    stack.extend((i, False) for i in reversed(node.inputs) if id(i) not in seen)
        return tuple(order)

    def inputs_of(self, *kinds: str) -> dict[str, Node]:
        """The inputs of these kinds, in order."""
        return {name: node for name, node in self.inputs.items() if node["kind"] in kinds}

    def __str__(self) -> str:
        return show(self)


class Builder:
    """Makes nodes; the same operation on the same inputs is one node."""

    def __init__(self) -> None:
        self._made: dict[Any, Node] = {}

    def make(
        self,
        op: str,
        inputs: Iterable[Node],
        shape: Shape,
        rows: bool,
        dtype: str = "real",
        source: str = "",
        **attrs: Any,
    ) -> Node:
        """Any node; the named makers below are for those whose shape follows from their inputs."""
        inputs = tuple(inputs)
        pairs = tuple(sorted(attrs.items()))
        key = (op, tuple(map(id, inputs)), tuple(shape), rows, dtype, repr(pairs))
        node = self._made.get(key)
        if node is None:
            node = self._made[key] = Node(op, inputs, tuple(shape), rows, pairs, dtype, source)
        return node

    def input(self, kind: str, name: str, shape: Shape, rows: bool, dtype: str = "real") -> Node:
        assert kind in KINDS, kind
        return self.make("input", (), shape, rows, dtype, name=name, kind=kind)

    def const(self, value: float | bool) -> Node:
        """A number; pointwise operations read it at every element."""
        dtype = "bool" if isinstance(value, bool) else "real"
        return self.make("const", (), (), False, dtype, value=value if dtype == "bool" else float(value))

    def pointwise(self, op: str, *inputs: Node, dtype: str = "real", source: str = "", **attrs: Any) -> Node:
        """An elementwise operation on values of one shape (and constants)."""
        full = [i for i in inputs if i.op != "const"] or list(inputs)
        return self.make(op, inputs, full[0].shape, full[0].rows, dtype, source, **attrs)

    def broadcast(self, value: Node, shape: Shape, source: str = "") -> Node:
        """A value at every row and, as torch broadcasts (axes aligned at the right), to this shape."""
        if value.rows and value.shape == tuple(shape):
            return value
        return self.make("broadcast", (value,), shape, True, value.dtype, source)

    def slice(self, value: Node, axis: int, start: int, stop: int, step: int = 1, source: str = "") -> Node:
        """``value[start:stop:step]`` along one axis of the shape."""
        size = value.shape[axis]
        if (start, stop, step) == (0, size, 1):
            return value
        length = max(0, -(-(stop - start) // step))
        shape = (*value.shape[:axis], length, *value.shape[axis + 1 :])
        return self.make(
            "slice", (value,), shape, value.rows, value.dtype, source, axis=axis, start=start, stop=stop, step=step
        )

    def cat(self, values: Iterable[Node], axis: int, source: str = "") -> Node:
        """Values joined along one axis of the shape."""
        values = tuple(values)
        if len(values) == 1:
            return values[0]
        first = values[0]
        shape = (*first.shape[:axis], sum(v.shape[axis] for v in values), *first.shape[axis + 1 :])
        return self.make("cat", values, shape, first.rows, first.dtype, source, axis=axis)

    def reshape(self, value: Node, shape: Shape, source: str = "") -> Node:
        if value.shape == tuple(shape):
            return value
        return self.make("reshape", (value,), shape, value.rows, value.dtype, source)

    def permute(self, value: Node, dims: tuple[int, ...], source: str = "") -> Node:
        """The axes of the shape in another order."""
        if dims == tuple(range(len(dims))):
            return value
        shape = tuple(value.shape[d] for d in dims)
        return self.make("permute", (value,), shape, value.rows, value.dtype, source, dims=list(dims))

    def reduce(self, op: str, value: Node, axes: Iterable[int], source: str = "") -> Node:
        """``op`` ("sum", "amax", "amin") over axes of the shape, which stay with size 1."""
        axes = sorted(axes)
        shape = tuple(1 if d in axes else s for d, s in enumerate(value.shape))
        return self.make(op, (value,), shape, value.rows, "real", source, axes=axes)

    def linear(self, value: Node, weight: Node, source: str = "") -> Node:
        """``value @ weight.T`` over the last axis: (…, K) and (N, K) give (…, N); (h, K) and (h, N, K) give (h, N)."""
        return self.make("linear", (value, weight), (*value.shape[:-1], weight.shape[-2]), True, "real", source)


def rewrite(graph: Graph, rule: Callable[[Builder, Node, tuple[Node, ...]], Node | None]) -> Graph:
    """The graph with each node made anew: ``rule`` gets the node and its new inputs, and returns what takes its place,
    or None to keep the operation as it is."""
    build = Builder()
    new: dict[int, Node] = {}
    for node in graph.nodes():
        inputs = tuple(new[id(i)] for i in node.inputs)
        made = rule(build, node, inputs)
        new[id(node)] = remake(build, node, inputs) if made is None else made
    return Graph(
        {name: new[id(node)] for name, node in graph.inputs.items()},
        {name: new[id(node)] for name, node in graph.outputs.items()},
    )


def remake(build: Builder, node: Node, inputs: tuple[Node, ...]) -> Node:
    """The same operation on other inputs of the same shapes."""
    return build.make(node.op, inputs, node.shape, node.rows, node.dtype, node.source, **dict(node.attrs))


def is_joined(node: Node) -> bool:
    """Whether a value is only a place where its parts lie side by side."""
    return node.op == "cat" and prod(node.shape[: node["axis"]]) == 1


def parts_of(node: Node) -> Iterator[tuple[Node, int]]:
    """What lies side by side in a value, and at which element each part begins; nothing if it is not joined."""
    start = 0
    for part in node.inputs if is_joined(node) else ():
        yield part, start
        start += part.width


def show(graph: Graph) -> str:
    """The graph as text, one value a line: ``%5 (64) = tanh %4    # cells.py:12: g = torch.tanh(g)``."""
    names: dict[int, str] = {id(node): name for name, node in graph.inputs.items()}
    lines = [f"{node['kind']:9}{name} {_shape(node)}" for name, node in graph.inputs.items()]
    for node in graph.nodes():
        if node.op == "input":
            continue
        if node.op == "const":
            names[id(node)] = repr(node["value"])
            continue
        names[id(node)] = f"%{len(names)}"
        extra = "".join(f" {key}={value!r}" for key, value in node.attrs)
        text = f"  {names[id(node)]} {_shape(node)} = {node.op} {', '.join(names[id(i)] for i in node.inputs)}{extra}"
        lines.append(f"{text:<72}# {node.source}" if node.source else text)
    lines += [f"returns  {name} = {names[id(node)]}" for name, node in graph.outputs.items()]
    return "\n".join(lines)


def _shape(node: Node) -> str:
    axes = " × ".join(map(str, node.shape))
    return f"(B, {axes})" if node.rows and axes else "(B)" if node.rows else f"({axes})"


def to_json(graph: Graph) -> dict[str, Any]:
    """The graph as plain values: what the cache stores and an exported program carries."""
    nodes = graph.nodes()
    number = {id(node): n for n, node in enumerate(nodes)}
    return {
        "nodes": [
            [n.op, [number[id(i)] for i in n.inputs], list(n.shape), n.rows, dict(n.attrs), n.dtype, n.source]
            for n in nodes
        ],
        "inputs": {name: number[id(node)] for name, node in graph.inputs.items()},
        "outputs": {name: number[id(node)] for name, node in graph.outputs.items()},
    }


def from_json(text: Mapping[str, Any]) -> Graph:
    """The graph :func:`to_json` wrote."""
    nodes: list[Node] = []
    for op, inputs, shape, rows, attrs, dtype, source in text["nodes"]:
        pairs = tuple(sorted(attrs.items()))
        nodes.append(Node(op, tuple(nodes[i] for i in inputs), tuple(shape), rows, pairs, dtype, source))
    return Graph(
        {name: nodes[i] for name, i in text["inputs"].items()},
        {name: nodes[i] for name, i in text["outputs"].items()},
    )


def dumps(graph: Graph) -> str:
    """One line of JSON; infinities and NaN are written as Python's json does."""
    return json.dumps(to_json(graph), separators=(",", ":"))
