"""What new tensors, and writing into others, are in a graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from ostinato.compiler.rules_shape import bounds, part, select, slices
from ostinato.compiler.traced import Maker, Operand, Value, infer


def slice_scatter(
    m: Maker,
    v: Value,
    new: Value,
    dim: int = 0,
    start: int | None = None,
    end: int | None = None,
    step: int = 1,
) -> Value:
    """``v`` with ``new`` in the place of a slice."""
    low, high = bounds(v.sizes(m.rows)[dim], start, end)
    target = part(m, v, dim, low, high, step)
    new = m.spread(_as(m, v, new), target)
    if new.node.shape == v.node.shape:
        return replace(new, dtype=v.dtype)
    axis = m.feature(v, dim, "writes to part of")
    if step == 1:
        size = v.node.shape[axis]
        ends = m.build.slice(v.node, axis, 0, low, source=m.source), m.build.slice(v.node, axis, high, size)
        pieces = [n for n in (ends[0], new.node, ends[1]) if n.shape[axis]]
    else:
        pieces = slices(m, v.node, axis)
        pieces[low:high:step] = slices(m, new.node, axis)
    return replace(v, node=m.build.cat(pieces, axis, m.source), fill=None)


def select_scatter(m: Maker, v: Value, new: Value, dim: int, at: int) -> Value:
    sizes = v.sizes(m.rows)
    dim, at = m.dim(v, dim), at % sizes[dim]
    m.feature(v, dim, "writes to part of")
    whole = m.spread(_as(m, v, new), select(m, v, dim, at))
    return slice_scatter(m, v, m.view(whole, [*sizes[:dim], 1, *sizes[dim + 1 :]]), dim, at, at + 1)


def copy(m: Maker, v: Value, new: Operand, non_blocking: bool = False) -> Value:
    new = m.value(new)
    if v.row is None and new.row is None:
        assert v.dtype is not None
        if new.fill is not None:
            return m.full(v.node.shape, new.fill, v.dtype)
        new = new if new.dtype == v.dtype else m.convert(new, v.dtype)
        return m.aten("aten.expand.default", (new, list(v.node.shape)), {}, v.node.shape, v.dtype)
    return replace(m.spread(_as(m, v, new), v), dtype=v.dtype)


def _as(m: Maker, like: Value, new: Value) -> Value:
    """A value in the dtype of the one it is written into."""
    kind = like.dtype or (torch.bool if like.node.dtype == "bool" else m.dtype)
    if kind is not torch.bool and kind != m.dtype:
        raise m.refuse(f"writes into a tensor of {kind}, and the cell computes in {m.dtype}")
    return m.truth(new) if kind is torch.bool else m.real(new)


def like(fill: float | None) -> Callable[..., Value]:
    """A tensor of one number, shaped as another."""

    def rule(m: Maker, v: Value, value: Operand = 0.0, **kwargs: Any) -> Value:
        number = _number(m, value) if fill is None else fill
        if v.row is None:
            return m.filled(v.node.shape, _kind(m, number), m.out.dtype)
        node = m.build.broadcast(m.build.const(_kind(m, number)), v.node.shape, m.source)
        return replace(v, node=node, dtype=m.out.dtype, fill=_kind(m, number))

    return rule


def new(fill: float | None) -> Callable[..., Value]:
    """A tensor of one number and of a given shape: ``new_zeros`` and its kin, and ``zeros`` and its own."""

    def rule(m: Maker, *args: Any, **kwargs: Any) -> Value:
        given = [a for a in args if not isinstance(a, Value)]
        number = fill if fill is not None else _number(m, given[1])
        return m.filled(infer(given[0], 1), _kind(m, number), m.out.dtype)

    return rule


def _number(m: Maker, value: Operand) -> float | bool:
    if isinstance(value, Value):
        if value.fill is None:
            raise m.refuse("fills a tensor with a computed value; multiply torch.ones with it")
        return value.fill
    return value


def _kind(m: Maker, number: float | bool) -> float | bool:
    return bool(number) if m.out.dtype is torch.bool else number


def scalar_tensor(m: Maker, number: float | bool, **kwargs: Any) -> Value:
    return m.full((), _kind(m, number), m.out.dtype)


WRITES: dict[str, Callable[..., Any]] = {
    "copy": copy,
    "fill": lambda m, v, value: copy(m, v, value),
    "zero": lambda m, v: copy(m, v, 0.0),
}
"""What ``copy_`` and its kin write; these rules hold for values without rows too: torch has no derivative of them."""

FILLS: dict[str, Callable[..., Any]] = {
    "zeros": new(0.0),
    "ones": new(1.0),
    "full": new(None),
    "empty": new(0.0),
    "new_zeros": new(0.0),
    "new_ones": new(1.0),
    "new_full": new(None),
    "new_empty": new(0.0),
    "zeros_like": like(0.0),
    "ones_like": like(1.0),
    "full_like": like(None),
    "empty_like": like(0.0),
    "scalar_tensor": scalar_tensor,
}
"""New tensors of one number; these rules hold for values without rows too. What ``empty`` holds is nobody's to read."""

FILL_RULES: dict[str, Callable[..., Any]] = {
    **FILLS,
    **WRITES,
    "slice_scatter": slice_scatter,
    "select_scatter": select_scatter,
}
"""torch's name → the rule, called with the maker and the operation's arguments, tensors as values."""
