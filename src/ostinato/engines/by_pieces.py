"""One direction in chunks of steps, on the memory of one call: what is run again, made cheap.

A chunk is some milliseconds of work. To set up calls of its own, put weights in order for each, and add its gradients
to those of other chunks would take half as long again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ostinato import memory
from ostinato.compiler.cpu.errand import Errand, run
from ostinato.compiler.cpu.pieces import Pieces
from ostinato.compiler.kernel import Kernel, outputs_of
from ostinato.compiler.program import Loop, Ran
from ostinato.engines import chunks, passes
from ostinato.engines.chunks import Chunk
from ostinato.engines.compiled import Plan
from ostinato.engines.geometry import Geometry
from ostinato.engines.totals import Rows, Totals


def fits(plan: Plan, geometry: Geometry, dtype: torch.dtype) -> bool:
    """Whether a direction can be run so: with nothing to compute before or after the loop."""
    (compiled,) = plan.directions
    alone = not compiled.hoist.reads and compiled.sink is None
    return alone and geometry.steps * geometry.rows > 0 and isinstance(compiled.kernel(dtype), Kernel)


class ByPieces:
    """One direction of a call that :func:`fits`.

    Args:
        plan: has this direction alone.
        tensors: in the order of ``plan``.
    """

    def __init__(self, plan: Plan, geometry: Geometry, tensors: Sequence[Tensor]) -> None:
        (self._compiled,), (reverse,), (place,) = plan.directions, plan.reverse, plan.places
        kernel = self._compiled.kernel(tensors[0].dtype)
        assert isinstance(kernel, Kernel)
        self._kernel, self._names, self._count = kernel, self._compiled.program.states, geometry.count
        self._chunks = chunks.cut(geometry, reverse, keep=True)
        self._reads_output, self._width = plan.reads_output, self._compiled.program.forward.outputs["output"].width
        self._widths = ({"output": self._width} if plan.reads_output else {}) | kernel.kept_widths()
        streams, constants = passes.outside_of(plan, geometry, tensors)
        states, params = passes.own_of(self._compiled, place, tensors)
        sizes = None if geometry.batch_sizes is None else geometry.batch_sizes.contiguous()
        self._loop = Loop(streams, constants, states, params, geometry.steps, geometry.rows, sizes, reverse)
        self._initial = [state.contiguous() for state in states.values()]

    def forward(self, output: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Run all chunks.

        Args:
            output: (N, w), is written to.

        Returns:
            The final states, and what is kept: of each state those before every chunk but the first,
            (chunks - 1, B, ·), and all that the backward of the last chunk reads.
        """
        loop, *others, last = self._loop, *self._chunks
        whole, errands = {*loop.streams, "output"}, list[Errand]()
        plain = Pieces(self._kernel.forward_call(loop, Ran(output, {}, {}, {}), False), whole, self._names)
        borders = [s.new_empty(len(others), *s.shape) for s in self._initial]
        finals = [torch.empty_like(s) for s in self._initial]
        entering = self._initial
        for n, chunk in enumerate(others):
            leaving = [values[n] for values in borders]
            errands.append(plain.piece(chunk.steps, chunk.rows, entering, leaving))
            entering = leaving
        store = self._store(last.geometry.count)
        ran = self._ran(store, output)
        saving = Pieces(self._kernel.forward_call(loop, replace(ran, output=output), True), whole, self._names)
        errands.append(saving.piece(last.steps, last.rows, entering, finals))
        run(errands)
        if self._reads_output:
            ran.output.copy_(output[last.rows])
        return finals, [*borders, store]

    def backward(
        self,
        kept: Sequence[Tensor],
        grad_output: Tensor | None,
        grad_finals: Sequence[Tensor | None],
        wanted: Sequence[bool],
    ) -> list[Tensor | None]:
        """The backward of every chunk; all but the last are run again before it.

        Args:
            kept: what :meth:`forward` kept.
            grad_output: (N, w), rows of contiguous columns or the same for all; None where nothing flows.

        Returns:
            The gradients of ``tensors`` where ``wanted``; None too where nothing reads one.
        """
        loop, kernel, names, like = self._loop, self._kernel, self._names, self._initial
        every = [*loop.streams, *loop.constants, *names, *loop.params]
        asked = self._compiled.asked({name for name, flag in zip(every, wanted, strict=True) if flag})
        machine, held = kernel.gradient_machine(asked)
        flowing = {n: held[f"grad.{n}"].buffer for n in loop.streams if n in asked and f"grad.{n}" in held}
        whole = set(flowing.values())
        outs = {
            n: memory.empty(like[0], self._count if n in whole else _longest(self._chunks), width)
            for n, width in outputs_of(machine)
        }
        sums, longest = kernel.sums_of(machine, loop), _longest(self._chunks[:-1])
        spare = self._ran(
            self._store(longest), memory.empty(like[0], 0 if self._reads_output else longest, self._width)
        )
        made = {n: Rows(h.of(outs), h.buffer in whole) for n, h in held.items() if h.buffer in outs}
        totals = Totals(kernel, loop, made, asked)
        again = Pieces(kernel.forward_call(loop, spare, True), loop.streams, names)
        last = [torch.zeros_like(s) if g is None else g.contiguous() for s, g in zip(like, grad_finals, strict=True)]
        given = dict(zip(names, last, strict=True))
        call = kernel.backward_call(machine, loop, spare, {**outs, **sums}, grad_output, given)
        back = Pieces(call, {*loop.streams, *whole, "grad.output"}, [f"grad.{n}" for n in names])

        states, *turns = ([torch.empty_like(s) for s in like] for _ in range(3))
        *borders, store = (value.contiguous() for value in kept)  # A hook may have unpacked them in another order.
        stored = self._ran(store, spare.output)
        grads, errands = last, list[Errand]()
        for n, chunk in reversed(list(enumerate(self._chunks))):
            entering = [values[n - 1] for values in borders] if n else like
            ran = spare if n < len(self._chunks) - 1 else stored
            if ran is spare:
                errands.append(again.piece(chunk.steps, chunk.rows, entering, states))
            before, after = dict(zip(names, entering, strict=True)), ran.trajectories
            told = {**ran.saved, **after, **{f"new.{s}": t for s, t in after.items()}}
            told |= {f"{s}.initial": t for s, t in before.items()}
            errands.append(back.piece(chunk.steps, chunk.rows, grads, turns[n % 2], told))
            errands += totals.errands(chunk, ran, before)
            grads = turns[n % 2]
        run(errands)
        totals.add_sums(back, held)
        found = dict(zip(names, grads, strict=True)) | totals.values
        found |= {name: outs[buffer] for name, buffer in flowing.items()}
        found |= {name.removeprefix("sum."): value for name, value in sums.items()}
        return [found.get(name) if flag else None for name, flag in zip(every, wanted, strict=True)]

    def _store(self, rows: int) -> Tensor:
        """Room for all that the backward of so many rows reads, side by side: their output too, if it does. In all of
        them rows are as far apart, so that a call may be told of one after another."""
        return memory.empty(self._initial[0], rows, sum(self._widths.values()))

    def _ran(self, store: Tensor, output: Tensor) -> Ran:
        """What is in a :meth:`_store`; ``output``: where rows' output is, if it is not there."""
        parts = dict(zip(self._widths, store.split([*self._widths.values()], 1), strict=True))
        return self._kernel.ran(parts.pop("output", output), parts)


def _longest(parts: Sequence[Chunk]) -> int:
    """The rows of the one with the most."""
    return max((chunk.geometry.count for chunk in parts), default=0)
