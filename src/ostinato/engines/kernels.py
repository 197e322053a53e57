"""Where a program becomes something that runs: the one place that knows which kernel there is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import Tensor

from ostinato.compiler import kernel as native
from ostinato.compiler import reference
from ostinato.compiler.cpu import jit, layout, targets
from ostinato.compiler.program import Gradients, Loop, Program, Ran
from ostinato.engines import tracing

TAKEN = frozenset((*layout.FIXED, "output"))
"""What kernels have names for themselves, so that no state and no keyword of a step may be called that."""


class Kernel(Protocol):
    """The loop of one program, forward and backward; the directions of a layer that share it run in one call."""

    def forward(self, loops: Sequence[Loop], save: bool) -> tuple[Tensor, list[Ran]]:
        """The joint output (N, D·w), and what each direction put out, its output a slice of the joint one."""

    def backward(
        self,
        loops: Sequence[Loop],
        rans: Sequence[Ran],
        grad_output: Tensor | None,
        grad_finals: Sequence[dict[str, Tensor | None]],
        wanted: set[str],
    ) -> list[Gradients]:
        """Gradients of what each direction read, of the names in ``wanted``."""


class ReferenceKernel:
    """The loop in plain PyTorch, as the compiler's reference runs it: what tests put in the place of machine code."""

    def __init__(self, program: Program, dtype: torch.dtype) -> None:
        self.program = program

    def forward(self, loops: Sequence[Loop], save: bool) -> tuple[Tensor, list[Ran]]:
        rans = [reference.run_forward(self.program, loop, save) for loop in loops]
        return (rans[0].output if len(rans) == 1 else torch.cat([r.output for r in rans], dim=-1)), rans

    def backward(
        self,
        loops: Sequence[Loop],
        rans: Sequence[Ran],
        grad_output: Tensor | None,
        grad_finals: Sequence[dict[str, Tensor | None]],
        wanted: set[str],
    ) -> list[Gradients]:
        parts: Any = [None] * len(loops) if grad_output is None else grad_output.chunk(len(loops), dim=-1)
        return [
            reference.run_backward(self.program, loop, ran, part, finals, wanted)
            for loop, ran, part, finals in zip(loops, rans, parts, grad_finals, strict=True)
        ]


class FlagsAsNumbers:
    """A kernel of machine code, which reads flags as the numbers 0 and 1."""

    def __init__(self, program: Program, dtype: torch.dtype) -> None:
        self.kernel = native.Kernel(program, dtype)
        self.dtype = dtype

    def forward(self, loops: Sequence[Loop], save: bool) -> tuple[Tensor, list[Ran]]:
        return self.kernel.forward([self._numbers(loop) for loop in loops], save)

    def schedule_text(self) -> str:
        return schedule(self.kernel)

    def code_text(self) -> str:
        return code(self.kernel)

    def backward(
        self,
        loops: Sequence[Loop],
        rans: Sequence[Ran],
        grad_output: Tensor | None,
        grad_finals: Sequence[dict[str, Tensor | None]],
        wanted: set[str],
    ) -> list[Gradients]:
        return self.kernel.backward([self._numbers(loop) for loop in loops], rans, grad_output, grad_finals, wanted)

    def _numbers(self, loop: Loop) -> Loop:
        streams, constants, params = (
            {n: v.to(self.dtype) if v.dtype == torch.bool else v for n, v in part.items()}
            for part in (loop.streams, loop.constants, loop.params)
        )
        return replace(loop, streams=streams, constants=constants, params=params)


def make_kernel(program: Program, dtype: torch.dtype) -> Kernel:
    """The kernel that runs a program: machine code for the CPU."""
    if any(node.dtype == "bool" for node in program.forward.inputs.values()):
        return FlagsAsNumbers(program, dtype)
    return native.Kernel(program, dtype)


@tracing.constant
def why_not() -> str | None:
    """Why no kernel can be made on this machine, None if one can."""
    return jit.available() or targets.why_not()


def schedule(kernel: Kernel) -> str:
    """How a kernel is cut into tiles and shared among threads, in words; "" if it does not say."""
    tell = getattr(kernel, "schedule_text", None)
    return "" if tell is None else str(tell())


def code(kernel: Kernel) -> str:
    """The code a kernel was compiled from; "" if it does not say."""
    tell = getattr(kernel, "code_text", None)
    return "" if tell is None else str(tell())
