"""A parameter less its mean over its rows: an operation of graphs on parameters only, and its own derivative."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class _LessMean(torch.autograd.Function):
    """Torch derives six passes over the gradient from the two operations; it is the same operation once more."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        return without_mean(value)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return less_mean(grad)


def less_mean(value: Tensor) -> Tensor:
    """``value - value.mean(0)``."""
    made: Tensor = _LessMean.apply(value)
    return made


def without_mean(value: Tensor) -> Tensor:
    """The same as torch's own operations, for where autograd does not look."""
    return value - value.mean(0, keepdim=True)


def take_mean(grad: Tensor) -> Tensor:
    """The same in place, for a gradient that nobody else reads."""
    return grad.sub_(grad.mean(0, keepdim=True))
