"""What torch's matrix products are in a graph: ``linear`` with a matrix of parameters, or sums of products of rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from ostinato.compiler.graph import Node, Shape
from ostinato.compiler.rules_pointwise import scaled
from ostinato.compiler.rules_shape import slices
from ostinato.compiler.traced import MIXES, Maker, Value


def mm(m: Maker, a: Value, b: Value) -> Value:
    """(n, k) @ (k, p)."""
    if a.row == 0 and b.row is None:
        return with_matrix(m, a, m.transposed(b))
    if a.row is None and b.row == 1:
        m.separate(b, "multiplies")
        return replace(with_matrix(m, replace(b, row=0), a), row=1)
    raise joins(m, a, b)


def with_matrix(m: Maker, value: Value, weight: Value) -> Value:
    """``value @ weight.T`` over the value's last axis."""
    value, weight = m.real(value), m.real(weight)
    return replace(value, node=m.build.linear(value.node, weight.node, m.source), dtype=m.dtype, fill=None)


def joins(m: Maker, *values: Value) -> Exception:
    if sum(v.row is not None for v in values) > 1:
        return m.refuse(f"multiplies over the batch axis, so it {MIXES}")
    return m.refuse("sums over the batch axis")


def mv(m: Maker, a: Value, b: Value) -> Value:
    """(n, k) @ (k)."""
    if a.row == 0 and b.row is None:
        weight = m.aten("aten.unsqueeze.default", (b, 0), {}, (1, *b.node.shape), b.dtype)
        value = with_matrix(m, a, weight)
        return replace(value, node=m.build.reshape(value.node, value.node.shape[:-1], m.source))
    raise joins(m, a, b)


def addmm(m: Maker, bias: Value, a: Value, b: Value, *, beta: float = 1, alpha: float = 1) -> Value:
    return _added(m, bias, mm(m, a, b), beta, alpha)


def addmv(m: Maker, bias: Value, a: Value, b: Value, *, beta: float = 1, alpha: float = 1) -> Value:
    return _added(m, bias, mv(m, a, b), beta, alpha)


def baddbmm(m: Maker, bias: Value, a: Value, b: Value, *, beta: float = 1, alpha: float = 1) -> Value:
    return _added(m, bias, bmm(m, a, b), beta, alpha)


def _added(m: Maker, bias: Value, product: Value, beta: float, alpha: float) -> Value:
    product = m.value(scaled(m, product, alpha))
    return product if beta == 0 else m.point("add", product, scaled(m, bias, beta))


def bmm(m: Maker, a: Value, b: Value) -> Value:
    """(h, n, k) @ (h, k, p): the rows may be the first axis of both, the second of one, or the third of the other."""
    if a.row == 0 and b.row == 0:
        return of_rows(m, a, b)
    if a.row == 1 and b.row is None:
        return by_heads(m, a, m.transposed(b))
    if a.row is None and b.row == 2:
        m.separate(b, "multiplies")
        value = by_heads(m, replace(b, row=1), a)
        return replace(value, row=2)
    raise joins(m, a, b)


def by_heads(m: Maker, value: Value, weight: Value) -> Value:
    """(h, rows, k) with weights (h, n, k): each head with a matrix of its own."""
    value, weight = m.real(value), m.real(weight)
    heads, n, k = weight.node.shape
    if heads == 1:
        matrix = m.aten("aten.squeeze.dim", (weight, 0), {}, (n, k), m.dtype)
        return with_matrix(m, value, matrix)
    if not value.joined:
        return replace(value, node=m.build.linear(value.node, weight.node, m.source), dtype=m.dtype, fill=None)
    return replace(value, node=_each_head(m, value.node, weight), dtype=m.dtype, fill=None)


