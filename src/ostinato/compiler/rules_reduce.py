"""What torch's reductions and normalisations over the feature axes are in a graph."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import reduce
from typing import Any

import torch

from ostinato.compiler.rules_shape import slices
from ostinato.compiler.traced import MIXES, Maker, Operand, Value

Dims = int | Sequence[int] | None


def axes_of(m: Maker, v: Value, dims: Dims, doing: str) -> list[int]:
    """The tensor's axes that are meant, none of them the batch's."""
    asked = range(v.dim) if dims is None or dims == [] else [dims] if isinstance(dims, int) else dims
    dims = sorted({m.dim(v, d) for d in asked})
    for d in dims:
        m.feature(v, d, doing)
    return dims


def dropped(m: Maker, v: Value, dims: Sequence[int], keepdim: bool) -> Value:
    """A value with axes of size 1, which go unless they are to be kept."""
    assert v.row is not None
    if keepdim:
        return v
    axes = {v.axis(d) for d in dims}
    shape = tuple(s for n, s in enumerate(v.node.shape) if n not in axes)
    row = v.row - sum(d < v.row for d in dims)
    return replace(v, node=m.build.reshape(v.node, shape, m.source), row=row)


def over(m: Maker, op: str, v: Value, dims: Sequence[int]) -> Value:
    """A reduction whose axes stay with size 1."""
    v = m.real(v)
    node = m.build.reduce(op, v.node, [v.axis(d) for d in dims], m.source)
    return replace(v, node=node, dtype=m.dtype, fill=None)


def reduction(op: str, doing: str) -> Callable[..., Value]:
    def rule(m: Maker, v: Value, dims: Dims = None, keepdim: bool = False, *, dtype: Any = None) -> Value:
        axes = axes_of(m, v, dims, doing)
        return dropped(m, over(m, op, v, axes), axes, keepdim)

    return rule


def count(m: Maker, v: Value, dims: Sequence[int]) -> int:
    sizes = v.sizes(m.rows)
    return math.prod(sizes[d] for d in dims)


def mean(m: Maker, v: Value, dims: Dims = None, keepdim: bool = False, *, dtype: Any = None) -> Value:
    axes = axes_of(m, v, dims, "averages over")
    return dropped(m, m.point("div", over(m, "sum", v, axes), count(m, v, axes)), axes, keepdim)


def extreme(op: str, first: str, doing: str) -> Callable[..., Any]:
    """``max`` and ``min``: over one axis they give the values, and indices that nothing may read."""

    def rule(m: Maker, v: Value, dim: int | None = None, keepdim: bool = False) -> Any:
        axes = axes_of(m, v, dim, doing)
        if dim is None:
            return dropped(m, over(m, op, v, axes), axes, keepdim)
        return dropped(m, last(m, first, v, axes[0], 1), axes, keepdim), None

    return rule


def moments(m: Maker, v: Value, dims: Dims, correction: float, keepdim: bool) -> tuple[Value, Value]:
    """Variance and mean."""
    axes = axes_of(m, v, dims, "takes the variance over")
    n = count(m, v, axes)
    centre = m.point("div", over(m, "sum", v, axes), n)
    away = m.point("sub", v, centre)
    divisor = max(n - correction, 0.0)
    if not divisor:
        raise m.refuse("takes the variance of a single element, which is not a number")
    spread = m.point("div", over(m, "sum", m.point("mul", away, away), axes), divisor)
    return dropped(m, spread, axes, keepdim), dropped(m, centre, axes, keepdim)


def _correction(given: Any, keywords: dict[str, Any]) -> float:
    """n - 1 unless said otherwise: ``unbiased`` is that said by a bool."""
    value = keywords.get("correction", given)
    return 1.0 if value is None else float(value)


def var(m: Maker, v: Value, dims: Any = None, unbiased: Any = None, keepdim: bool = False, **more: Any) -> Value:
    if isinstance(dims, bool):
        dims, unbiased = None, dims
    return moments(m, v, dims, _correction(unbiased, more), more.get("keepdim", keepdim))[0]


def std(m: Maker, *args: Any, **more: Any) -> Value:
    return m.point("power", var(m, *args, **more), exponent=0.5)


def var_mean(
    m: Maker, v: Value, dims: Any = None, unbiased: Any = None, keepdim: bool = False, **more: Any
) -> tuple[Value, Value]:
    if isinstance(dims, bool):
        dims, unbiased = None, dims
    return moments(m, v, dims, _correction(unbiased, more), more.get("keepdim", keepdim))


def norm(m: Maker, v: Value, order: Any = 2, dims: Dims = None, keepdim: bool = False, *, dtype: Any = None) -> Value:
    axes = axes_of(m, v, dims, "takes the norm over")
    order = 2.0 if order is None else float(order)
    if order == 2 and len(axes) == 1:
        return dropped(m, last(m, "norm", v, axes[0], 1), axes, keepdim)
    size = m.point("abs", v)
    if order in (math.inf, -math.inf):
        value = over(m, "amax" if order > 0 else "amin", size, axes)
    elif order == 0:
        value = over(m, "sum", m.real(m.compare("ne", v, 0.0)), axes)
    elif order == 1:
        value = over(m, "sum", size, axes)
    elif order == 2:
        value = m.point("power", over(m, "sum", m.point("mul", v, v), axes), exponent=0.5)
    else:
        powers = m.point("power", size, exponent=order) if order < 1 else m.point("pow", size, order)
        value = m.point("power", over(m, "sum", powers, axes), exponent=1 / order)
    return dropped(m, value, axes, keepdim)


def last(m: Maker, op: str, v: Value, dim: int, size: int | None = None, **attrs: Any) -> Value:
    """A normalising operation, which works on the last axis, on any one axis."""
    axis = m.feature(v, dim, "normalises over")
    v = m.real(v)
    n = len(v.node.shape)
    there = (*(d for d in range(n) if d != axis), axis)
    back = tuple(there.index(d) for d in range(n))
    value = m.build.permute(v.node, there, m.source)
    shape = value.shape if size is None else (*value.shape[:-1], size)
    node = m.build.make(op, (value,), shape, True, "real", m.source, **attrs)
    return replace(v, node=m.build.permute(node, back, m.source), dtype=m.dtype, fill=None)


def softmax(op: str) -> Callable[..., Value]:
    return lambda m, v, dim, half_to_float=False: last(m, op, v, dim)


def logsumexp(m: Maker, v: Value, dims: Dims, keepdim: bool = False) -> Value:
    axes = axes_of(m, v, dims, "sums over")
    for d in axes:
        v = last(m, "logsumexp", v, d, 1)
    return dropped(m, v, axes, keepdim)


def layer_norm(
    m: Maker, v: Value, shape: Sequence[int], weight: Value | None, bias: Value | None, eps: float
) -> tuple[Value | None, ...]:
    """Over the last axes, as one; the gain and the bias are products and sums of their own."""
    return scaled_and_moved(m, normalised(m, "layer_norm", v, shape, eps), weight, bias), None, None


def normalised(m: Maker, op: str, v: Value, shape: Sequence[int], eps: float) -> Value:
    """A norm over the last axes, as one axis."""
    count = len(shape)
    for d in range(v.dim - count, v.dim):
        m.feature(v, d, "normalises over")
    sizes = v.sizes(m.rows)
    flat = v if count == 1 else m.view(v, [*sizes[: v.dim - count], math.prod(shape)])
    value = last(m, op, flat, flat.dim - 1, eps=float(eps))
    return value if count == 1 else m.view(value, sizes)


def by_channel(m: Maker, v: Value, weight: Value | None) -> Value | None:
    """A weight for each element of axis 1, at every place of a value."""
    if weight is None:
        return None
    shape = (*weight.node.shape, *(1,) * (v.dim - 2))
    return m.aten("aten.view.default", (weight, list(shape)), {}, shape, weight.dtype)


def scaled_and_moved(m: Maker, v: Value, weight: Value | None, bias: Value | None) -> Value:
    v = v if weight is None else m.point("mul", v, weight)
    return v if bias is None else m.point("add", v, bias)


def group_norm(
    m: Maker,
    v: Value,
    weight: Value | None,
    bias: Value | None,
    n: int,
    channels: int,
    inner: int,
    groups: int,
    eps: float,
) -> tuple[Value | None, ...]:
    sizes = v.sizes(m.rows)
    grouped = m.view(v, [sizes[0], groups, channels * inner // groups])
    value = m.view(last(m, "layer_norm", grouped, 2, eps=float(eps)), sizes)
    return scaled_and_moved(m, value, by_channel(m, value, weight), by_channel(m, value, bias)), None, None


def batch_norm(
    m: Maker,
    v: Value,
    weight: Value | None,
    bias: Value | None,
    mean: Value | None,
    var: Value | None,
    training: bool,
    momentum: float,
    eps: float,
) -> tuple[Value | None, ...]:
    """With the statistics that were kept; those of the batch would join its rows."""
    if training or mean is None or var is None:
        raise m.refuse(f"normalises over the batch axis, so it {MIXES}")
    away = m.point("sub", v, by_channel(m, v, mean) or mean)
    spread = m.point("add", m.spread(by_channel(m, v, var) or var, v), eps)
    value = m.point("mul", away, m.point("rsqrt", spread))
    return scaled_and_moved(m, value, by_channel(m, v, weight), by_channel(m, v, bias)), None, None


def rms_norm(m: Maker, v: Value, shape: Sequence[int], weight: Value | None = None, eps: Any = None) -> Any:
    small = torch.finfo(m.dtype).eps if eps is None else float(eps)
    return scaled_and_moved(m, normalised(m, "rms_norm", v, shape, small), weight, None), None


def whether(op: str, doing: str) -> Callable[..., Value]:
    """``any`` and ``all`` of bools."""

    def rule(m: Maker, v: Value, dims: Dims = None, keepdim: bool = False) -> Value:
        axes = axes_of(m, v, dims, doing)
        return m.truth(dropped(m, over(m, op, m.real(m.truth(v)), axes), axes, keepdim))

    return rule


def prod(m: Maker, v: Value, dim: int | None = None, keepdim: bool = False, *, dtype: Any = None) -> Value:
    axes = axes_of(m, v, dim, "multiplies over")
    v = m.real(v)
    for d in axes:
        parts: list[Operand] = [replace(v, node=n) for n in slices(m, v.node, v.axis(d))]
        v = m.value(reduce(lambda a, b: m.point("mul", a, b), parts))
    return dropped(m, v, axes, keepdim)


REDUCE_RULES: dict[str, Callable[..., Any]] = {
    "sum": reduction("sum", "sums over"),
    "amax": reduction("amax", "takes the largest over"),
    "amin": reduction("amin", "takes the smallest over"),
    "mean": mean,
    "max": extreme("amax", "largest", "takes the largest over"),
    "min": extreme("amin", "smallest", "takes the smallest over"),
    "var": var,
    "std": std,
    "var_mean": var_mean,
    "linalg_vector_norm": norm,
    "norm": norm,
    "_softmax": softmax("softmax"),
    "_log_softmax": softmax("log_softmax"),
    "logsumexp": logsumexp,
    "native_layer_norm": layer_norm,
    "native_group_norm": group_norm,
    "native_batch_norm": batch_norm,
    "_fused_rms_norm": rms_norm,
    "any": whether("amax", "looks over"),
    "all": whether("amin", "looks over"),
    "prod": prod,
}
"""torch's name → the rule; a result that is None may not be read."""
