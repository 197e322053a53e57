"""The clipped gradient: forward nothing changes, backward every element is bounded."""

from __future__ import annotations

import pytest
import torch

from ostinato.compiler.clip import clip_gradient
from ostinato.errors import InvalidType, InvalidValue


def test_the_value_stays_and_the_gradient_is_clamped() -> None:
    x = torch.randn(5, dtype=torch.float64, requires_grad=True)
    y = clip_gradient(x, 0.5)
    assert torch.equal(x, y)
    assert y is not x
    (y * torch.tensor([-3.0, -0.5, 0.0, 0.25, 2.0])).sum().backward()
    assert x.grad.tolist() == [-0.5, -0.5, 0.0, 0.25, 0.5]


def test_it_is_twice_differentiable() -> None:
    x = torch.tensor([0.1, 2.0], dtype=torch.float64, requires_grad=True)
    (grad,) = torch.autograd.grad((clip_gradient(x, 1.0) ** 2).sum(), x, create_graph=True)
    assert grad.tolist() == [0.2, 1.0]
    assert torch.autograd.grad(grad.sum(), x)[0].tolist() == [1.0, 0.0]


def test_without_a_gradient_under_transforms_and_on_fake_tensors() -> None:
    x = torch.randn(3, 2)
    assert torch.equal(clip_gradient(x, 1), x)
    assert torch.equal(torch.vmap(lambda row: clip_gradient(row, 1.0))(x), x)
    grads = torch.func.grad(lambda v: (clip_gradient(v, 0.5) * 3).sum())(x)
    assert torch.equal(grads, torch.full((3, 2), 0.5))
    assert clip_gradient(x.to("meta"), 1.0).shape == x.shape
    assert torch.library.opcheck(torch.ops.ostinato.clip_gradient, (x.requires_grad_(), 1.0))


@pytest.mark.parametrize("limit", [0, -1.0, float("nan")])
def test_a_limit_is_greater_than_zero(limit) -> None:
    with pytest.raises(InvalidValue, match="limit must be greater than zero"):
        clip_gradient(torch.ones(1), limit)


@pytest.mark.parametrize("limit", [True, "1", None])
def test_a_limit_is_a_number(limit) -> None:
    with pytest.raises(InvalidType, match="limit must be a number"):
        clip_gradient(torch.ones(1), limit)
