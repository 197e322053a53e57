"""What a kernel is told at a call: one row of 64-bit words, a few of them numbers, the rest addresses and strides."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

FIXED = (
    "steps",  # T
    "rows",  # B
    "sizes",  # address of the number of active rows at each step, or 0: all of them
    "total",  # N, the rows of all steps together
    "descending",  # 1: from the last step to the first
    "around",  # 1: what a pass writes goes around the caches, which it would only fill
    "columns",  # 1: threads share all rows and split columns; 0: each has rows of its own
    "parties",  # how many threads the next word was made for
    "starts",  # address of the first row of each thread, and the end
    "barrier",  # address of two counters on cache lines of their own
    "shared",  # address of the table of functions that all kernels call
    "packed",  # address of the packed weights
    "ready",  # 1: they are packed already
    "sums",  # address of the sums over steps and rows, a part for each thread
)

NUMBERS = ("steps", "rows", "total", "descending", "around", "columns", "parties", "ready")
"""Those of them that are no addresses."""

Kind = Literal["stream", "rows", "flip", "previous", "param", "sum"]
"""How a buffer is laid out.

stream: (N, ·), a row a step and row of the batch; its stride in elements is given. rows: (B, ·), the same. flip: a
state, read where it was, written where it will be, in two (B, ·) buffers that change places at every step; before the
first it is read from the initial one. previous: a state before the step in a backward loop, read from its trajectory
(N, ·), or from the initial one. param: one row for all. sum: added up over steps and rows, a part for each thread.
"""

WORDS: dict[str, tuple[str, ...]] = {
    "stream": ("", ".stride"),
    "rows": ("", ".stride"),
    "flip": (".initial", ".even", ".odd"),
    "previous": ("", ".stride", ".initial"),
    "param": ("",),
    "sum": (),
}


@dataclass(frozen=True)
class Buffer:
    """A buffer a kernel works on. ``pair``: for the written side of a flip, the name of the side that is read."""

    name: str
    kind: Kind
    width: int
    pair: str = ""


@dataclass
class Layout:
    """The words of a call, by name, and the buffers they tell of."""

    buffers: dict[str, Buffer]
    words: dict[str, int] = field(default_factory=dict)
    sums: dict[str, int] = field(default_factory=dict)
    sum_width: int = 0

    @classmethod
    def of(cls, buffers: Iterable[Buffer], lanes: int) -> Layout:
        """Number the words; sums are padded to full vectors."""
        layout = cls({b.name: b for b in buffers})
        for name in FIXED:
            layout.words[name] = len(layout.words)
        for buffer in layout.buffers.values():
            if buffer.kind == "sum":
                layout.sums[buffer.name] = layout.sum_width
                layout.sum_width += -(-buffer.width // lanes) * lanes
            elif not buffer.pair:
                for part in WORDS[buffer.kind]:
                    layout.words[buffer.name + part] = len(layout.words)
        return layout
