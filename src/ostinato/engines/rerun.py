"""A layer that keeps little: states at every k-th step only, and a backward that runs each chunk of k steps again.

::

    forward    for each chunk, in the direction's own order: run it, keep nothing but the states it began with
    backward   for each chunk, from the last one run: run it again and keep all, then its backward

Where the loop is all there is to run (:mod:`ostinato.engines.by_pieces`), the forward keeps all of the last chunk,
which the backward begins with. A layer whose backward reads nothing but inputs and output (a plain RNN) has nothing to
run again, and runs at once.
Between forward and backward there are T / k states a direction and that chunk's values, within the backward another
chunk's; with k near √T (:func:`ostinato.engines.chunks.length`) all of it grows as √T, once T is some thousand.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from ostinato import memory
from ostinato.engines import again, by_pieces, passes
from ostinato.engines.by_calls import ByCalls
from ostinato.engines.by_pieces import ByPieces
from ostinato.engines.compiled import Plan
from ostinato.engines.function import flat, must_be_seen, one_precision, shaped, sorted_out
from ostinato.engines.geometry import Geometry
from ostinato.engines.sums import Sums


class RunChunks(torch.autograd.Function):
    """What :class:`ostinato.engines.function.RunLayer` is, with most chunks run again for their backward."""

    @staticmethod
    def forward(ctx: Any, plan: Plan, geometry: Geometry, *tensors: Tensor) -> tuple[Tensor, ...]:
        widths = _widths(plan)
        output = memory.empty(tensors[0], geometry.count, sum(widths))
        parts = output.split(widths, 1)
        done = [way.forward(part) for way, part in zip(_ways(plan, geometry, tensors), parts, strict=True)]
        output = shaped(output, tensors[0])
        ctx.plan, ctx.geometry, ctx.count = plan, geometry, len(tensors)
        ctx.kept = [len(kept) for _, kept in done]
        ctx.save_for_backward(*tensors, *(t for _, kept in done for t in kept))
        ctx.set_materialize_grads(False)
        return output, *(f for finals, _ in done for f in finals)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Any, ...]:
        plan, geometry, wanted = ctx.plan, ctx.geometry, ctx.needs_input_grad[2:]
        saved = ctx.saved_tensors
        tensors, rest = saved[: ctx.count], iter(saved[ctx.count :])
        if all(g is None for g in grads):
            return (None,) * (2 + ctx.count)
        first, finals = sorted_out(plan, grads)
        with one_precision():
            if must_be_seen(grads):
                return (None, None, *again.gradients(plan, geometry, tensors, first, finals, wanted))
            kept = [list(islice(rest, count)) for count in ctx.kept]
            return (None, None, *_gradients(plan, geometry, tensors, kept, first, finals, wanted))


def _gradients(
    plan: Plan,
    geometry: Geometry,
    tensors: Sequence[Tensor],
    kept: Sequence[Sequence[Tensor]],
    grad_output: Tensor | None,
    grad_finals: Sequence[Sequence[Tensor | None]],
    wanted: Sequence[bool],
) -> list[Tensor | None]:
    """Gradients of ``tensors`` where ``wanted``: what ``passes.backward`` returns.

    Args:
        kept: what each direction's forward kept.
    """
    widths = _widths(plan)
    grads = [None] * len(widths) if grad_output is None else flat(grad_output, geometry).split(widths, 1)
    totals = Sums(n for n, flag in enumerate(wanted) if flag)
    parts = zip(_ways(plan, geometry, tensors), plan.places, kept, grads, grad_finals, strict=True)
    for way, place, held, grad, finals in parts:
        found = way.backward(held, grad, finals, _own(plan, place, wanted))
        for n, grad in zip(_own(plan, place, range(len(tensors))), found, strict=True):
            totals.add(n, grad)
    every = enumerate(zip(tensors, wanted, strict=True))
    return passes.separate(passes.like(totals.values.get(n), t) if flag else None for n, (t, flag) in every)


def _ways(plan: Plan, geometry: Geometry, tensors: Sequence[Tensor]) -> list[ByPieces | ByCalls]:
    """Who runs each direction."""
    ways: list[ByPieces | ByCalls] = []
    for alone, place in zip(plan.alone, plan.places, strict=True):
        way = ByPieces if by_pieces.fits(alone, geometry, tensors[0].dtype) else ByCalls
        ways.append(way(alone, geometry, _own(plan, place, tensors)))
    return ways


def _own(plan: Plan, place: tuple[int, int, int], tensors: Sequence[Any]) -> list[Any]:
    """What one direction's plan takes, of what a layer's takes."""
    outer = 1 + len(plan.streams) + len(plan.constants)
    return [*tensors[:outer], *tensors[place[0] : place[2]]]


def _widths(plan: Plan) -> list[int]:
    return [c.program.output_width for c in plan.directions]
