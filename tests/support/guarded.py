"""Kernels on memory that ends, or begins, at a page nobody may touch: a byte too far ends the process.

``python -m tests.support.guarded`` is what the tests start; for each side it prints how many cells and products it has
run, and how the process ended that tried the guard itself.
"""

from __future__ import annotations

import ctypes
import itertools
import mmap
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from tests.support.kernels import Made, change, compare, seeds_of

PAGE = mmap.PAGESIZE
FRESH = {
    torch.ops.aten.empty.memory_format,
    torch.ops.aten.empty_like.default,
    torch.ops.aten.new_empty.default,
    torch.ops.aten.zeros.default,
    torch.ops.aten.zeros_like.default,
    torch.ops.aten.new_zeros.default,
    torch.ops.aten.clone.default,
}
"""Operations whose result a kernel may be given to read or to write."""


class Guarded(TorchDispatchMode):
    """New tensors lie right before a page without rights (``"before"``) or right after one."""

    def __init__(self, side: str) -> None:
        super().__init__()
        self.side = side
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.libc.mmap.restype = ctypes.c_void_p
        self.libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
        self.libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        made = func(*args, **(kwargs or {}))
        return self.moved(made) if func in FRESH else made

    def moved(self, value: Tensor) -> Tensor:
        """The same values, contiguous, beside the page."""
        size = value.numel() * value.element_size()
        if not size:
            return value
        pages = -(-size // PAGE)
        start = self.libc.mmap(None, (pages + 2) * PAGE, 0, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
        assert start not in (None, ctypes.c_void_p(-1).value), os.strerror(ctypes.get_errno())
        assert self.libc.mprotect(start + PAGE, pages * PAGE, mmap.PROT_READ | mmap.PROT_WRITE) == 0
        begin = start + PAGE if self.side == "after" else start + (pages + 1) * PAGE - size
        memory = (ctypes.c_char * size).from_address(begin)
        new = torch.frombuffer(memory, dtype=value.dtype).view(value.shape)
        return new.copy_(value)


def run(side: str) -> int:
    """Every cell on awkward widths; what comes out is compared, too. Returns how many were run."""
    from tests.compiler.test_kernel import OWN, made, sized

    cells: list[Callable[[], Made]] = [lambda: sized("LSTM", 17), lambda: sized("GRU", 5), lambda: sized("RNN", 33)]
    cells += [lambda: sized("LSTMP", 3), lambda: sized("peephole", 9), lambda: sized("two widths", 7)]
    cells += [lambda: sized("Elman", 16), lambda: sized("LSTM", 64)]
    cells += [lambda name=name: made(name) for name in (*OWN, "LayerNorm", "heads", "delay", "time gap and speaker")]
    torch.manual_seed(0)
    for number, cell in enumerate(cells):
        own = cell()
        dtype = torch.float64 if number % 2 else torch.float32
        for geometry in ({"steps": 2, "rows": 7}, {"rows": 5, "sizes": [4, 3, 1, 0], "reverse": True, "directions": 2}):
            loops, guard = own.loops(dtype=dtype, **geometry), Guarded(side)
            seeds = seeds_of(own.program, loops, dtype)
            guarded = [change(loop, guard.moved) for loop in loops]
            if geometry.get("sizes"):
                sizes = guard.moved(torch.tensor(geometry["sizes"]))
                guarded = [replace(loop, batch_sizes=sizes) for loop in guarded]
            output = guard.moved(seeds.output) if seeds.output is not None else None
            finals = [{n: None if g is None else guard.moved(g) for n, g in part.items()} for part in seeds.finals]
            with guard:
                compare(own.program, guarded, own.kernel(dtype), replace(seeds, output=output, finals=finals))
    return len(cells)


def run_products(side: str) -> int:
    """The products outside the loops, on rows that lie near and far. Returns how many were run."""
    from ostinato.compiler.cpu import linear, outer

    guard, count = Guarded(side), 0
    for dtype in (torch.float32, torch.float64):
        far = outer.APART // dtype.itemsize
        for rows, columns, inner in itertools.product((1, 47, 49, 97), (1, 5, 6, 17, 70), (1, 7, 64, 101)):
            left, right, weight = (
                guard.moved(torch.randn(shape, dtype=dtype))
                for shape in ((rows, columns), (rows, inner), (columns, inner))
            )
            wide = guard.moved(torch.randn(rows, columns + far, dtype=dtype))
            ends = wide[:, -columns:] if side == "before" else wide[:, :columns]
            bias = guard.moved(torch.randn(columns, dtype=dtype))
            with guard:
                found = [(outer.over_rows(value, right), value.t() @ right) for value in (left, ends)]
                found += [(linear.linear(right, weight, bias), right @ weight.t() + bias)]
                found += [(linear.linear(value, weight.t()), value @ weight) for value in (left, ends)]
            for one, two in found:
                torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-4)
            count += 1
    return count


def read_beyond(side: str) -> int:
    """How a process ends, a fork of this one, that reads one element beyond what a tensor has."""
    if (child := os.fork()) == 0:
        value = Guarded(side).moved(torch.zeros(3))
        at = value.data_ptr() + (12 if side == "before" else -4)
        os._exit(ctypes.c_float.from_address(at).value == 0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    os.environ["OSTINATO_CACHE"] = "off"
    torch.set_num_threads(1)
    for side in ("before", "after"):
        print(side, run(side) + run_products(side), read_beyond(side), flush=True)
