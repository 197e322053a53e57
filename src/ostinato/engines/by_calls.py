"""One direction in chunks of steps, each a call of its own: where a program computes something around its loop."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ostinato.engines import chunks, passes
from ostinato.engines.chunks import Chunk
from ostinato.engines.compiled import Plan
from ostinato.engines.geometry import Geometry


class ByCalls:
    """One direction of a call.

    Args:
        plan: has this direction alone.
        tensors: in the order of ``plan``.
    """

    def __init__(self, plan: Plan, geometry: Geometry, tensors: Sequence[Tensor]) -> None:
        self._plan, self._geometry, self._tensors = plan, geometry, tensors
        self._chunks = chunks.cut(geometry, plan.reverse[0], keep=False)
        self._first, self._middle, _ = plan.places[0]
        self._states = tensors[self._first : self._middle]

    def forward(self, output: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Run all chunks.

        Args:
            output: (N, w), is written to.

        Returns:
            The final states, and what is kept: of each state those before every chunk but the first,
            (chunks - 1, B, ·).
        """
        states = list(self._states)
        borders = [s.new_empty(max(0, len(self._chunks) - 1), *s.shape) for s in states]
        for n, chunk in enumerate(self._chunks):
            if n:
                for kept, state in zip(borders, states, strict=True):
                    kept[n - 1] = state
            done = passes.forward(self._plan, chunk.geometry, self._given(chunk, states), False)
            output[chunk.rows] = done.output
            states = done.finals[0]
        return states, borders

    def backward(
        self,
        kept: Sequence[Tensor],
        grad_output: Tensor | None,
        grad_finals: Sequence[Tensor | None],
        wanted: Sequence[bool],
    ) -> list[Tensor | None]:
        """Run every chunk again, and its backward.

        Args:
            kept: what :meth:`forward` kept.
            grad_output: (N, w); None where nothing flows.

        Returns:
            The gradients of ``tensors``, where ``wanted``.
        """
        plan, first, middle, by_step = self._plan, self._first, self._middle, 1 + len(self._plan.streams)
        totals = [torch.zeros_like(t) if flag else None for t, flag in zip(self._tensors, wanted, strict=True)]
        # A state's gradient goes on to the chunk before, wanted or not.
        wanted = [flag or first <= n < middle for n, flag in enumerate(wanted)]
        for n, chunk in reversed(list(enumerate(self._chunks))):
            given = self._given(chunk, [border[n - 1] for border in kept] if n else self._states)
            done = passes.forward(plan, chunk.geometry, given, True)
            output = done.output if plan.reads_output else None
            grad = None if grad_output is None else grad_output[chunk.rows].contiguous()
            found = passes.backward(plan, chunk.geometry, given, output, done.kept, grad, [grad_finals], wanted)
            grad_finals = found[first:middle]
            for m, (total, part) in enumerate(zip(totals, found, strict=True)):
                if total is not None and part is not None and not first <= m < middle:
                    (chunk.of(total) if m < by_step else total).add_(part)
        for total, grad in zip(totals[first:middle], grad_finals, strict=True):
            if total is not None and grad is not None:
                total.copy_(grad)
        return totals

    def _given(self, chunk: Chunk, states: Sequence[Tensor]) -> list[Tensor]:
        """What the plan takes for one chunk."""
        by_step = 1 + len(self._plan.streams)
        outer, params = self._tensors[by_step : self._first], self._tensors[self._middle :]
        return [*map(chunk.of, self._tensors[:by_step]), *outer, *states, *params]
