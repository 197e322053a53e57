"""What tests of cells share that compare with equations in NumPy, or with another library's cell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import ostinato

Weights = dict[str, np.ndarray]


def sigmoid(v):
    return 1 / (1 + np.exp(-v))


def relu(v):
    return np.maximum(v, 0)


def layer_norm(v, eps=1e-5):
    centred = v - v.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + eps)


def scattered(cell: nn.Module, scale: float = 0.8) -> nn.Module:
    """The cell in float64 with every parameter drawn anew: none is left at a value that would hide its place."""
    cell = cell.double()
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.uniform_(-scale, scale)
    return cell


def values(cell: nn.Module) -> Weights:
    return {name: value.detach().numpy() for name, value in cell.named_parameters()}


def assert_follows(cell: ostinato.Cell, step: Callable[..., Any], steps: int = 3) -> None:
    """The cell computes what ``step(w, x, *states)`` does in NumPy: the output if it is no state, and the states."""
    scattered(cell)
    w = values(cell)
    states = [torch.randn(3, width, dtype=torch.float64) for width in cell.state_sizes]
    for _ in range(steps):
        x = torch.randn(3, cell.input_size, dtype=torch.float64)
        expected = step(w, x.numpy(), *(s.detach().numpy() for s in states))
        expected = expected if isinstance(expected, tuple) else (expected,)
        got = cell(x, states[0] if len(states) == 1 else tuple(states))
        got = torch.utils._pytree.tree_leaves(got)
        for ours, theirs in zip(got, expected, strict=True):
            np.testing.assert_allclose(ours.detach().numpy(), theirs, rtol=0, atol=1e-12)
        states = got[cell.separate_output :]


def assert_same_over_time(ours: nn.Module, theirs: nn.Module, steps: int = 6) -> None:
    """Two cells, called in a loop from states of zeros: the same states at every step, the same gradient of x."""
    x = torch.randn(steps, 3, ours.input_size, dtype=torch.float64)
    results = [_over_time(cell, x.clone().requires_grad_()) for cell in (ours, theirs)]
    for one, two in zip(*results, strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=1e-12)


def _over_time(cell: nn.Module, x: Tensor) -> list[Tensor]:
    state, all_states = None, []
    for row in x:
        state = cell(row, state)
        all_states += state if isinstance(state, tuple) else [state]
    weights = torch.linspace(0.5, 1.5, sum(s.numel() for s in all_states), dtype=x.dtype)
    total = (torch.cat([s.reshape(-1) for s in all_states]) * weights).sum()
    return [*all_states, torch.autograd.grad(total, x)[0]]
