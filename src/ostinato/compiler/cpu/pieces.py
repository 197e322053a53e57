"""One direction's loop in pieces of steps: one call, told for each piece where it begins.

Words, the memory within a call, its packed weights and its running sums are one for all pieces.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from torch import Tensor

from ostinato.compiler.cpu.errand import Errand
from ostinato.compiler.cpu.launch import Call, number_of_threads


class Pieces:
    """A call over all steps that was told all of its buffers, cut into pieces. Each that :meth:`piece` makes must run,
    in that order: the first puts the weights in order.

    Args:
        whole: its streams that hold all steps; the others hold a piece's.
        states: the names of its states, in the order in which :meth:`piece` takes them.
    """

    def __init__(self, call: Call, whole: Collection[str], states: Sequence[str]) -> None:
        machine, values = call.machine, call.values
        self._index = index = call.index
        size = machine.dtype.itemsize
        self._moving = [(index[n], values[index[n]], values[index[n] + 1] * size) for n in whole if n in index]
        self._states = [(at, values[at + 1]) for at in (index[f"{name}.initial"] for name in states)]
        self._sizes, self._packed = values[index["sizes"]], False
        number = number_of_threads(machine, call.steps, call.rows, 1)
        call.prepare(number)
        words = call.words
        assert words is not None
        words[index["around"]] = 0  # A piece is short enough for the caches.
        self._words, self._call, self._go = words, call, machine.function.standing(words, number, call.turns())

    def piece(
        self,
        steps: slice,
        rows: slice,
        entering: Iterable[Tensor],
        leaving: Iterable[Tensor],
        others: Mapping[str, Tensor] | None = None,
    ) -> Errand:
        """The call of one piece.

        Args:
            steps, rows: which; the rows among those of all steps.
            entering, leaving: the states with which it begins, and room for those after it, (B, ·) each, contiguous.
            others: where streams are that hold a piece's steps, in the form in which the call was told of them, and
                under ``NAME.initial`` states before the first step that the loop reads and does not change.
        """
        index, count = self._index, steps.stop - steps.start
        told = [(index["steps"], count), (index["total"], rows.stop - rows.start), (index["ready"], int(self._packed))]
        self._packed = True
        if self._sizes:
            told.append((index["sizes"], self._sizes + 8 * steps.start))
        told += [(at, address + rows.start * row) for at, address, row in self._moving]
        for (at, between), before, after in zip(self._states, entering, leaving, strict=True):
            told.append((at, before.data_ptr()))
            told += (at + 1 + count % 2, after.data_ptr()), (at + 2 - count % 2, between)
        for name, value in (others or {}).items():
            if name in index:
                told.append((index[name], value.data_ptr()))
        return Errand(self._go, self._words, told)

    def summed(self, name: str) -> Tensor:
        """A sum over the steps and rows of all pieces."""
        return self._call.summed(name)
