"""Large matrix products outside the loop, by whoever is the fastest on this processor.

``torch.mm`` asks MKL, whose kernels for other makers' processors are narrower. On an EPYC with AVX-512 (2 threads,
float32) it comes to 130 to 180 GFLOP/s in a product of inputs and 110 to 160 in a weight's gradient, a sum over all
steps; functions of our own come to 190 to 220 (``cpu/linear.py``) and 160 to 200 (``cpu/outer.py``). On a Xeon MKL is
the fastest in a product of inputs. In a weight's gradient it is where the weight is large, faster still the other way
round, with the wider side in its rows; for smaller weights ours is (2.6 GHz, one thread: 384 × 128 139 instead of 134,
128 × 128 131 instead of 117, 64 × 64 94 instead of 73).
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
from ostinato.compiler.cpu.targets import host

SMALL = 1_000_000
"""Multiply-adds up to which a product is made by our own function on every processor."""

WEIGHT = 2**19
"""Bytes of a weight up to which its gradient is made by our own function where there is AVX-512."""

ROWS, SIDE = 2**10, 256
"""Rows that are added up from which MKL multiplies the other way round, and its result is turned, where the narrower
side has so few columns."""


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
    rows, columns, inner = *left.shape, right.shape[1]
    if left.device.type == "cpu" and _adds_up(rows, columns, inner, left.dtype):
        return outer.over_rows(left, right)
    if rows >= ROWS and inner <= SIDE and columns > inner:
        return torch.mm(right.t(), left).t().contiguous()
    return torch.mm(left.t(), right)


def repeated(size: outer.Size, dtype: torch.dtype) -> outer.Repeated | None:
    """Our own function for one size of :func:`over_rows`, where that takes it; None elsewhere."""
    return outer.Repeated(size, dtype) if _adds_up(size.rows, size.columns, size.inner, dtype) else None


def _adds_up(rows: int, columns: int, inner: int, dtype: torch.dtype) -> bool:
    """Whether our own function makes a weight's gradient: the same for a product, or because the weight is small."""
    if _is_ours(rows * columns * inner, dtype):
        return True
    small = dtype in ELEMENT and 0 < columns * inner * dtype.itemsize <= WEIGHT
    return small and rows > 0 and host().name == "avx512"


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
