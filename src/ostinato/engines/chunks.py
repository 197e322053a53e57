"""Long sequences in chunks of steps: where they begin and end, and their part of a layer's tensors."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, pairwise
from math import isqrt

from torch import Tensor

from ostinato.engines.geometry import Geometry

LEAST = 2048
"""Rows of all steps that a chunk has which is run again, if there are as many: each costs calls of kernels, and
products of its own for the weights' gradients."""

SHARE, ROOTS = 0.14, 5
"""How much of the sequences the last chunk has, all of which the forward keeps, since the backward begins with it: so
large a part of the steps, but no more than so many times √T. It is nearly all that is kept, and a fifth of what would
be; and what need not run again is time saved."""


def length(steps: int, rows: int) -> int:
    """k, how many steps a chunk has that is run again: 2·√T, or more where rows are few.

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


def cut(geometry: Geometry, reverse: bool, keep: bool) -> list[Chunk]:
    """The chunks, in the order in which a direction runs through them, of about equal numbers of steps.

    Args:
        reverse: whether it begins with the last step.
        keep: the last chunk is one of which everything is kept.
    """
    sizes, rows = geometry.batch_sizes, geometry.rows
    starts = list(accumulate([rows] * geometry.steps if sizes is None else sizes.tolist(), initial=0))
    chunks = []
    for start, stop in pairwise(_bounds(geometry.steps, rows, keep)):
        steps = slice(geometry.steps - stop, geometry.steps - start) if reverse else slice(start, stop)
        own = slice(starts[steps.start], starts[steps.stop])
        whole = Geometry(stop - start, rows, None if sizes is None else sizes[steps], own.stop - own.start)
        chunks.append(Chunk(steps, own, whole, sizes is not None))
    return chunks


def _bounds(steps: int, rows: int, keep: bool) -> list[int]:
    """Between which steps of a direction it is cut."""
    last = min(int(SHARE * steps), ROOTS * isqrt(steps)) if keep else 0
    again = steps - last
    count = max(1, again // length(steps, rows)) if again else 0
    return [*(again * n // count for n in range(count)), *([again] if last else []), steps] if count else [0]
