"""The gradients of a direction's params, added up chunk by chunk where they stand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from ostinato.compiler.cpu.errand import Errand
from ostinato.compiler.cpu.outer import Repeated
from ostinato.compiler.cpu.pieces import Pieces
from ostinato.compiler.kernel import Held, Kernel
from ostinato.compiler.program import Loop, Ran, WeightGradient
from ostinato.compiler.reference import previous_parts
from ostinato.compiler.weights import Pair, by_sequence, over_parts, repeated
from ostinato.engines.chunks import Chunk


class Rows(NamedTuple):
    """Rows of all steps (``whole``), or of a chunk's."""

    tensor: Tensor
    whole: bool

    def start(self, chunk: Chunk) -> int:
        """Where the chunk begins."""
        return chunk.rows.start if self.whole else 0

    def of(self, chunk: Chunk) -> Tensor:
        """The chunk's."""
        return self.tensor[self.start(chunk) :][: chunk.geometry.count]


class _Term(NamedTuple):
    """Rows of gradients and of what a weight was multiplied with: either tensor, and the first row of it."""

    grad: Tensor
    above: int
    value: Tensor
    over: int
    rows: int

    @property
    def pair(self) -> Pair:
        return self.grad[self.above :][: self.rows], self.value[self.over :][: self.rows]


class Totals:
    """What the params of one direction have got so far.

    Args:
        loop: of all steps.
        made: where the outputs of the backward graph are, by name.
        asked: of which inputs gradients are wanted.

    Attributes:
        values: by name.
    """

    def __init__(self, kernel: Kernel, loop: Loop, made: Mapping[str, Rows], asked: frozenset[str]) -> None:
        backward = kernel.program.backward
        assert backward is not None
        self._loop, self._made, self._dtype = loop, made, kernel.dtype
        self._weights = [weight for weight in backward.weights if weight.param in asked]
        self._sums = [total for total in backward.sums if total.param in asked]
        multiplied = {weight.param for weight in self._weights}
        self.values = {n: value.new_zeros(value.shape) for n, value in loop.params.items() if n in multiplied}
        self._repeated: dict[tuple[torch.Size, int, int, tuple[int, int]], Repeated | None] = {}

    def errands(self, chunk: Chunk, ran: Ran, entering: Mapping[str, Tensor]) -> Iterator[Errand]:
        """What adds all that one chunk has to give.

        Args:
            ran: what its loop puts out.
            entering: the states with which it begins.
        """
        for weight in self._weights:
            total = self.values[weight.param]
            if weight.where == "constant" or (weight.where == "state" and chunk.packed):
                yield Errand(partial(self._add_parts, total, weight, chunk, ran, entering))
            else:
                yield from (self._errand(total, term) for term in self._terms(weight, chunk, ran, entering))

    def add_sums(self, pieces: Pieces, held: Mapping[str, Held]) -> None:
        """Add what the loop has added up of all chunks."""
        for total in self._sums:
            made = pieces.summed(held[f"sum.{total.grad}"].buffer).reshape(self._loop.params[total.param].shape)
            before = self.values.get(total.param)
            self.values[total.param] = made if before is None else before + made

    def _terms(self, weight: WeightGradient, chunk: Chunk, ran: Ran, entering: Mapping[str, Tensor]) -> Iterator[_Term]:
        grad, name, where = self._made[weight.grad], weight.value, weight.where
        first, count, rows = grad.start(chunk), chunk.geometry.count, chunk.geometry.rows
        if where == "state":
            edge, others, before = (count - rows, 0, rows) if self._loop.reverse else (0, rows, 0)
            yield _Term(grad.tensor, first + edge, entering[name], 0, rows)
            if count > rows:
                yield _Term(grad.tensor, first + others, ran.trajectories[name], before, count - rows)
        elif where in ("stream", "backward"):
            whole = self._made[name] if where == "backward" else Rows(self._loop.streams[name], True)
            yield _Term(grad.tensor, first, whole.tensor, whole.start(chunk), count)
        else:
            value = (ran.saved if where == "saved" else ran.trajectories)[name]
            yield _Term(grad.tensor, first, value, 0, count)

    def _errand(self, total: Tensor, term: _Term) -> Errand:
        """What adds a product, by whoever is the fastest for its size."""
        strides = term.grad.stride(0), term.value.stride(0)
        size = total.shape, term.grad.shape[1], term.rows, strides
        if size not in self._repeated:
            self._repeated[size] = repeated(*size, self._dtype, adds=True)
        product = self._repeated[size]
        if product is None:
            return Errand(partial(_add, total, [term.pair]))
        number = total.element_size()
        left = term.grad.data_ptr() + term.above * strides[0] * number
        right = term.value.data_ptr() + term.over * strides[1] * number
        return product.errand(left, right, total.data_ptr())

    def _add_parts(
        self, total: Tensor, weight: WeightGradient, chunk: Chunk, ran: Ran, entering: Mapping[str, Tensor]
    ) -> None:
        """Add the products of a constant, or of the states before the steps of packed rows."""
        geometry, grad, name = chunk.geometry, self._made[weight.grad].of(chunk), weight.value
        loop = replace(self._loop, states=entering, steps=geometry.steps, batch_sizes=geometry.batch_sizes)
        if weight.where == "constant":
            _add(total, [by_sequence(loop, grad, loop.constants[name])])
        else:
            parts = previous_parts(loop, ran.trajectories[name][: geometry.count], name)
            _add(total, [(grad[part.rows], part.values) for part in parts])


def _add(total: Tensor, pairs: Sequence[Pair]) -> None:
    total += over_parts(pairs, total.shape)
