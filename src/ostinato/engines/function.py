"""A layer as one node of autograd's graph."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ostinato.engines import again, passes
from ostinato.engines.compiled import Plan
from ostinato.engines.hoist import Geometry

_view = torch.ops.aten._unsafe_view.default


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
        finals, place = [], 1
        for compiled in plan.directions:
            finals.append(grads[place : place + len(compiled.program.states)])
            place += len(compiled.program.states)
        if all(g is None for g in grads):
            return (None,) * (2 + ctx.count)
        if torch.is_grad_enabled():
            return (None, None, *again.gradients(plan, geometry, tensors, grads[0], finals, wanted))
        output, grad = None, grads[0]
        if plan.reads_output:
            output, kept = flat(kept[-1], geometry), kept[:-1]
        if grad is not None:
            grad = flat(grad, geometry).contiguous()
        return (None, None, *passes.backward(plan, geometry, tensors, output, kept, grad, finals, wanted))


def flat(value: Tensor, geometry: Geometry) -> Tensor:
    """(T, B, ·) or (N, ·) as (N, ·)."""
    return value if geometry.batch_sizes is not None else value.reshape(geometry.count, value.shape[-1])


def shaped(output: Tensor, input: Tensor) -> Tensor:
    """(N, ·) in the form of the input, as a tensor of its own: an ordinary view could not be written to in place."""
    return output if input.dim() == 2 else _view(output, (*input.shape[:-1], output.shape[-1]))
