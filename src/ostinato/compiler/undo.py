"""Views, and how what is written through one gets into the whole that it looks at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Undo = Callable[[Tensor, Tensor, Any, Any, int], tuple[Any, list[Any]]]

aten = torch.ops.aten


def _reshape(base: Tensor, out: Tensor, args: Any, outs: Any, n: int) -> tuple[Any, list[Any]]:
    return aten.reshape.default, [list(base.shape)]


def _permute(base: Tensor, out: Tensor, args: Any, outs: Any, n: int) -> tuple[Any, list[Any]]:
    dims = [d % base.dim() for d in args[1]]
    return aten.permute.default, [[dims.index(d) for d in range(base.dim())]]


def _slice(base: Tensor, out: Tensor, args: Any, outs: Any, n: int) -> tuple[Any, list[Any]]:
    return aten.slice_scatter.default, list(args[1:])


def _select(base: Tensor, out: Tensor, args: Any, outs: Any, n: int) -> tuple[Any, list[Any]]:
    return aten.select_scatter.default, list(args[1:])


def _split(base: Tensor, out: Tensor, args: Any, outs: Any, n: int) -> tuple[Any, list[Any]]:
    dim = args[2] if len(args) > 2 else 0
    start = sum(o.shape[dim] for o in outs[:n])
    return aten.slice_scatter.default, [dim, start, start + out.shape[dim]]


def _unbind(base: Tensor, out: Tensor, args: Any, outs: Any, n: int) -> tuple[Any, list[Any]]:
    return aten.select_scatter.default, [args[1] if len(args) > 1 else 0, n]


PARTS: dict[str, Undo] = {
    "aten::slice": _slice,
    "aten::select": _select,
    "aten::split": _split,
    "aten::split_with_sizes": _split,
    "aten::unbind": _unbind,
}
"""Views of a part: the operation, and its further arguments, that puts a new part into the whole."""

UNDO: dict[str, Undo] = {
    **PARTS,
    **{f"aten::{n}": _reshape for n in ("view", "_reshape_alias", "unsqueeze", "squeeze", "alias", "lift_fresh")},
    "aten::permute": _permute,
    "aten::t": lambda base, out, args, outs, n: (aten.t.default, []),
    "aten::transpose": lambda base, out, args, outs, n: (aten.transpose.int, list(args[1:])),
}
"""Views of the whole: the operation that gives the whole back."""
