"""A layer that keeps little: states at every k-th step only, and a backward that runs each chunk of k steps again.

::

    forward    for each chunk, in the direction's own order: run it, keep nothing but the states it began with
    backward   for each chunk, from the last one run: run it again and keep all, then its backward

A layer whose backward reads nothing but inputs and output (a plain RNN) has nothing to run again, and runs at once.
Between forward and backward there are T / k states a direction, and within the backward one chunk's values at a time;
with k near √T (:func:`ostinato.engines.chunks.length`) both grow as √T.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ostinato.engines import again, passes
from ostinato.engines.chunks import Chunk, cut
from ostinato.engines.compiled import Plan
from ostinato.engines.function import flat, must_be_seen, one_precision, shaped, sorted_out
from ostinato.engines.geometry import Geometry


class RunChunks(torch.autograd.Function):
    """What :class:`ostinato.engines.function.RunLayer` is, with every chunk run again for its backward."""

    @staticmethod
    def forward(ctx: Any, plan: Plan, geometry: Geometry, *tensors: Tensor) -> tuple[Tensor, ...]:
        chunks = cut(geometry)
        output = tensors[0].new_empty(geometry.count, sum(_widths(plan)))
        finals, borders = [], []
        for alone, place, column in zip(plan.alone, plan.places, output.split(_widths(plan), 1), strict=True):
            final, kept = _forward(alone, chunks, _own(plan, place, tensors), column)
            finals += final
            borders += kept
        output = shaped(output, tensors[0])
        ctx.plan, ctx.geometry, ctx.count = plan, geometry, len(tensors)
        ctx.save_for_backward(*tensors, *borders)
        ctx.set_materialize_grads(False)
        return output, *finals

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Any, ...]:
        plan, geometry, wanted = ctx.plan, ctx.geometry, ctx.needs_input_grad[2:]
        saved = ctx.saved_tensors
        tensors, borders = saved[: ctx.count], saved[ctx.count :]
        if all(g is None for g in grads):
            return (None,) * (2 + ctx.count)
        first, finals = sorted_out(plan, grads)
        with one_precision():
            if must_be_seen(grads):
                return (None, None, *again.gradients(plan, geometry, tensors, first, finals, wanted))
            return (None, None, *_gradients(plan, geometry, tensors, borders, first, finals, wanted))


def _forward(
    plan: Plan, chunks: Sequence[Chunk], tensors: Sequence[Tensor], output: Tensor
) -> tuple[list[Tensor], list[Tensor]]:
    """Run one direction into ``output``, (N, w).

    Returns:
        Its final states, and for each state the values with which it entered every chunk but the first it ran,
        (chunks - 1, B, ·).
    """
    first, middle, _ = plan.places[0]
    states = list(tensors[first:middle])
    borders = [s.new_empty(len(chunks) - 1, *s.shape) for s in states]
    for n, chunk in enumerate(_in_order(plan, chunks)):
        if n:
            for kept, state in zip(borders, states, strict=True):
                kept[n - 1] = state
        done = passes.forward(plan, chunk.geometry, _given(plan, chunk, tensors, states), False)
        output[chunk.rows] = done.output
        states = done.finals[0]
    return states, borders


def _gradients(
    plan: Plan,
    geometry: Geometry,
    tensors: Sequence[Tensor],
    borders: Sequence[Tensor],
    grad_output: Tensor | None,
    grad_finals: Sequence[Sequence[Tensor | None]],
    wanted: Sequence[bool],
) -> list[Tensor | None]:
    """Gradients of ``tensors`` where ``wanted``: what ``passes.backward`` returns."""
    chunks, widths = cut(geometry), _widths(plan)
    totals = [torch.zeros_like(t) if flag else None for t, flag in zip(tensors, wanted, strict=True)]
    rest, start = iter(borders), 0
    for alone, place, finals, width in zip(plan.alone, plan.places, grad_finals, widths, strict=True):
        part = None if grad_output is None else grad_output[..., start : start + width]
        start += width
        _backward(
            alone,
            chunks,
            _own(plan, place, tensors),
            _own(plan, place, totals),
            [next(rest) for _ in alone.directions[0].program.states],
            part,
            finals,
        )
    return totals


def _backward(
    plan: Plan,
    chunks: Sequence[Chunk],
    tensors: Sequence[Tensor],
    totals: Sequence[Tensor | None],
    borders: Sequence[Tensor],
    grad_output: Tensor | None,
    grad_finals: Sequence[Tensor | None],
) -> None:
    """Add one direction's gradients to ``totals``, which are None where none is wanted.

    Args:
        borders: what :func:`_forward` kept of the states.
        grad_output: in the form of the input.
    """
    first, middle, _ = plan.places[0]
    by_step = 1 + len(plan.streams)
    # A state's gradient goes on to the chunk before, wanted or not.
    wanted = [total is not None or first <= n < middle for n, total in enumerate(totals)]
    for n, chunk in reversed(list(enumerate(_in_order(plan, chunks)))):
        states = [kept[n - 1] for kept in borders] if n else tensors[first:middle]
        given = _given(plan, chunk, tensors, states)
        done = passes.forward(plan, chunk.geometry, given, True)
        output = done.output if plan.reads_output else None
        grad = None if grad_output is None else flat(chunk.of(grad_output), chunk.geometry).contiguous()
        found = passes.backward(plan, chunk.geometry, given, output, done.kept, grad, [grad_finals], wanted)
        grad_finals = found[first:middle]
        for m, (total, part) in enumerate(zip(totals, found, strict=True)):
            if total is not None and part is not None and not first <= m < middle:
                (chunk.of(total) if m < by_step else total).add_(part)
    for total, grad in zip(totals[first:middle], grad_finals, strict=True):
        if total is not None and grad is not None:
            total.copy_(grad)


def _in_order(plan: Plan, chunks: Sequence[Chunk]) -> Sequence[Chunk]:
    """The chunks as the direction runs through them."""
    return chunks[::-1] if plan.reverse[0] else chunks


def _given(plan: Plan, chunk: Chunk, tensors: Sequence[Tensor], states: Sequence[Tensor]) -> list[Tensor]:
    """What one direction's plan takes, for one chunk."""
    by_step, (first, middle, _) = 1 + len(plan.streams), plan.places[0]
    return [*map(chunk.of, tensors[:by_step]), *tensors[by_step:first], *states, *tensors[middle:]]


def _own(plan: Plan, place: tuple[int, int, int], tensors: Sequence[Any]) -> list[Any]:
    """What one direction's plan takes, of what a layer's takes."""
    outer = 1 + len(plan.streams) + len(plan.constants)
    return [*tensors[:outer], *tensors[place[0] : place[2]]]


def _widths(plan: Plan) -> list[int]:
    return [c.program.output_width for c in plan.directions]
