"""A layer that keeps little: states at every k-th step only, and a backward that runs each chunk of k steps again.

::

    forward    for each chunk, in the direction's own order: run it, keep nothing but the states it began with
    backward   for each chunk, from the last one run: run it again and keep all, then its backward

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
from ostinato.engines.function import flat, one_precision, shaped
from ostinato.engines.hoist import Geometry


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
        reads_output = any(c.keeps_nothing for c in plan.directions)
        ctx.save_for_backward(*tensors, *borders, *((output,) if reads_output else ()))
        ctx.set_materialize_grads(False)
        return output, *finals

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Any, ...]:
        plan, geometry, wanted = ctx.plan, ctx.geometry, ctx.needs_input_grad[2:]
        saved = ctx.saved_tensors
        tensors, kept = saved[: ctx.count], saved[ctx.count :]
        if all(g is None for g in grads):
            return (None,) * (2 + ctx.count)
        finals, place = [], 1
        for compiled in plan.directions:
            finals.append(grads[place : place + len(compiled.program.states)])
            place += len(compiled.program.states)
        with one_precision():
            if torch.is_grad_enabled():
                return (None, None, *again.gradients(plan, geometry, tensors, grads[0], finals, wanted))
            return (None, None, *_gradients(plan, geometry, tensors, kept, grads[0], finals, wanted))


def _forward(
    plan: Plan, chunks: Sequence[Chunk], tensors: Sequence[Tensor], output: Tensor
) -> tuple[list[Tensor], list[Tensor]]:
    """Run one direction into ``output``, (N, w).

    Returns:
        Its final states, and for each state the values at the borders between chunks, (chunks - 1, B, ·).
    """
    compiled, place = plan.directions[0], plan.places[0]
    states, borders = list(tensors[place[0] : place[1]]), []
    if not compiled.keeps_nothing:
        borders = [s.new_empty(len(chunks) - 1, *s.shape) for s in states]
    for n, chunk in _in_order(plan, chunks):
        if borders and (border := _border(plan, n)) in range(len(chunks) - 1):
            for kept, state in zip(borders, states, strict=True):
                kept[border] = state
        done = passes.forward(plan, chunk.geometry, _given(plan, chunk, tensors, states), False)
        output[chunk.rows] = done.output
        states = done.finals[0]
    return states, borders


def _gradients(
    plan: Plan,
    geometry: Geometry,
    tensors: Sequence[Tensor],
    kept: Sequence[Tensor],
    grad_output: Tensor | None,
    grad_finals: Sequence[Sequence[Tensor | None]],
    wanted: Sequence[bool],
) -> list[Tensor | None]:
    """Gradients of ``tensors`` where ``wanted``: what ``passes.backward`` returns."""
    chunks, widths = cut(geometry), _widths(plan)
    totals = [torch.zeros_like(t) if flag else None for t, flag in zip(tensors, wanted, strict=True)]
    rest, start = iter(kept), 0
    for alone, place, finals, width in zip(plan.alone, plan.places, grad_finals, widths, strict=True):
        compiled = alone.directions[0]
        borders = [] if compiled.keeps_nothing else [next(rest) for _ in compiled.program.states]
        columns = slice(start, start + width)
        start += width
        _backward(
            alone,
            chunks,
            _own(plan, place, tensors),
            _own(plan, place, totals),
            borders,
            kept[-1][..., columns] if compiled.keeps_nothing else None,
            None if grad_output is None else grad_output[..., columns],
            finals,
        )
    return totals


def _backward(
    plan: Plan,
    chunks: Sequence[Chunk],
    tensors: Sequence[Tensor],
    totals: Sequence[Tensor | None],
    borders: Sequence[Tensor],
    output: Tensor | None,
    grad_output: Tensor | None,
    grad_finals: Sequence[Tensor | None],
) -> None:
    """Add one direction's gradients to ``totals``, which are None where none is wanted.

    Args:
        borders: what :func:`_forward` kept of the states.
        output: (T, B, w) or (N, w), if the backward does with that and no chunk need be run again.
        grad_output: in the form of the input.
    """
    first, middle, _ = plan.places[0]
    by_step = 1 + len(plan.streams)
    # A state's gradient goes on to the chunk before, wanted or not.
    wanted = [total is not None or first <= n < middle for n, total in enumerate(totals)]
    for n, chunk in reversed(_in_order(plan, chunks)):
        states = _states_at(plan, chunks, n, tensors, borders, output)
        given = _given(plan, chunk, tensors, states)
        if output is None:
            done = passes.forward(plan, chunk.geometry, given, True)
            own, kept = done.output, done.kept
        else:
            own, kept = flat(chunk.of(output), chunk.geometry), []
        grad = None if grad_output is None else flat(chunk.of(grad_output), chunk.geometry).contiguous()
        read = own if plan.reads_output else None
        found = passes.backward(plan, chunk.geometry, given, read, kept, grad, [grad_finals], wanted)
        grad_finals = found[first:middle]
        for m, (total, part) in enumerate(zip(totals, found, strict=True)):
            if total is not None and part is not None and not first <= m < middle:
                (chunk.of(total) if m < by_step else total).add_(part)
    for total, grad in zip(totals[first:middle], grad_finals, strict=True):
        if total is not None and grad is not None:
            total.copy_(grad)


def _in_order(plan: Plan, chunks: Sequence[Chunk]) -> list[tuple[int, Chunk]]:
    """The chunks and their numbers, as the direction runs through them."""
    numbered = list(enumerate(chunks))
    return numbered[::-1] if plan.reverse[0] else numbered


def _border(plan: Plan, n: int) -> int:
    """The border at which the direction enters chunk n; border b lies between chunks b and b + 1."""
    return n if plan.reverse[0] else n - 1


def _states_at(
    plan: Plan,
    chunks: Sequence[Chunk],
    n: int,
    tensors: Sequence[Tensor],
    borders: Sequence[Tensor],
    output: Tensor | None,
) -> list[Tensor]:
    """The states with which the direction enters chunk n, (B, ·) each; of a row that has ended before, anything."""
    first, middle, _ = plan.places[0]
    initial, border = list(tensors[first:middle]), _border(plan, n)
    if border not in range(len(chunks) - 1):
        return initial
    if output is None:
        return [kept[border] for kept in borders]
    compiled = plan.directions[0]
    if compiled.output_is is not None:
        before = chunks[border + 1] if plan.reverse[0] else chunks[border]
        at = compiled.program.states.index(compiled.output_is)
        initial[at] = _edge(before, output, initial[at], plan.reverse[0])
    return initial


def _edge(chunk: Chunk, output: Tensor, initial: Tensor, reverse: bool) -> Tensor:
    """The state that is the output, after the last step that a direction runs in a chunk; the initial one elsewhere."""
    part = chunk.of(output)
    if not chunk.packed:
        return part[0 if reverse else -1]
    sizes = chunk.geometry.batch_sizes
    assert sizes is not None
    count = int(sizes[0 if reverse else -1])
    return torch.cat([part[:count] if reverse else part[part.shape[0] - count :], initial[count:]])


def _given(plan: Plan, chunk: Chunk, tensors: Sequence[Tensor], states: Sequence[Tensor]) -> list[Tensor]:
    """What one direction's plan takes, for one chunk."""
    by_step, (first, middle, _) = 1 + len(plan.streams), plan.places[0]
    return [*map(chunk.of, tensors[:by_step]), *tensors[by_step:first], *states, *tensors[middle:]]


def _own(plan: Plan, place: tuple[int, int, int], tensors: Sequence[Any]) -> list[Any]:
    """What one direction's plan takes, of what a layer's takes."""
    outer = 1 + len(plan.streams) + len(plan.constants)
    return [*tensors[:outer], *tensors[place[0] : place[2]]]


def _widths(plan: Plan) -> list[int]:
    return [c.program.forward.outputs["output"].width for c in plan.directions]
