"""What torch's operations on shapes are in a graph: views, joins, and new tensors of one number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import torch

from ostinato.compiler.graph import Node
from ostinato.compiler.traced import Maker, Value

FEW = 64
"""As many slices as an operation that has no other native form may become."""


def identity(m: Maker, v: Value, *args: Any, **kwargs: Any) -> Value:
    return v


def view(m: Maker, v: Value, sizes: Sequence[int], *args: Any) -> Value:
    return m.view(v, sizes)


def permute(m: Maker, v: Value, dims: Sequence[int]) -> Value:
    return m.permute(v, dims)


def transpose(m: Maker, v: Value, dim0: int, dim1: int) -> Value:
    dims = list(range(v.dim))
    dims[dim0], dims[dim1] = dims[dim1], dims[dim0]
    return m.permute(v, dims)


def t(m: Maker, v: Value) -> Value:
    return m.permute(v, range(v.dim)[::-1])


def unsqueeze(m: Maker, v: Value, dim: int) -> Value:
    sizes = list(v.sizes(m.rows))
    at = dim % (len(sizes) + 1)
    return m.view(v, [*sizes[:at], 1, *sizes[at:]])


def squeeze(m: Maker, v: Value, dims: int | Sequence[int] | None = None) -> Value:
    sizes = v.sizes(m.rows)
    asked = range(len(sizes)) if dims is None else [dims] if isinstance(dims, int) else dims
    gone = {m.dim(v, d) for d in asked}
    return m.view(v, [s for d, s in enumerate(sizes) if s != 1 or d not in gone])


def expand(m: Maker, v: Value, sizes: Sequence[int], *, implicit: bool = False) -> Value:
    sizes = tuple(sizes)
    own: tuple[int | None, ...] = (*[None] * (len(sizes) - v.dim), *v.sizes(m.rows))
    sizes = tuple(o if s == -1 and o is not None else s for s, o in zip(sizes, own, strict=True))
    if v.row is None:
        # One of the new places is the batch's.
        row = next((d for d, (s, o) in enumerate(zip(sizes, own, strict=True)) if s == m.rows and o in (None, 1)), None)
        if row is None:
            return m.aten("aten.expand.default", (v, list(sizes)), {}, sizes, v.dtype)
        kept = tuple(o for d, o in enumerate(own) if o is not None and d != row)
        shape = (*sizes[:row], *sizes[row + 1 :])
        if v.fill is not None:
            return m.filled(sizes, v.fill, v.dtype)
        node = m.build.broadcast(m.build.reshape(v.node, kept, m.source), shape, m.source)
        return Value(node, row, v.dtype)
    row = v.row + len(sizes) - v.dim
    if sizes[row] != own[row]:
        raise m.refuse("widens the batch axis")
    shape = (*sizes[:row], *v.before, *v.after, *sizes[row + 1 :])
    return replace(v, node=m.build.broadcast(v.node, shape, m.source), row=row)


def repeat(m: Maker, v: Value, repeats: Sequence[int]) -> Value:
    own = v.sizes(m.rows)
    own = (*(1,) * (len(repeats) - len(own)), *own)
    if v.row is None:
        row = next((d for d, (r, o) in enumerate(zip(repeats, own, strict=True)) if r == m.rows and o == 1), None)
        if row is None:
            sizes = [r * o for r, o in zip(repeats, own, strict=True)]
            return m.aten("aten.repeat.default", (v, list(repeats)), {}, sizes, v.dtype)
        v = expand(m, v, [m.rows if d == row else o for d, o in enumerate(own)])
        repeats = [1 if d == row else r for d, r in enumerate(repeats)]
    else:
        v = m.view(v, own)
    assert v.row is not None
    if repeats[v.row] != 1:
        raise m.refuse("repeats the batch axis")
    for d, times in enumerate(repeats):
        if times > 1:
            axis = v.axis(d)
            once = (*v.node.shape[:axis], 1, *v.node.shape[axis:])
            wide = (*v.node.shape[:axis], times, *v.node.shape[axis:])
            node = m.build.broadcast(m.build.reshape(v.node, once, m.source), wide, m.source)
            shape = (*v.node.shape[:axis], times * v.node.shape[axis], *v.node.shape[axis + 1 :])
            v = replace(v, node=m.build.reshape(node, shape, m.source))
    return v


def part(m: Maker, v: Value, dim: int, start: int, stop: int, step: int = 1) -> Value:
    """``v[start:stop:step]`` along an axis of the tensor."""
    if m.dim(v, dim) == v.row and not v.joined and (start, stop, step) == (0, m.rows, 1):
        return v
    axis = m.feature(v, dim, "picks along")
    return replace(v, node=m.build.slice(v.node, axis, start, stop, step, m.source))


def bounds(size: int, start: int | None, end: int | None) -> tuple[int, int]:
    low, high, _ = slice(start, end).indices(size)
    return low, max(low, high)


def slice_(m: Maker, v: Value, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1) -> Value:
    return part(m, v, dim, *bounds(v.sizes(m.rows)[dim], start, end), step)


def select(m: Maker, v: Value, dim: int, index: int) -> Value:
    dim = m.dim(v, dim)
    m.feature(v, dim, "picks along")
    sizes = v.sizes(m.rows)
    at = index % sizes[dim]
    return m.view(part(m, v, dim, at, at + 1), [*sizes[:dim], *sizes[dim + 1 :]])


def split_with_sizes(m: Maker, v: Value, sizes: Sequence[int], dim: int = 0) -> list[Value]:
    m.feature(v, dim, "splits")
    ends = [sum(sizes[:n]) for n in range(len(sizes) + 1)]
    return [part(m, v, dim, start, stop) for start, stop in pairwise(ends)]


def split(m: Maker, v: Value, size: int, dim: int = 0) -> list[Value]:
    m.feature(v, dim, "splits")
    total = v.sizes(m.rows)[dim]
    return [part(m, v, dim, start, min(start + size, total)) for start in range(0, total, size)]


def unbind(m: Maker, v: Value, dim: int = 0) -> list[Value]:
    m.feature(v, dim, "takes apart")
    return [select(m, v, dim, n) for n in range(v.sizes(m.rows)[dim])]


def cat(m: Maker, values: Sequence[Value], dim: int = 0) -> Value:
    values = [v for v in values if v.row is not None or v.node.shape != (0,)]
    first = next(v for v in values if v.row is not None)
    axis = m.feature(first, dim, "joins values along")
    dim = m.dim(first, dim)
    bools = all(v.dtype is torch.bool for v in values)
    nodes = []
    for value in values:
        value = m.truth(value) if bools else m.real(value)
        if value.row is None:
            raise m.refuse("joins the batch axis with one of a fixed size, so it depends on the batch size")
        if (value.row, value.before, value.after) != (first.row, first.before, first.after):
            raise m.refuse("joins values whose batch axes do not lie in one place")
        nodes.append(value.node)
    return replace(first, node=m.build.cat(nodes, axis, m.source), dtype=torch.bool if bools else m.dtype, fill=None)


def stack(m: Maker, values: Sequence[Value], dim: int = 0) -> Value:
    first = next(v for v in values if v.row is not None)
    dim = dim % (first.dim + 1)
    raised = [unsqueeze(m, v, dim) if v.row is not None else v for v in values]
    return cat(m, raised, dim)


def roll(m: Maker, v: Value, shifts: Sequence[int], dims: Sequence[int] = ()) -> Value:
    if not dims:
        raise m.refuse("rolls the batch axis; name the feature axis (dims=-1)")
    for shift, dim in zip(shifts, dims, strict=True):
        axis = m.feature(v, dim, "rolls")
        size = v.node.shape[axis]
        cut = -shift % size if size else 0
        if cut:
            pieces = [m.build.slice(v.node, axis, *ends, source=m.source) for ends in ((cut, size), (0, cut))]
            v = replace(v, node=m.build.cat(pieces, axis, m.source))
    return v


def flip(m: Maker, v: Value, dims: Sequence[int]) -> Value:
    for dim in dims:
        axis = m.feature(v, dim, "turns round")
        pieces = slices(m, v.node, axis)
        v = replace(v, node=m.build.cat(pieces[::-1], axis, m.source))
    return v


def slices(m: Maker, node: Node, axis: int) -> list[Node]:
    """Every element of an axis by itself, if they are few."""
    if node.shape[axis] > FEW:
        raise m.refuse(f"has a native form for up to {FEW} elements only, here are {node.shape[axis]}")
    return [m.build.slice(node, axis, n, n + 1, source=m.source) for n in range(node.shape[axis])]


def index(m: Maker, v: Value, indices: Sequence[Value | None]) -> Value:
    """``v[:, [2, 0, 1]]``: numbers that are written out, along one axis."""
    given = [(d, i) for d, i in enumerate(indices) if i is not None]
    if len(given) != 1 or given[0][1].numbers is None:
        raise by_values(m)
    return pick(m, v, given[0][0], given[0][1].numbers)


def index_select(m: Maker, v: Value, dim: int, chosen: Value) -> Value:
    if chosen.numbers is None:
        raise by_values(m)
    return pick(m, v, dim, chosen.numbers)


def pick(m: Maker, v: Value, dim: int, numbers: Sequence[float]) -> Value:
    """Single elements of an axis, in any order."""
    axis = m.feature(v, dim, "picks along")
    if all(isinstance(n, bool) for n in numbers):
        numbers = [n for n, chosen in enumerate(numbers) if chosen]
    every = slices(m, v.node, axis)
    node = m.build.cat([every[int(n)] for n in numbers], axis, m.source)
    return replace(v, node=node)


def by_values(m: Maker, *args: Any, **kwargs: Any) -> Exception:
    return m.refuse("picks elements by values; slice with numbers, or multiply with a matrix of zeros and ones")


def gather(m: Maker, v: Value, *args: Any, **kwargs: Any) -> Value:
    raise by_values(m)


def diagonal(m: Maker, v: Value, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Value:
    """The diagonal of each matrix, as the last axis: every (columns + 1)-th of its elements."""
    first, second = m.dim(v, dim1), m.dim(v, dim2)
    for d in (first, second):
        m.feature(v, d, "takes a diagonal of")
    others = [d for d in range(v.dim) if d not in (first, second)]
    v = m.permute(v, [*others, first, second])
    sizes = v.sizes(m.rows)
    height, width = sizes[-2:]
    count = max(0, min(height, width - offset) if offset >= 0 else min(height + offset, width))
    flat = m.view(v, [*sizes[:-2], height * width])
    start = offset if offset >= 0 else -offset * width
    return part(m, flat, flat.dim - 1, start, start + max(0, (count - 1) * (width + 1) + 1), width + 1)


def pad(m: Maker, v: Value, ends: Sequence[int], value: float = 0) -> Value:
    """``ends`` are before and after, from the last axis on; a negative one cuts."""
    for n in range(0, len(ends), 2):
        dim, size = v.dim - 1 - n // 2, v.sizes(m.rows)[v.dim - 1 - n // 2]
        if ends[n] or ends[n + 1]:
            axis = m.feature(v, dim, "pads")
            v = m.real(part(m, v, dim, max(0, -ends[n]), size - max(0, -ends[n + 1])))
            shapes = [(*v.node.shape[:axis], max(0, end), *v.node.shape[axis + 1 :]) for end in ends[n : n + 2]]
            edges = [m.build.broadcast(m.build.const(float(value)), s, m.source) for s in shapes]
            pieces = [p for p in (edges[0], v.node, edges[1]) if p.shape[axis]]
            v = replace(v, node=m.build.cat(pieces, axis, m.source), fill=None)
    return v


WIDENING: dict[str, Callable[..., Any]] = {"expand": expand, "repeat": repeat}
"""What may give a value without rows as many rows as the batch has."""

SHAPE_RULES: dict[str, Callable[..., Any]] = {
    **WIDENING,
    **dict.fromkeys(("alias", "clone", "contiguous", "lift_fresh", "lift", "_conj", "resolve_conj"), identity),
    **dict.fromkeys(("view", "_unsafe_view", "reshape", "_reshape_alias"), view),
    **dict.fromkeys(("slice", "slice_copy"), slice_),
    "permute": permute,
    "transpose": transpose,
    "t": t,
    "unsqueeze": unsqueeze,
    "squeeze": squeeze,
    "select": select,
    "split": split,
    "split_with_sizes": split_with_sizes,
    "unbind": unbind,
    "cat": cat,
    "stack": stack,
    "roll": roll,
    "flip": flip,
    "constant_pad_nd": pad,
    "index": index,
    "index_select": index_select,
    "gather": gather,
    "diagonal": diagonal,
}
"""torch's name → the rule, called with the maker and the operation's arguments, tensors as values."""
