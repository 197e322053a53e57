"""Calls of a compiled loop: the words a call is told, the memory it works in, the threads that share it."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ostinato.compiler.cpu import threads
from ostinato.compiler.cpu.machine import Machine

SHARED_WORK = 30_000
"""Multiply-adds of a step below which a second thread costs more than it brings (a barrier is some 200 ns)."""


class Call:
    """One call of a loop: its words, and the memory they point to."""

    def __init__(
        self, machine: Machine, steps: int, rows: int, sizes: Tensor | None, total: int, descending: bool
    ) -> None:
        self.machine, self.steps, self.rows, self.sizes = machine, steps, rows, sizes
        self.words = (ctypes.c_int64 * len(machine.layout.words))()
        self._index = machine.layout.words
        self._held: list[Tensor] = []
        self._flips: dict[str, Tensor] = {}
        self.sums: Tensor | None = None
        self._set("steps", steps)
        self._set("rows", rows)
        self._set("total", total)
        self._set("descending", int(descending))
        if sizes is not None:
            self._point("sizes", sizes)

    def _set(self, name: str, value: int) -> None:
        self.words[self._index[name]] = value

    def _point(self, name: str, tensor: Tensor) -> None:
        self._held.append(tensor)
        self.words[self._index[name]] = tensor.data_ptr()

    def _strided(self, name: str, tensor: Tensor) -> None:
        if tensor.stride(1) != 1 and tensor.shape[1] > 1:
            tensor = tensor.contiguous()
        self._point(name, tensor)
        self._set(name + ".stride", tensor.stride(0))

    def streams(self, values: Mapping[str, Tensor]) -> None:
        """(N, ·) each, rows at any distance."""
        for name, value in values.items():
            if name in self._index:
                self._strided(name, value.flatten(1))

    constants = streams

    def params(self, values: Mapping[str, Tensor]) -> None:
        for name, value in values.items():
            if name in self._index:
                self._point(name, value.contiguous())

    def states(self, values: Mapping[str, Tensor]) -> None:
        """The initial states, and two buffers each to go on in."""
        for name, value in values.items():
            initial = value.contiguous()
            even, odd = torch.empty_like(initial), torch.empty_like(initial)
            self._point(name + ".initial", initial)
            self._point(name + ".even", even)
            self._point(name + ".odd", odd)
            self._flips[name] = odd if self.steps % 2 else even

    def finals(self) -> dict[str, Tensor]:
        """The states after the last step."""
        return dict(self._flips)

    def previous(self, states: Mapping[str, Tensor], trajectories: Mapping[str, Tensor]) -> None:
        """The states before each step, for a backward loop."""
        for name, state in states.items():
            if name in self._index:
                self._point(name + ".initial", state.contiguous())
                self._strided(name, trajectories[name])

    def output_gradient(self, grad: Tensor | None, total: int) -> None:
        """The gradient of the output; nothing, or one row for all, costs no memory."""
        if "grad.output" not in self._index:
            return
        width = self.machine.layout.buffers["grad.output"].width
        if grad is None:
            grad = torch.zeros(1, width, dtype=self.machine.dtype).expand(total, width)
        elif grad.stride(1) != 1 and grad.stride(0) == 0:
            grad = grad[:1].contiguous().expand(total, width)
        self._strided("grad.output", grad)

    def summed(self, name: str) -> Tensor:
        """A sum over steps and rows, of all threads' parts."""
        assert self.sums is not None
        start = self.machine.layout.sums[name]
        return self.sums[:, :, start : start + self.machine.layout.buffers[name].width].sum((0, 1))

    def prepare(self, number: int) -> None:
        """Memory within the call, for so many threads."""
        machine, element, lanes = self.machine, self.machine.dtype.itemsize, self.machine.lanes
        temporaries = machine.about.temporaries
        sizes = [machine.about.packed // element, *(width * self.rows for width in temporaries.values())]
        starts, position = [], 16 * lanes
        for size in sizes:
            starts.append(position)
            position += -(-size // lanes) * lanes
        memory = torch.empty(position + lanes, dtype=machine.dtype)
        base = -(-memory.data_ptr() // 64) * 64
        self._held.append(memory)
        self._set("packed", base + starts[0] * element)
        for (name, width), start in zip(temporaries.items(), starts[1:], strict=True):
            self._set(name, base + start * element)
            self._set(name + ".stride", width)
        if machine.layout.sum_width:
            self.sums = torch.zeros(number, 2, machine.layout.sum_width, dtype=machine.dtype)
            self._point("sums", self.sums)
        barrier = torch.zeros(48, dtype=torch.int64)
        self._point("barrier", barrier)
        self._set("yield", threads.sched_yield())
        self._split(number)

    def _split(self, number: int) -> None:
        """Rows of its own for each thread where there are enough of them, else columns of all rows."""
        columns = number > 1 and self.rows < 4 * number
        self._set("columns", int(columns))
        if self.sizes is None or number == 1:
            starts = [self.rows * n // number for n in range(number + 1)]
        else:
            starts = share(self.sizes, self.rows, number)
        self._set("parties", number)
        bounds = torch.tensor(starts, dtype=torch.int64)
        self._point("starts", bounds)


def share(sizes: Tensor, rows: int, number: int) -> list[int]:
    """Cut rows sorted by length into parts of about equal numbers of steps."""
    lengths = (sizes[None, :] > torch.arange(rows)[:, None]).sum(1).cumsum(0)
    goals = torch.arange(1, number) * int(lengths[-1]) // number
    return [0, *torch.searchsorted(lengths, goals).tolist(), rows]


def run(machine: Machine, calls: Sequence[Call]) -> None:
    """Run the directions of a layer, side by side if there are threads for both."""
    rows, groups = calls[0].rows, len(calls)
    number = threads.most()
    if machine.about.work * rows * groups < SHARED_WORK:
        number = 1
    each = max(1, number // groups) if number % groups == 0 else 1
    for call in calls:
        call.prepare(each)
    machine.function([call.words for call in calls], each * groups if each * groups <= number else 1)
