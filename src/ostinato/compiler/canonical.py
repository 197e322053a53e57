"""Nodes in canonical form: slices pushed to the leaves, joins to the roots, exact identities applied.

Every maker here gets canonical inputs and returns a canonical node. Slices end on inputs, reductions and reshapes;
joins (cat) feed only products, reshapes, broadcasts and outputs. Nothing here changes a result, not by the sign of a
zero, but for sums, whose order may be another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from math import copysign
from typing import Any

import torch
from torch.utils._python_dispatch import _disable_current_modes

from ostinato.compiler.graph import Builder, Node, Shape, remake
from ostinato.compiler.interpret import POINTWISE, REDUCTIONS


class Canonical:
    """Makes nodes of one new graph."""

    def __init__(self, build: Builder) -> None:
        self.build = build

    def again(self, node: Node, inputs: tuple[Node, ...]) -> Node:
        """The node on other inputs, in canonical form."""
        if node.op in POINTWISE:
            return self.pointwise(node, inputs)
        maker = MAKERS.get(node.op)
        return remake(self.build, node, inputs) if maker is None else maker(self, node, inputs)

    def slice(self, value: Node, axis: int, start: int, stop: int, step: int = 1) -> Node:
        length = -(-(stop - start) // step)
        if (start, stop, step) == (0, value.shape[axis], 1) or length <= 0:
            return self.build.slice(value, axis, start, stop, step)
        through = THROUGH.get("pointwise" if value.op in POINTWISE else value.op)
        made = through(self, value, axis, start, stop, step) if through else None
        return self.build.slice(value, axis, start, stop, step, value.source) if made is None else made

    def cat(self, values: Iterable[Node], axis: int) -> Node:
        parts: list[Node] = []
        values = list(values)
        for value in values:
            own = value.inputs if value.op == "cat" and value["axis"] == axis else (value,)
            for part in own:
                joined = self._join(parts[-1], part, axis) if parts else None
                if joined is not None:
                    parts[-1] = joined
                elif part.shape[axis]:
                    parts.append(part)
        return self.build.cat(parts or values[:1], axis)

    def _join(self, left: Node, right: Node, axis: int) -> Node | None:
        """Two neighbours as one value: slices that lie side by side, the same number."""
        if left.op == right.op == "slice" and left.inputs[0] is right.inputs[0]:
            a, b = dict(left.attrs), dict(right.attrs)
            if a["axis"] == b["axis"] == axis and a["step"] == b["step"] == 1 and a["stop"] == b["start"]:
                return self.slice(left.inputs[0], axis, a["start"], b["stop"])
        if left.op == right.op == "broadcast" and left.inputs[0] is right.inputs[0] and left.inputs[0].op == "const":
            shape = (*left.shape[:axis], left.shape[axis] + right.shape[axis], *left.shape[axis + 1 :])
            return self.build.broadcast(left.inputs[0], shape)
        return None

    def broadcast(self, value: Node, shape: Shape, source: str = "") -> Node:
        if value.op == "broadcast":
            value = value.inputs[0]
        return self.build.broadcast(value, shape, source)

    def reshape(self, value: Node, shape: Shape, source: str = "") -> Node:
        if value.op == "reshape":
            value = value.inputs[0]
        if value.op == "broadcast" and value.inputs[0].op == "const":
            return self.broadcast(value.inputs[0], shape)
        if value.op == "cat" and value["axis"] == 0 and len(shape) == 1:
            return self.cat([self.reshape(v, (v.width,), source) for v in value.inputs], 0)
        return self.build.reshape(value, shape, source)

    def permute(self, value: Node, dims: Sequence[int], source: str = "") -> Node:
        if value.op == "permute":
            dims = [value["dims"][d] for d in dims]
            value = value.inputs[0]
        return self.build.permute(value, tuple(dims), source)

    def pointwise(self, node: Node, inputs: tuple[Node, ...]) -> Node:
        numbers = [_number(i) for i in inputs]
        if all(n is not None for n in numbers):
            value = self.build.const(_folded(node, numbers))
            shape = next((i.shape for i in inputs if i.op != "const"), node.shape)
            return self.broadcast(value, shape) if node.rows else remake(self.build, node, inputs)
        inputs = tuple(i if n is None else n for i, n in zip(inputs, numbers, strict=True))
        identity = IDENTITIES.get(node.op)
        made = identity(self, node, *inputs) if identity else None
        if made is not None:
            return made
        joined = [i for i in inputs if i.op == "cat"]
        if not joined:
            return self._on(node, inputs)
        axis = joined[0]["axis"]
        cuts = sorted({0, *(c for j in joined if j["axis"] == axis for c in _cuts(j))})
        return self.cat([self.elementwise_part(node, inputs, axis, a, b) for a, b in pairwise(cuts)], axis)

    def elementwise_part(self, node: Node, inputs: tuple[Node, ...], axis: int, start: int, stop: int) -> Node:
        """A slice of what an elementwise operation gives, of slices of what it reads."""
        parts = tuple(i if i.op == "const" else self.slice(i, axis, start, stop) for i in inputs)
        return self.pointwise(node, parts)

    def product_part(self, node: Node, inputs: tuple[Node, ...], axis: int, start: int, stop: int) -> Node:
        """A slice of a product, with some rows (or, transposed, columns) of the weight."""
        first = dict(node.attrs).get("start", 0)
        attrs = {"start": first + start, "stop": first + stop}
        return self.build.make(node.op, inputs, (*node.shape[:axis], stop - start), True, "real", node.source, **attrs)

    def of(self, op: str, node: Node, *inputs: Node) -> Node:
        """Another elementwise operation in the place of ``node``."""
        made = self.build.pointwise(op, *inputs, dtype=node.dtype, source=node.source)
        return self.pointwise(made, tuple(inputs))

    def _on(self, node: Node, inputs: tuple[Node, ...]) -> Node:
        return self.build.pointwise(node.op, *inputs, dtype=node.dtype, source=node.source, **dict(node.attrs))


def _cuts(cat: Node) -> list[int]:
    found, stop = [], 0
    for value in cat.inputs:
        stop += value.shape[cat["axis"]]
        found.append(stop)
    return found


def _number(node: Node) -> Node | None:
    """The constant an elementwise operation reads, if that is all it reads."""
    if node.op == "broadcast":
        node = node.inputs[0]
    return node if node.op == "const" else None


def _folded(node: Node, numbers: Sequence[Node | None]) -> Any:
    with _disable_current_modes():
        values = [
            torch.tensor(n["value"], dtype=torch.bool if n.dtype == "bool" else torch.float64, device="cpu")
            for n in numbers
            if n is not None
        ]
        return POINTWISE[node.op](*values, **dict(node.attrs)).item()


# Slices, through what they can go through.


def _slice_pointwise(c: Canonical, v: Node, axis: int, start: int, stop: int, step: int) -> Node:
    return c.pointwise(v, tuple(i if i.op == "const" else c.slice(i, axis, start, stop, step) for i in v.inputs))


def _slice_slice(c: Canonical, v: Node, axis: int, start: int, stop: int, step: int) -> Node | None:
    if v["axis"] != axis:
        return None
    first, stride = v["start"] + start * v["step"], v["step"] * step
    length = -(-(stop - start) // step)
    return c.slice(v.inputs[0], axis, first, first + (length - 1) * stride + 1, stride)


def _slice_cat(c: Canonical, v: Node, axis: int, start: int, stop: int, step: int) -> Node | None:
    if v["axis"] != axis:
        return c.cat([c.slice(i, axis, start, stop, step) for i in v.inputs], v["axis"])
    parts, begin = [], 0
    for value in v.inputs:
        end = begin + value.shape[axis]
        first = max(start, start + -(-(begin - start) // step) * step)
        if first < min(stop, end):
            parts.append(c.slice(value, axis, first - begin, min(stop, end) - begin, step))
        begin = end
    return c.cat(parts, axis)


def _slice_broadcast(c: Canonical, v: Node, axis: int, start: int, stop: int, step: int) -> Node:
    value = v.inputs[0]
    own = axis - (len(v.shape) - len(value.shape))
    if own >= 0 and value.shape[own] != 1:
        value = c.slice(value, own, start, stop, step)
    length = -(-(stop - start) // step)
    return c.broadcast(value, (*v.shape[:axis], length, *v.shape[axis + 1 :]), v.source)


def _slice_reshape(c: Canonical, v: Node, axis: int, start: int, stop: int, step: int) -> Node | None:
    """Whole blocks of a flat value."""
    value = v.inputs[0]
    if axis != 0 or step != 1 or len(value.shape) != 1:
        return None
    block = value.width // v.shape[0]
    return c.reshape(c.slice(value, 0, start * block, stop * block), (stop - start, *v.shape[1:]), v.source)


def _slice_permute(c: Canonical, v: Node, axis: int, start: int, stop: int, step: int) -> Node:
    return c.permute(c.slice(v.inputs[0], v["dims"][axis], start, stop, step), v["dims"], v.source)


THROUGH: dict[str, Callable[[Canonical, Node, int, int, int, int], Node | None]] = {
    "pointwise": _slice_pointwise,
    "slice": _slice_slice,
    "cat": _slice_cat,
    "broadcast": _slice_broadcast,
    "reshape": _slice_reshape,
    "permute": _slice_permute,
}
"""The slice of a value, made of slices of what it reads; None where it stays."""


# Elementwise identities that hold for every number, both zeros, infinities and NaN.


def _is(node: Node, value: float) -> bool:
    number = node["value"] if node.op == "const" else None
    return number is not None and number == value and copysign(1.0, number) == copysign(1.0, value)


def _add(c: Canonical, node: Node, a: Node, b: Node) -> Node | None:
    if _is(b, -0.0):
        return a
    if _is(a, -0.0):
        return b
    if b.op == "neg":
        return c.of("sub", node, a, b.inputs[0])
    if a.op == "neg":
        return c.of("sub", node, b, a.inputs[0])
    return None


def _sub(c: Canonical, node: Node, a: Node, b: Node) -> Node | None:
    if _is(b, 0.0):
        return a
    if b.op == "neg":
        return c.of("add", node, a, b.inputs[0])
    return None


def _mul(c: Canonical, node: Node, a: Node, b: Node) -> Node | None:
    for value, other in ((a, b), (b, a)):
        if _is(other, 1.0):
            return value
        if _is(other, -1.0):
            return c.of("neg", node, value)
    return None


def _div(c: Canonical, node: Node, a: Node, b: Node) -> Node | None:
    return a if _is(b, 1.0) else None


def _neg(c: Canonical, node: Node, a: Node) -> Node | None:
    return a.inputs[0] if a.op == "neg" else None


def _where(c: Canonical, node: Node, condition: Node, a: Node, b: Node) -> Node | None:
    if a is b and a.op != "const":
        return a
    return None


IDENTITIES: dict[str, Callable[..., Node | None]] = {
    "add": _add,
    "sub": _sub,
    "mul": _mul,
    "div": _div,
    "neg": _neg,
    "where": _where,
}


def _reduce(c: Canonical, node: Node, inputs: tuple[Node, ...]) -> Node:
    """Over axes of one element nothing is to be done; parts joined along the axis are combined element by element."""
    value = inputs[0]
    axes = [a for a in node["axes"] if value.shape[a] != 1]
    if value.op == "cat" and axes == [value["axis"]]:
        value = _combined(c, node, value.inputs, axes[0])
    axes = [a for a in axes if value.shape[a] != 1]
    return c.build.reduce(node.op, value, axes, node.source) if axes else value


def _combined(c: Canonical, node: Node, parts: Sequence[Node], axis: int) -> Node:
    """One value whose reduction is that of all parts: those of one width first, so that it ends in one pass at the
    width of a gate; what has another width is reduced before it is added."""
    groups: dict[int, Node] = {}
    for part in parts:
        width = part.shape[axis]
        groups[width] = _both(c, node, groups[width], part) if width in groups else part
    if len(groups) == 1:
        return next(iter(groups.values()))
    ones = [v if v.shape[axis] == 1 else c.build.reduce(node.op, v, [axis], node.source) for v in groups.values()]
    total = ones[0]
    for one in ones[1:]:
        total = _both(c, node, total, one)
    return total


def _both(c: Canonical, node: Node, a: Node, b: Node) -> Node:
    op = {"sum": "add", "amax": "maximum", "amin": "minimum"}[node.op]
    return c.pointwise(c.build.pointwise(op, a, b, source=node.source), (a, b))


MAKERS: dict[str, Callable[[Canonical, Node, tuple[Node, ...]], Node]] = {
    "slice": lambda c, n, i: c.slice(i[0], n["axis"], n["start"], n["stop"], n["step"]),
    "cat": lambda c, n, i: c.cat(i, n["axis"]),
    "broadcast": lambda c, n, i: c.broadcast(i[0], n.shape, n.source),
    "reshape": lambda c, n, i: c.reshape(i[0], n.shape, n.source),
    "permute": lambda c, n, i: c.permute(i[0], n["dims"], n.source),
    **dict.fromkeys(REDUCTIONS, _reduce),
}
