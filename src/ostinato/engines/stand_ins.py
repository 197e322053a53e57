"""A bound cell whose tensors hold numbers, for what must run its step while an export holds none."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ostinato.cells.cell import Cell
from ostinato.compiler.guard import tensors_of


def with_numbers(cell: Cell) -> Cell:
    """The cell itself, or, where its tensors hold no numbers (during an export), one with random ones of its shapes."""
    if all(type(t) in (Tensor, nn.Parameter) for t in tensors_of(cell).values()):
        return cell
    view: Cell = _view(cell, torch.Generator().manual_seed(1))
    return view


def _view(module: Any, draw: torch.Generator) -> Any:
    view: Any = object.__new__(type(module))
    view.__dict__.update(module.__dict__)
    for own in ("_parameters", "_buffers"):
        view.__dict__[own] = {n: None if t is None else _numbers(t, draw) for n, t in module.__dict__[own].items()}
    view.__dict__["_modules"] = {n: None if m is None else _view(m, draw) for n, m in module._modules.items()}
    return view


def _numbers(like: Tensor, draw: torch.Generator) -> Tensor:
    shape = tuple(int(size) for size in like.shape)
    if not like.is_floating_point():
        return torch.ones(shape, dtype=like.dtype)
    return (0.3 * torch.randn(shape, generator=draw, dtype=like.dtype)).requires_grad_(like.requires_grad)
