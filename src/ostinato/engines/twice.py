"""Second derivatives for kernels that have none: a backward under grad mode runs something else that has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


def apart(tensors: Sequence[Tensor]) -> list[Tensor]:
    """The tensors as views, to be differentiated by: of what stands at two places (tied weights, x as a stream too)
    autograd would give the whole gradient at both."""
    return [t.view_as(t) if t.requires_grad else t for t in tensors]


class Twice(torch.autograd.Function):
    """The results themselves, as they are; a backward under grad mode (``create_graph=True``) goes around them.

    An ordinary backward hands its gradients on to whatever made the results. One that is to be differentiated again
    calls ``rerun(*inputs)``, which must give the same results where autograd sees all of it, and differentiates that.
    """

    @staticmethod
    def forward(ctx: Any, rerun: Callable[..., Sequence[Tensor]], count: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.rerun, ctx.count = rerun, count
        ctx.save_for_backward(*tensors[count:])
        ctx.set_materialize_grads(False)
        return tuple(t.view_as(t) for t in tensors[:count])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Any, ...]:
        if not torch.is_grad_enabled():
            return (None, None, *grads, *(None for _ in ctx.saved_tensors))
        inputs = apart(ctx.saved_tensors)
        made = ctx.rerun(*inputs)
        pairs = [(m, g) for m, g in zip(made, grads, strict=True) if g is not None and m.requires_grad]
        wanted = [t for t in inputs if t.requires_grad]
        found = iter(
            torch.autograd.grad(
                [m for m, _ in pairs],
                wanted,
                [g for _, g in pairs],
                create_graph=True,
                allow_unused=True,
            )
        )
        return (None, None, *(None for _ in grads), *(next(found) if t.requires_grad else None for t in inputs))
