"""Long sequences in chunks of steps: where they begin and end, and their part of a layer's tensors."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from math import isqrt

from torch import Tensor

from ostinato.engines.geometry import Geometry

LEAST = 2048
"""Fewer rows of all steps a chunk would save little: each chunk costs a call, and products of its own for the weights'
gradients."""


def length(steps: int, rows: int) -> int:
    """k, how many steps a chunk has: 2·√T, or more where rows are few.

    Memory is least somewhat below √T, time falls with k.
    """
    return max(2 * isqrt(steps), -(-LEAST // max(rows, 1)))


@dataclass(frozen=True)
class Chunk:
    """Steps that follow each other.

    Attributes:
        steps: which.
        rows: theirs among the N rows of all steps.
        geometry: of a call on them alone: all B rows, those of no step here too, which keep what they have.
        packed: whether the call's tensors are (N, ·), not (T, B, ·).
    """

    steps: slice
    rows: slice
    geometry: Geometry
    packed: bool

    def of(self, value: Tensor) -> Tensor:
        """Its part of (T, B, ·) or of packed (N, ·): a view."""
        return value[self.rows if self.packed else self.steps]


def cut(geometry: Geometry) -> list[Chunk]:
    """The chunks, from the first step to the last."""
    sizes, rows = geometry.batch_sizes, geometry.rows
    active = [rows] * geometry.steps if sizes is None else sizes.tolist()
    starts = list(accumulate(active, initial=0))
    k, chunks = length(geometry.steps, rows), []
    for start in range(0, geometry.steps, k):
        stop = min(start + k, geometry.steps)
        part = None if sizes is None else sizes[start:stop]
        whole = Geometry(stop - start, rows, part, starts[stop] - starts[start])
        chunks.append(Chunk(slice(start, stop), slice(starts[start], starts[stop]), whole, sizes is not None))
    return chunks
