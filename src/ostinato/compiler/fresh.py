"""New memory for the values of all steps: large and written once, so what counts is how fast its pages come."""

from __future__ import annotations

import ctypes
import mmap
import sys
from functools import cache
from typing import Any

from torch import Tensor

LARGE = 2**23
"""Bytes from which pages of 2 MiB are asked for. Writing 64 MiB of new memory for the first time takes 17 ms in pages
of 4 KiB and 5 ms in large ones."""

PAGE = mmap.PAGESIZE
HUGEPAGE = getattr(mmap, "MADV_HUGEPAGE", None)


def empty(like: Tensor, *shape: int) -> Tensor:
    """An uninitialised tensor with the dtype and device of another, in large pages where the system has them."""
    made = like.new_empty(shape)
    if made.nbytes >= LARGE and made.device.type == "cpu":
        _advise(made)
    return made


def _advise(tensor: Tensor) -> None:
    """Ask for large pages. A system without them refuses, which costs nothing but the time they would have saved."""
    advise = _madvise()
    if advise is not None:
        start = -(-tensor.data_ptr() // PAGE) * PAGE
        advise(start, (tensor.data_ptr() + tensor.nbytes - start) // PAGE * PAGE, HUGEPAGE)


@cache
def _madvise() -> Any:
    """The C library's function, or None where there is none or no advice of this kind."""
    if sys.platform != "linux" or HUGEPAGE is None:
        return None
    function = ctypes.CDLL(None).madvise
    function.argtypes, function.restype = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int], ctypes.c_int
    return function
