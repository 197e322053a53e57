"""A forward call prepared once for one shape: memory and words stay, only addresses change from call to call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ostinato.compiler.cpu.launch import Call, number_of_threads
from ostinato.compiler.cpu.machine import Machine


class Standing:
    """One layer in one direction over full sequences, from zero states, with nothing kept for a backward.

    Not for two threads at once: who runs it sees to that.

    Args:
        machine: the forward loop's code.
        steps, rows: T and B.
        x_width: I.
        states: the width of each state by name.
        params: the names of what the loop reads, in the order :meth:`run` gets them.
    """

    def __init__(
        self, machine: Machine, steps: int, rows: int, x_width: int, states: Mapping[str, int], params: Sequence[str]
    ) -> None:
        index, dtype = machine.layout.words, machine.dtype
        total = steps * rows
        call = Call(machine, steps, rows, None, total, descending=False)
        width = machine.layout.buffers["output"].width
        like = torch.empty(0, dtype=dtype)
        call.streams({"output": like.new_empty(1, width).expand(total, width)})
        call.values[index["output.stride"]] = width
        if "x" in index:
            call.values[index["x.stride"]] = x_width
        call.states({name: like.new_zeros(rows, size) for name, size in states.items()})
        number = number_of_threads(machine, steps, rows, 1)
        call.prepare(number)
        words = call.words
        assert words is not None
        words[index["around"]] = 0  # The output of a later call may not be aligned.
        self._call, self._words = call, words
        side = 1 + steps % 2
        self._x = index.get("x")
        self._output = index["output"]
        self._finals = [index[f"{name}.initial"] + side for name in states]
        self._params = [index[name] for name in params if name in index]
        self.params = [n for n, name in enumerate(params) if name in index]
        """Which of the params the loop reads."""
        self._go = machine.function.standing(words, number)

    def run(self, x: Tensor, output: Tensor, finals: Sequence[Tensor], params: Sequence[Tensor]) -> None:
        """Run on these tensors, all contiguous: x (T·B·I), the output, each final state, the params it reads."""
        words = self._words
        if self._x is not None:
            words[self._x] = x.data_ptr()
        words[self._output] = output.data_ptr()
        for at, final in zip(self._finals, finals, strict=True):
            words[at] = final.data_ptr()
        for at, param in zip(self._params, params, strict=True):
            words[at] = param.data_ptr()
        self._go()
