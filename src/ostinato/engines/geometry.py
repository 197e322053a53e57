"""How the steps and rows of a call lie in its tensors."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(slots=True, eq=False)
class Geometry:
    """How many steps and rows a call has, and how they lie.

    Attributes:
        steps, rows: T and B.
        batch_sizes: (T,) rows active at each step, never growing, on the CPU; None: all of them.
        count: N, the number of (step, row) pairs.
    """

    steps: int
    rows: int
    batch_sizes: Tensor | None
    count: int

    @classmethod
    def of(cls, input: Tensor, rows: int, batch_sizes: Tensor | None) -> Geometry:
        """That of (T, B, ·) input, or of packed (N, ·) input."""
        if batch_sizes is None:
            return cls(input.shape[0], rows, None, input.shape[0] * rows)
        return cls(batch_sizes.shape[0], rows, batch_sizes, input.shape[0])

    def flat(self, value: Tensor) -> Tensor:
        """(T, B, ·) or (N, ·) as (N, ·), contiguous."""
        if self.batch_sizes is None:
            value = value.reshape(self.count, value.shape[-1])
        return value.contiguous()

    def spread(self, constant: Tensor) -> Tensor:
        """(B, ·) → (N, ·): a value a sequence at each of its steps."""
        if self.batch_sizes is None:
            return constant.expand(self.steps, *constant.shape).reshape(self.count, *constant.shape[1:])
        return torch.cat([constant[:size] for size in self.batch_sizes.tolist()])
