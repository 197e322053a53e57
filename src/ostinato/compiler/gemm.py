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

WORK = 10_000_000
"""Multiply-adds of a product of inputs from which our own function is the faster."""

SUMMED = 1_000_000
"""Multiply-adds of a sum over steps from which our own function is the faster."""

MANY_ROWS = 2**15
"""Rows that are added up from which MKL multiplies the other way round, and its result is turned."""


def linear(value: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``value @ weight.T + bias``: (N, K), (O, K) and (O,) → (N, O), into memory that is used again if it is large."""
    rows, columns, inner = value.shape[0], *weight.shape
    if rows * columns * inner >= WORK and _is_ours(value):
        return own.linear(value, weight, bias)
    out = memory.empty(value, rows, columns)
    return torch.mm(value, weight.t(), out=out) if bias is None else torch.addmm(bias, value, weight.t(), out=out)


def over_rows(left: Tensor, right: Tensor) -> Tensor:
    """``left.T @ right``, a weight's gradient: (N, O) and (N, K) → (O, K)."""
    work = left.shape[0] * left.shape[1] * right.shape[1]
    if work >= SUMMED and _is_ours(left):
        return outer.over_rows(left, right)
    if left.shape[0] >= MANY_ROWS and left.shape[1] > right.shape[1]:
        return torch.mm(right.t(), left).t().contiguous()
    return torch.mm(left.t(), right)


def repeated(size: outer.Size, dtype: torch.dtype) -> outer.Repeated | None:
    """For one size of :func:`over_rows`, our own function where it is the fastest, or where asking for another one
    takes as long as the product; None elsewhere."""
    work = size.rows * size.columns * size.inner
    return outer.Repeated(size, dtype) if 0 < work < SUMMED or (work and mkl_is_narrow()) else None


def _is_ours(value: Tensor) -> bool:
    return value.dtype in ELEMENT and value.device.type == "cpu" and mkl_is_narrow()


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
