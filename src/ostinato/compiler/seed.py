"""Where gradients flow in from: a number to differentiate, instead of gradients handed to autograd.

Torch compares the shapes of gradients that it is handed with symbolic ones, and imports sympy for that: a third of a
second of a process's first call.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


class _Seed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, count: int, *tensors: Tensor) -> Tensor:
        ctx.flowing, first = tensors[count:], tensors[0]
        return torch.zeros((), dtype=first.dtype, device=first.device)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        return (None, *ctx.flowing, *(None for _ in ctx.flowing))


def seed(results: Sequence[Tensor], flowing: Sequence[Tensor]) -> Tensor:
    """A number whose derivatives with respect to the results are the tensors ``flowing``, shaped like them.

    >>> from ostinato.compiler.seed import seed
    >>> x = torch.tensor([1.0, 2.0], requires_grad=True)
    >>> torch.autograd.grad(seed([x * x], [torch.tensor([1.0, 0.5])]), x)
    (tensor([2., 2.]),)
    """
    made: Tensor = _Seed.apply(len(results), *results, *flowing)
    return made