def of_rows(m: Maker, a: Value, b: Value) -> Value:
    """A product within each row: (n, k) @ (k, p), perhaps of several axes joined with the row axis."""
    a, b = m.real(a), m.real(b)
    if (a.before, a.after) != (b.before, b.after):
        raise m.refuse("multiplies values whose batch axes are joined with others")
    extra = a.joined
    lead, (n, k), p = a.node.shape[:extra], a.node.shape[extra:], b.node.shape[-1]
    if (weight := _weight(b.node, extra)) is not None:
        turned = m.transposed(Value(weight, dtype=m.dtype))
        return replace(a, node=_weighted(m, a.node, turned, extra), fill=None)
    if (weight := _weight(a.node, extra)) is not None:
        product = _weighted(m, _swapped(m, b.node), Value(weight, dtype=m.dtype), extra)
        return replace(b, node=_swapped(m, product), fill=None)
    # Two rows multiplied element by element, then summed over k; an axis of size 1 is left out where there is one.
    shapes: tuple[Shape, Shape] = ((n, k), (1, k)) if p == 1 else ((k, 1), (k, p)) if n == 1 else ((n, k, 1), (1, k, p))
    parts = zip((a, b), shapes, strict=True)
    terms = [replace(v, node=m.build.reshape(v.node, (*lead, *shape), m.source)) for v, shape in parts]
    summed = extra if n == 1 and p != 1 else extra + 1
    node = m.build.reduce("sum", m.point("mul", *terms).node, [summed], m.source)
    return replace(a, node=m.build.reshape(node, (*lead, n, p), m.source), dtype=m.dtype, fill=None)


def _weight(node: Node, extra: int) -> Node | None:
    """The matrix, or the matrix for each joined axis, that stands at every row, if this is such a value."""
    if node.op != "broadcast" or node.inputs[0].rows or node.inputs[0].op == "const":
        return None
    inner = node.inputs[0].shape
    return node.inputs[0] if inner == node.shape[extra:] or (inner == node.shape and extra == 1) else None


def _weighted(m: Maker, node: Node, weight: Value, extra: int) -> Node:
    """(…, n, k) times the transpose of (p, k), or of one (p, k) for each of the first axis."""
    if len(weight.node.shape) == 2:
        return m.build.linear(node, weight.node, m.source)
    heads, n, k = node.shape
    p = weight.node.shape[1]
    if n == 1:
        flat = m.build.linear(m.build.reshape(node, (heads, k), m.source), weight.node, m.source)
        return m.build.reshape(flat, (heads, 1, p), m.source)
    return _each_head(m, node, weight)


def _each_head(m: Maker, node: Node, weight: Value) -> Node:
    parts = []
    for head, one in enumerate(slices(m, node, 0)):
        matrix = m.aten("aten.select.int", (weight, 0, head), {}, weight.node.shape[1:], m.dtype)
        parts.append(m.build.linear(one, matrix.node, m.source))
    return m.build.cat(parts, 0, m.source)


def _swapped(m: Maker, node: Node) -> Node:
    """The last two axes exchanged."""
    n = len(node.shape)
    return m.build.permute(node, (*range(n - 2), n - 1, n - 2), m.source)


def trilinear(
    m: Maker,
    a: Value,
    weight: Value,
    b: Value,
    expand1: Sequence[int],
    expand2: Sequence[int],
    expand3: Sequence[int],
    sums: Sequence[int],
    unroll: int = 1,
) -> Value:
    """``torch.nn.Bilinear``: the sum over i and j of ``a[i] * weight[k, i, j] * b[j]``."""
    known = [list(axes) for axes in (expand1, expand2, expand3, sums)] == [[1, 3], [0], [1, 2], [2, 3]]
    if not known or weight.row is not None or a.row != 0 or b.row != 0:
        raise m.refuse("has no native form but that of torch.nn.Bilinear")
    n, i, j = weight.node.shape
    turned = m.transposed(m.real(weight))
    flat = m.aten("aten.reshape.default", (turned, [n * j, i]), {}, (n * j, i), m.dtype)
    by_output = with_matrix(m, a, flat)
    node = m.build.reshape(by_output.node, (*by_output.node.shape[:-1], n, j), m.source)
    other = m.real(b).node
    other = m.build.reshape(other, (*other.shape[:-1], 1, j), m.source)
    terms = m.point("mul", replace(by_output, node=node), replace(b, node=other, dtype=m.dtype, fill=None))
    total = m.build.reduce("sum", terms.node, [len(terms.node.shape) - 1], m.source)
    return replace(by_output, node=m.build.reshape(total, total.shape[:-1], m.source))


PRODUCT_RULES: dict[str, Callable[..., Any]] = {
    "mm": mm,
    "mv": mv,
    "bmm": bmm,
    "addmm": addmm,
    "addmv": addmv,
    "baddbmm": baddbmm,
    "_trilinear": trilinear,
}
"""torch's name → the rule, called with the maker and the operation's arguments, tensors as values."""
