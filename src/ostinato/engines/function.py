"""A layer as one node of autograd's graph."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from ostinato.engines import again, passes, tracing
from ostinato.engines.compiled import Plan
from ostinato.engines.geometry import Geometry


class RunLayer(torch.autograd.Function):
    """All directions of a layer, hoisting and loop, as one node.

    A backward under grad mode (``create_graph=True``) runs the steps again where autograd sees them: a kernel's
    gradient is a constant to autograd, and a gradient penalty through it would be silently wrong.
    """

    @staticmethod
    def forward(ctx: Any, plan: Plan, geometry: Geometry, *tensors: Tensor) -> tuple[Tensor, ...]:
        done = passes.forward(plan, geometry, tensors, True)
        output = shaped(done.output, tensors[0])
        ctx.plan, ctx.geometry, ctx.count = plan, geometry, len(tensors)
        ctx.save_for_backward(*tensors, *done.kept, *((output,) if plan.reads_output else ()))
        ctx.set_materialize_grads(False)
        return output, *(f for final in done.finals for f in final)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Any, ...]:
        plan, geometry = ctx.plan, ctx.geometry
        wanted = ctx.needs_input_grad[2:]
        saved = ctx.saved_tensors
        tensors, kept = saved[: ctx.count], saved[ctx.count :]
        if all(g is None for g in grads):
            return (None,) * (2 + ctx.count)
        first, finals = sorted_out(plan, grads)
        with one_precision():
            if must_be_seen(grads):
                return (None, None, *again.gradients(plan, geometry, tensors, first, finals, wanted))
            return (None, None, *_backward(plan, geometry, tensors, kept, first, finals, wanted))


def _backward(
    plan: Plan,
    geometry: Geometry,
    tensors: Sequence[Tensor],
    kept: Sequence[Tensor],
    grad: Tensor | None,
    finals: Sequence[Sequence[Tensor | None]],
    wanted: Sequence[bool],
) -> list[Tensor | None]:
    output = None
    if plan.reads_output:
        output, kept = flat(kept[-1], geometry), kept[:-1]
    if grad is not None:
        grad = flat(grad, geometry)
    return passes.backward(plan, geometry, tensors, output, kept, grad, finals, wanted)


def sorted_out(plan: Plan, grads: Sequence[Tensor | None]) -> tuple[Tensor | None, list[list[Tensor | None]]]:
    """The gradient of the output, and those of each direction's final states, as numbers: a kernel reads memory."""
    first, *rest = (None if g is None else in_memory(g) for g in grads)
    flowing = iter(rest)
    return first, [[next(flowing) for _ in compiled.program.states] for compiled in plan.directions]


def in_memory(value: Tensor) -> Tensor:
    """The numbers themselves, where torch holds no more than that they are others' negative, or zero."""
    if value.is_neg():
        return value.resolve_neg()
    return value.clone() if value._is_zerotensor() else value


def must_be_seen(grads: Sequence[Tensor | None]) -> bool:
    """Whether a backward must be made of ordinary operations: under grad mode, for a batch of gradients at once, or
    where a graph is made of them."""
    batched = torch._C._functorch.is_legacy_batchedtensor  # what torch.autograd.grad(is_grads_batched=True) hands in
    seen = torch.is_grad_enabled() or any(g is not None and batched(g) for g in grads)
    return seen or tracing.recorded()


def one_precision() -> AbstractContextManager[Any]:
    """A backward inside an autocast block runs in the precision of its forward, which was outside of one."""
    return torch.autocast("cpu", enabled=False) if torch._C._is_any_autocast_enabled() else nullcontext()


def flat(value: Tensor, geometry: Geometry) -> Tensor:
    """(T, B, ·) or (N, ·) as (N, ·)."""
    return value if geometry.batch_sizes is not None else value.reshape(geometry.count, value.shape[-1])


def shaped(output: Tensor, input: Tensor) -> Tensor:
    """A new (N, ·) in the form of the input; the tensor itself, since a view of it could not be written to in place."""
    if input.dim() == 2:
        return output
    return output.contiguous().resize_(input.shape[0], input.shape[1], output.shape[1])
