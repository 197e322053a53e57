"""Rows of different lengths, laid out and back: gradients of every kind, and what they keep."""

from __future__ import annotations

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from ostinato.engines.ragged import CPU, Ragged

RAGGED = Ragged.from_lengths(torch.tensor([3, 0, 5, 2]), 6, CPU)


@pytest.mark.parametrize(("lay", "shape"), [(RAGGED.pack, (6, 4, 3)), (RAGGED.unpack, (10, 3))], ids=["pack", "unpack"])
def test_derivatives(lay, shape) -> None:
    value = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    gradcheck(lay, value, check_forward_ad=True, check_batched_grad=True, check_batched_forward_grad=True)
    gradgradcheck(lay, value)
    batch = torch.randn(2, *shape, dtype=torch.float64)

    def gradient(value: torch.Tensor) -> torch.Tensor:
        return torch.func.grad(lambda v: (lay(v) ** 3).sum())(value)

    torch.testing.assert_close(torch.func.vmap(gradient)(batch), torch.stack([gradient(value) for value in batch]))


@pytest.mark.parametrize(("lay", "shape"), [(RAGGED.pack, (6, 4, 3)), (RAGGED.unpack, (10, 3))], ids=["pack", "unpack"])
def test_nothing_is_kept_for_the_backward(lay, shape) -> None:
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(saved.append, lambda tensor: tensor):
        lay(torch.randn(shape, requires_grad=True))
    assert not saved
