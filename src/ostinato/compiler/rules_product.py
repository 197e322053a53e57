"""What torch's matrix products are in a graph: ``linear`` with a matrix of parameters, or sums of products of rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ostinato.compiler.graph import Node
from ostinato.compiler.rules_pointwise import scaled
from ostinato.compiler.rules_reduce import over
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
        return of_rows(m, m.separate(a, "multiplies"), m.separate(b, "multiplies"))
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
    parts = []
    for head, node in enumerate(slices(m, value.node, 0)):
        matrix = m.aten("aten.select.int", (weight, 0, head), {}, (n, k), m.dtype)
        parts.append(m.build.linear(node, matrix.node, m.source))
    return replace(value, node=m.build.cat(parts, 0, m.source), dtype=m.dtype, fill=None)


def of_rows(m: Maker, a: Value, b: Value) -> Value:
    """A product within each row: (n, k) @ (k, p)."""
    a, b = m.real(a), m.real(b)
    (n, k), p = a.node.shape, b.node.shape[1]
    if (matrix := _matrix(b.node)) is not None:
        return with_matrix(m, a, m.transposed(Value(matrix, dtype=m.dtype)))
    if (matrix := _matrix(a.node)) is not None:
        turned = with_matrix(m, m.permute(b, (0, 2, 1)), Value(matrix, dtype=m.dtype))
        return m.permute(turned, (0, 2, 1))
    if p == 1:
        terms = m.point("mul", a, m.view(b, [m.rows, 1, k]))
        return over(m, "sum", terms, [2])
    if n == 1:
        terms = m.point("mul", m.view(a, [m.rows, k, 1]), b)
        return over(m, "sum", terms, [1])
    terms = m.point("mul", m.view(a, [m.rows, n, k, 1]), m.view(b, [m.rows, 1, k, p]))
    return m.view(over(m, "sum", terms, [2]), [m.rows, n, p])


def _matrix(node: Node) -> Node | None:
    """The one matrix that stands at every row, if this is such a value."""
    if node.op == "broadcast" and not node.inputs[0].rows and node.inputs[0].shape == node.shape:
        return node.inputs[0]
    return None


PRODUCT_RULES: dict[str, Callable[..., Any]] = {
    "mm": mm,
    "mv": mv,
    "bmm": bmm,
    "addmm": addmm,
    "addmv": addmv,
    "baddbmm": baddbmm,
}
"""torch's name → the rule, called with the maker and the operation's arguments, tensors as values."""
