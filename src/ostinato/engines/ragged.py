"""Sequences of different lengths: from padding, lengths or PackedSequence to packed rows, and back."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence
from torch.utils._python_dispatch import _disable_current_modes

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

    @cached_property
    def _taken(self) -> Tensor:
        """(N,) where each packed value lies among the caller's T·B."""
        places, count = self._places.flatten(), int(self.batch_sizes.sum())
        numbers = torch.arange(len(places), device=CPU)
        return numbers.new_zeros(count + 1).scatter(0, places, numbers)[:count]

    def sort(self, value: Tensor, dim: int = 0) -> Tensor:
        """The caller's rows, longest first."""
        return value if self.order is None else value.index_select(dim, self.order)

    def unsort(self, value: Tensor, dim: int = 0) -> Tensor:
        """Sorted rows, as the caller had them."""
        return value if self.restore is None else value.index_select(dim, self.restore)

    def pack(self, padded: Tensor) -> Tensor:
        """(T, B, ·) → (N, ·): what lies in the padding is never read, and gets a gradient of zero."""
        return self.lay(padded.flatten(0, 1), "packed")

    def unpack(self, data: Tensor) -> Tensor:
        """(N, ·) → (T, B, ·), zeros past each row's end."""
        return self.lay(data, "padded").unflatten(0, (self.steps, self.rows))

    def lay(self, value: Tensor, into: str) -> Tensor:
        """(T·B, ·) → (N, ·), ``into`` "packed", or back, into "padded"."""
        if value.requires_grad and torch.is_grad_enabled() and not torch._C._are_functorch_transforms_active():
            return _Laid.apply(value, self, into)
        return self._packed(value) if into == "packed" else self._padded(value)

    def _packed(self, padded: Tensor) -> Tensor:
        return padded.index_select(0, self._taken.to(padded.device))

    def _padded(self, data: Tensor) -> Tensor:
        # The sum of nothing is zero, and keeps a graph without values attached.
        zero = data.new_zeros(1, *data.shape[1:]) if len(data) else data.sum(0, keepdim=True)
        return torch.cat([data, zero]).index_select(0, self._places.flatten().to(data.device))

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


class _Laid(torch.autograd.Function):
    """:meth:`Ragged.lay`, whose gradient is laid the other way: no index of all steps is kept for it."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, ragged: Ragged, into: str) -> Tensor:
        ctx.ragged, ctx.into = replace(ragged), into  # Without the places it has worked out.
        return ragged._packed(value) if into == "packed" else ragged._padded(value)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return _again(ctx.ragged, grad, "padded" if ctx.into == "packed" else "packed"), None, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: None) -> Tensor:
        return _again(ctx.ragged, tangent, ctx.into)


def _again(ragged: Ragged, value: Tensor, into: str) -> Tensor:
    """Lay a value; the places are worked out again, as numbers whatever mode watches the call."""
    made = replace(ragged)
    with _disable_current_modes() if torch._C._len_torch_dispatch_stack() else nullcontext():
        _ = made._taken if into == "packed" else made._places
    return made.lay(value, into)


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
