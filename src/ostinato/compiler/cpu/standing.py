"""A loop's call prepared once for one shape: memory and words stay, only addresses change from call to call."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ostinato.compiler.cpu.launch import CPU, Call, number_of_threads
from ostinato.compiler.cpu.machine import Machine


class Standing:
    """One direction over full sequences, from states of zeros: words, and the memory within the call.

    Before :attr:`go` is called, ``words`` must hold the address of every buffer that is not the loop's own: streams,
    params, and where final states are wanted, :meth:`final`. Not for two threads at once: who runs it sees to that.

    Args:
        machine: the loop's code.
        steps, rows: T and B.
        strides: of each stream, the elements from one row to the next.
        descending: from the last step to the first.

    Attributes:
        words: what the code is told; ``index`` says which word is which.
        zeros: what states begin with, and a row of zeros for whatever needs one.
    """

    def __init__(
        self, machine: Machine, steps: int, rows: int, strides: Mapping[str, int], descending: bool = False
    ) -> None:
        self.index = index = machine.layout.words
        self._odd = steps % 2
        self._call = call = Call(machine, steps, rows, None, steps * rows, descending)
        for name, stride in strides.items():
            if name in index:
                call.values[index[name] + 1] = stride
        with torch.inference_mode(False):  # Later calls write to it, whatever mode this one is in.
            number = self._make_memory(steps, rows)
        words = call.words
        assert words is not None
        words[index["around"]] = 0  # The buffers of a later call may not be aligned.
        self.words = words
        self.go = machine.function.standing(words, number, call.turns())

    def _make_memory(self, steps: int, rows: int) -> int:
        """What the loop works in; for how many threads."""
        machine, call, index = self._call.machine, self._call, self.index
        widest = max(buffer.width for buffer in machine.layout.buffers.values())
        self.zeros = torch.zeros(rows, widest, dtype=machine.dtype, device=CPU)
        for name, buffer in machine.layout.buffers.items():
            if buffer.kind == "flip" and not buffer.pair:
                call.states({name: self.zeros.flatten()[: rows * buffer.width].view(rows, buffer.width)})
            elif buffer.kind == "previous":
                call.values[index[f"{name}.initial"]] = self.zeros.data_ptr()
        number = number_of_threads(machine, steps, rows, 1)
        call.prepare(number)
        return number

    def final(self, state: str) -> int:
        """Which word holds the address that the state after the last step is written to."""
        return self.index[f"{state}.initial"] + 1 + self._odd

    def clear_sums(self) -> None:
        """The loop adds to what is there."""
        if self._call.sums is not None:
            self._call.sums.zero_()

    def summed(self, name: str) -> Tensor:
        """A sum over steps and rows, of all threads' parts."""
        return self._call.summed(name)
