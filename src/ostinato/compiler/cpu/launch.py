"""Calls of a compiled loop: the words a call is told, the memory it works in, the threads that share it."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ostinato import memory
from ostinato.compiler.cpu import threads
from ostinato.compiler.cpu.machine import Machine
from ostinato.compiler.cpu.schedule import SHARED_WORK, rows_of_a_thread

SHARED_PASS = 100_000
"""The same for a call of a loop without products, in elementwise operations: its threads never wait for each other,
and only their start (some microseconds) counts."""

CACHES = 2**25
"""Bytes that a pass reads and writes from which its results go around the caches: nothing of them would be left there
for who reads them next, and a line that is not fetched before it is written saves a third of the writing."""

ALIGNED = 64
"""Bytes: a cache line, and the widest vector."""

APART = 5
"""Vectors between the buffers within a step: a row's places in them are not all in one set of the first cache, as they
would be with rows of a power of two."""

OWN_ROWS = 4
"""So many rows for each thread, and threads take rows of their own instead of sharing all and splitting columns."""

NEAR = 1_400_000
MANY_ROWS = 48
"""More packed bytes than a core keeps near are read from afar at every step, by each thread that has rows of its own.
Split columns halve what each reads; with very many rows the reading no longer shows."""

CPU = torch.device("cpu")
"""Where all that a loop is told of must lie, whatever ``torch.set_default_device`` says."""

BARRIER = 48
"""Words a barrier takes: two counters, far from each other and from everything else."""


class Call:
    """One call of a loop: its words, and the memory they point to."""

    def __init__(
        self, machine: Machine, steps: int, rows: int, sizes: Tensor | None, total: int, descending: bool
    ) -> None:
        self.machine, self.steps, self.rows, self.sizes = machine, steps, rows, sizes
        self.index = machine.layout.words
        self.values = values = [0] * len(self.index)
        self.words: ctypes.Array[ctypes.c_int64] | None = None
        self.sums: Tensor | None = None
        self._summed: dict[str, Tensor] = {}
        self._held: list[Tensor] = []
        self._finals: dict[str, Tensor] = {}
        index = self.index
        values[index["steps"]], values[index["rows"]], values[index["total"]] = steps, rows, total
        values[index["descending"]] = int(descending)
        if sizes is not None:
            values[index["sizes"]] = sizes.data_ptr()

    def streams(self, given: Mapping[str, Tensor]) -> None:
        """(N, ·) or (B, ·) each, rows at any distance."""
        index, values = self.index, self.values
        for name, value in given.items():
            at = index.get(name)
            if at is not None:
                if value.dim() != 2:
                    value = value.flatten(1)
                if value.stride(1) != 1 and value.shape[1] > 1:
                    value = value.contiguous()
                self._held.append(value)
                values[at], values[at + 1] = value.data_ptr(), value.stride(0)

    def params(self, given: Mapping[str, Tensor]) -> None:
        for name, value in given.items():
            at = self.index.get(name)
            if at is not None:
                if not value.is_contiguous():
                    value = value.contiguous()
                self._held.append(value)
                self.values[at] = value.data_ptr()

    def states(self, given: Mapping[str, Tensor]) -> None:
        """The initial states, and two buffers each to go on in."""
        for name, value in given.items():
            at = self.index[name + ".initial"]
            if not value.is_contiguous():
                value = value.contiguous()
            even = torch.empty_like(value) if self.steps else value.clone()
            odd = torch.empty_like(value)
            self._held += (value, even, odd)
            self.values[at : at + 3] = value.data_ptr(), even.data_ptr(), odd.data_ptr()
            self._finals[name] = odd if self.steps % 2 else even

    def finals(self) -> dict[str, Tensor]:
        """The states after the last step."""
        return self._finals

    def previous(self, states: Mapping[str, Tensor], trajectories: Mapping[str, Tensor]) -> None:
        """The states before each step, for a backward loop."""
        for name, state in states.items():
            if name in self.index:
                start = state.contiguous()
                self._held.append(start)
                self.values[self.index[name + ".initial"]] = start.data_ptr()
                self.streams({name: trajectories[name]})

    def output_gradient(self, grad: Tensor | None, total: int) -> None:
        """The gradient of the output; nothing, or one row for all, costs no memory."""
        if "grad.output" not in self.index:
            return
        width = self.machine.layout.buffers["grad.output"].width
        if grad is None:
            grad = torch.zeros(1, width, dtype=self.machine.dtype, device=CPU).expand(total, width)
        elif grad.stride(1) != 1 and grad.stride(0) == 0:
            grad = grad[:1].contiguous().expand(total, width)
        self.streams({"grad.output": grad})

    def summed(self, name: str) -> Tensor:
        """A sum over steps and rows, of all threads' parts."""
        added = self._summed.get(name)
        if added is None:
            assert self.sums is not None, "a loop without sums"
            start = self.machine.layout.sums[name]
            # The running sums, beside them, are zero.
            added = self.sums[:, 1, start : start + self.machine.layout.buffers[name].width]
            added = self._summed[name] = added if len(added) > 1 else added[0]
        return added.sum(0) if added.dim() > 1 else added.clone()

    def prepare(self, number: int) -> None:
        """Memory within the call, for so many threads."""
        machine, index, values = self.machine, self.index, self.values
        size, lanes, about = machine.dtype.itemsize, machine.lanes, machine.about
        position = about.packed // size
        inner = [(index[name], width, name in about.passing) for name, width in about.temporaries.items()]
        for at, width, passing in inner:
            values[at] = position * size
            values[at + 1] = width
            count = number * rows_of_a_thread(width) if passing else self.rows
            position += (-(-width * count // lanes) + APART) * lanes
        inside = memory.empty(torch.empty(0, dtype=machine.dtype, device=CPU), position + 2 * lanes)
        self._held.append(inside)
        base = -(-inside.data_ptr() // ALIGNED) * ALIGNED
        values[index["packed"]] = base
        for at, _, _ in inner:
            values[at] += base
        if machine.layout.sum_width:
            self.sums = torch.zeros(number, 2, machine.layout.sum_width, dtype=machine.dtype, device=CPU)
            values[index["sums"]] = self.sums.data_ptr()
        values[index["shared"]] = machine.shared.address
        values[index["parties"]] = number
        own = MANY_ROWS if about.packed > NEAR else OWN_ROWS if about.work else 1
        values[index["columns"]] = int(number > 1 and self.rows < own * number)
        values[index["around"]] = int(bool(about.around) and self._past_the_caches())
        bounds = self._bounds(number)
        count = len(values)
        words = (ctypes.c_int64 * (count + BARRIER + len(bounds)))(*values)
        for n, bound in enumerate(bounds):
            words[count + BARRIER + n] = bound
        address = ctypes.addressof(words)
        words[index["barrier"]] = address + 8 * (count + 15)
        words[index["starts"]] = address + 8 * (count + BARRIER)
        self.words = words

    def turns(self) -> int:
        """Into how many parts the prepared call can be cut that need not run at the same time; 0: it cannot.

        Threads of their own rows, or of columns that never meet, can run one after the other. Where threads meet, one
        may do all of the work, but for sums over rows, which would be added up in another order.
        """
        columns, number = (self.values[self.index[name]] for name in ("columns", "parties"))
        if not columns or self.machine.about.apart:
            return number
        return 1 if self.rows == 1 or not self.machine.layout.sum_width else 0

    def _past_the_caches(self) -> bool:
        """Whether the streams of a pass are more than caches hold, and those it writes have aligned rows."""
        size, buffers = self.machine.dtype.itemsize, self.machine.layout.buffers
        places = [self.index[name] for name in self.machine.about.around]
        if any(self.values[at] % ALIGNED or self.values[at + 1] * size % ALIGNED for at in places):
            return False
        width = sum(b.width for b in buffers.values() if b.kind == "stream")
        return self.steps * self.rows * width * size >= CACHES

    def _bounds(self, number: int) -> list[int]:
        """The first row of each thread, and the end."""
        if self.sizes is None or number == 1:
            return [self.rows * n // number for n in range(number + 1)]
        return share(self.sizes, self.rows, number)


def share(sizes: Tensor, rows: int, number: int) -> list[int]:
    """Cut rows sorted by length into parts of about equal numbers of steps."""
    lengths = (sizes[None, :] > torch.arange(rows, device=CPU)[:, None]).sum(1).cumsum(0)
    goals = torch.arange(1, number, device=CPU) * int(lengths[-1]) // number
    return [0, *torch.searchsorted(lengths, goals).tolist(), rows]


def number_of_threads(machine: Machine, steps: int, rows: int, groups: int) -> int:
    """How many threads a step's work is worth."""
    about = machine.about
    if about.work:
        return threads.most() if about.work * rows * groups >= SHARED_WORK else 1
    if about.elements * steps * rows * groups < SHARED_PASS:
        return 1
    return threads.most() if about.apart else min(threads.most(), rows * groups)


def run(machine: Machine, calls: Sequence[Call]) -> None:
    """Run the directions of a layer, side by side if there are threads for both."""
    groups = len(calls)
    number = number_of_threads(machine, calls[0].steps, calls[0].rows, groups)
    each = max(1, number // groups) if number % groups == 0 else 1
    for call in calls:
        call.prepare(each)
    if calls[0].steps and calls[0].rows:  # a loop reads the size of its first step
        team = each * groups if each * groups <= number else 1
        machine.function([call.words for call in calls], team, calls[0].turns())
