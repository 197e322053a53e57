"""Large matrix products outside the loop, by whoever is the fastest on this processor.

``torch.mm`` asks MKL, whose kernels for other makers' processors are narrower. On an EPYC with AVX-512 (2 threads,
float32) it comes to 130 to 180 GFLOP/s in a product of inputs and 110 to 160 in a weight's gradient, a sum over all
steps; functions of our own come to 190 to 220 (``cpu/linear.py``) and 160 to 200 (``cpu/outer.py``). On a Xeon MKL is
the fastest in both, and where very many rows are added up it is faster still the other way round, with the wider side
in its rows.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from ostinato import memory
from ostinato.compiler.cpu import linear as own
from ostinato.compiler.cpu import outer
from ostinato.compiler.cpu.alone import ELEMENT

SMALL = 1_000_000
"""Multiply-adds up to which a product is made by our own function on every processor."""

MANY_ROWS = 2**15
"""Rows that are added up from which MKL multiplies the other way round, and its result is turned."""


def linear(value: Tensor, weight: Tensor, bias: Tensor | None = None, out: Tensor | None = None) -> Tensor:
    """``value @ weight.T + bias``: (N, K), (O, K) and (O,) → (N, O), into ``out``, whose rows may lie apart, or into
    memory that is used again if it is large."""
    rows, columns, inner = value.shape[0], *weight.shape
    if value.device.type == "cpu" and _is_ours(rows * columns * inner, value.dtype):
        return own.linear(value, weight, bias, out)
    out = memory.empty(value, rows, columns) if out is None else out
    return torch.mm(value, weight.t(), out=out) if bias is None else torch.addmm(bias, value, weight.t(), out=out)


def over_rows(left: Tensor, right: Tensor) -> Tensor:
    """``left.T @ right``, a weight's gradient: (N, O) and (N, K) → (O, K)."""
    if left.device.type == "cpu" and _is_ours(left.shape[0] * left.shape[1] * right.shape[1], left.dtype):
        return outer.over_rows(left, right)
    if left.shape[0] >= MANY_ROWS and left.shape[1] > right.shape[1]:
        return torch.mm(right.t(), left).t().contiguous()
    return torch.mm(left.t(), right)


def repeated(size: outer.Size, dtype: torch.dtype) -> outer.Repeated | None:
    """Our own function for one size of :func:`over_rows`, where that takes it; None elsewhere."""
    return outer.Repeated(size, dtype) if _is_ours(size.rows * size.columns * size.inner, dtype) else None


def _is_ours(work: int, dtype: torch.dtype) -> bool:
    """Whether a product is made by our own function: where it is the fastest, and where asking for another one takes as
    long as the product. Its result depends on nothing but the size, and so on no number of threads; a size is always
    made by one and the same."""
    return dtype in ELEMENT and work > 0 and (work < SMALL or mkl_is_narrow())


@cache
def mkl_is_narrow() -> bool:
    """Whether MKL takes its narrower kernels here: on another maker's processor that has AVX-512."""
    if not torch.backends.mkl.is_available() or torch.backends.cpu.get_cpu_capability() != "AVX512":
        return False
    return _maker() not in ("GenuineIntel", "")


def _maker() -> str:
    """The processor's maker as it names itself; "" where the system does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line.split(":")[1].strip() for line in lines if line.startswith("vendor_id")), "")
