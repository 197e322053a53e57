"""Large matrix products outside the loop, by whichever of torch's two libraries is the faster on this processor.

``torch.mm`` asks MKL. On an EPYC with AVX-512 (2 threads, float32) it comes to 130 to 175 GFLOP/s, where oneDNN, which
torch has too, comes to 180 to 200: from some width on, and while the result is small enough that the memory it is
written to, oneDNN's own choice, has been written before.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from ostinato import memory

WIDE = 128
"""Columns of both sides from which oneDNN is the faster."""

WORK = 50_000_000
"""Multiply-adds from which it is: it rearranges the weights at every call."""

RECYCLED = 2**25
"""Bytes of the result up to which malloc hands out memory that was written before; larger results go into the pool."""


def linear(value: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``value @ weight.T + bias``: (N, K), (O, K) and (O,) → (N, O), into memory that is used again if it is large."""
    rows, columns, inner = value.shape[0], *weight.shape
    suits = (
        min(columns, inner) >= WIDE
        and rows * columns * inner >= WORK
        and rows * columns * 4 <= RECYCLED
        and value.dtype == torch.float32
        and value.device.type == "cpu"
    )
    if suits and onednn_is_faster() and torch._C._get_mkldnn_enabled():
        made: Tensor = torch.ops.mkldnn._linear_pointwise(value, weight, bias, "none", [], "")
        return made
    out = memory.empty(value, rows, columns)
    return torch.mm(value, weight.t(), out=out) if bias is None else torch.addmm(bias, value, weight.t(), out=out)


@cache
def onednn_is_faster() -> bool:
    """Whether MKL takes its narrower kernels here: on another maker's processor that has AVX-512."""
    if not (torch.backends.mkldnn.is_available() and torch.backends.mkl.is_available()):
        return False
    if not hasattr(torch.ops.mkldnn, "_linear_pointwise") or torch.backends.cpu.get_cpu_capability() != "AVX512":
        return False
    return _maker() not in ("GenuineIntel", "")


def _maker() -> str:
    """The processor's maker as it names itself; "" where the system does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line.split(":")[1].strip() for line in lines if line.startswith("vendor_id")), "")
