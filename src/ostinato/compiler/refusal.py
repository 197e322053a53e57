"""Why a step cannot become native code: an operation, and the line of the cell it stands on."""

from __future__ import annotations

import torch


class Refused(Exception):
    """A step, or a part of it, has no native form; the loop engine runs it.

    Args:
        why: what is in the way, in a few words: ``"aten.sort has no native form"``.
        source: the user's line: ``"cells.py:12: h = h.sort(-1).values"``; "" if it is not known.
    """

    def __init__(self, why: str, source: str = "") -> None:
        super().__init__(f"{why} ({source})" if source else why)
        self.why = why
        self.source = source


def is_exhaustion(error: BaseException) -> bool:
    """Whether memory was short: the error of that one call, which says nothing of the step."""
    named = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return named or (isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error))
