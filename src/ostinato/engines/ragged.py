"""Sequences of different lengths: from padding, lengths or PackedSequence to packed rows, and back."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from ostinato.errors import InvalidShape, InvalidType, InvalidValue

CPU = torch.device("cpu")
"""Where sizes and places lie, whatever ``torch.set_default_device`` says: Python reads them."""


@dataclass(frozen=True)
class Ragged:
    """How the rows of a batch with lengths lie once packed: sorted by length, step after step, padding gone.

    Attributes:
        batch_sizes: (longest,) the number of rows active at each step, on the CPU.
        order: (B,) the caller's row at each sorted place, rows of length zero last; None if already sorted.
        restore: (B,) the sorted place of each of the caller's rows; None if already sorted.
        rows: B, rows of length zero included.
        steps: T, the length of the padded sequence.
    """

    batch_sizes: Tensor
    order: Tensor | None
    restore: Tensor | None
    rows: int
    steps: int

    @classmethod
    def from_lengths(cls, lengths: Tensor, steps: int, device: torch.device) -> Ragged:
        """From checked lengths (B,) on the CPU."""
        ordered, order = torch.sort(lengths, descending=True, stable=True)
        longest = int(ordered[0]) if len(ordered) else 0
        batch_sizes = (ordered.unsqueeze(0) > torch.arange(longest, device=CPU).unsqueeze(1)).sum(1)
        restore = torch.argsort(order)
        return cls(batch_sizes, order.to(device), restore.to(device), len(lengths), steps)

    @classmethod
    def from_packed(cls, packed: PackedSequence) -> Ragged:
        sizes = packed.batch_sizes
        return cls(sizes, packed.sorted_indices, packed.unsorted_indices, int(sizes[0]), len(sizes))

    @cached_property
    def lengths(self) -> Tensor:
        """(B,) the length of each of the caller's rows, on the CPU."""
        ordered = (self.batch_sizes.unsqueeze(0) > torch.arange(self.rows, device=CPU).unsqueeze(1)).sum(1)
        return ordered if self.restore is None else ordered[self.restore.cpu()]

    @cached_property
    def _places(self) -> Tensor:
        """(T, B) where each of the caller's values lies among the N packed ones; N where there is none."""
        sizes = self.batch_sizes.unsqueeze(1)
        starts = torch.cumsum(self.batch_sizes, 0).unsqueeze(1) - sizes
        row = (torch.arange(self.rows, device=CPU) if self.restore is None else self.restore.cpu()).unsqueeze(0)
        count = int(self.batch_sizes.sum())
        places = torch.full((self.steps, self.rows), count, device=CPU)
        places[: len(sizes)] = torch.where(row < sizes, starts + row, count)
        return places

    def sort(self, value: Tensor, dim: int = 0) -> Tensor:
        """The caller's rows, longest first."""
        return value if self.order is None else value.index_select(dim, self.order)

    def unsort(self, value: Tensor, dim: int = 0) -> Tensor:
        """Sorted rows, as the caller had them."""
        return value if self.restore is None else value.index_select(dim, self.restore)

    def pack(self, padded: Tensor) -> Tensor:
        """(T, B, ·) → (N, ·): what lies in the padding is never read, and gets a gradient of zero."""
        places, count = self._places.flatten(), int(self.batch_sizes.sum())
        numbers = torch.arange(len(places), device=CPU)
        taken = numbers.new_zeros(count + 1).scatter(0, places, numbers)[:count]
        return padded.flatten(0, 1).index_select(0, taken.to(padded.device))

    def unpack(self, data: Tensor) -> Tensor:
        """(N, ·) → (T, B, ·), zeros past each row's end."""
        # The sum of nothing is zero, and keeps a graph without values attached.
        zero = data.new_zeros(1, *data.shape[1:]) if len(data) else data.sum(0, keepdim=True)
        padded = torch.cat([data, zero])
        return padded.index_select(0, self._places.flatten().to(data.device)).unflatten(0, (self.steps, self.rows))

    def at_steps(self, rows: Tensor) -> Tensor:
        """(B, ·) of sorted rows → (N, ·): each row's value at each of its steps."""
        starts = torch.cumsum(self.batch_sizes, 0) - self.batch_sizes
        index = torch.arange(int(self.batch_sizes.sum()), device=CPU) - torch.repeat_interleave(
            starts, self.batch_sizes
        )
        return rows.index_select(0, index.to(rows.device))

    def repack(self, data: Tensor) -> PackedSequence:
        """(N, ·) as the PackedSequence the caller gave."""
        return PackedSequence(data, self.batch_sizes, self.order, self.restore)


def as_counts(lengths: Any) -> Tensor:
    """Lengths as a tensor: itself where it is, numbers of Python's on the CPU."""
    return lengths if isinstance(lengths, Tensor) else torch.as_tensor(lengths, device=CPU)


def check_lengths(lengths: Any, steps: int, rows: int, batched: bool) -> Tensor:
    """``lengths`` as int64 (B,) on the CPU.

    Raises:
        InvalidType: not whole numbers.
        InvalidShape: not one length a row.
        InvalidValue: a length below 0 or above T.
    """
    try:
        value = as_counts(lengths).detach()
    except (TypeError, ValueError, RuntimeError) as error:
        raise InvalidType(f"lengths must be a tensor or a list of whole numbers, got {lengths!r}") from error
    if value.numel() == 0:
        value = value.long()
    if value.is_floating_point() or value.is_complex() or value.dtype == torch.bool:
        raise InvalidType(f"lengths must be whole numbers (int64), got {value.dtype}; convert with lengths.long()")
    if not batched and value.dim() == 0:
        value = value.reshape(1)
    if tuple(value.shape) != (rows,):
        raise InvalidShape(f"lengths must be ({rows},), one for each sequence of the batch, got {tuple(value.shape)}")
    value = value.to("cpu", torch.int64)
    if rows and (int(value.min()) < 0 or int(value.max()) > steps):
        bad = int(value.min()) if int(value.min()) < 0 else int(value.max())
        raise InvalidValue(f"lengths must lie between 0 and T = {steps}, the length of the input, got {bad}")
    return value
