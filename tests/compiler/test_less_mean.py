"""A parameter less its mean: torch's own two operations, with a derivative of its own."""

from __future__ import annotations

import pytest
import torch

from ostinato.compiler.less_mean import less_mean, take_mean


@pytest.mark.parametrize("shape", [(1,), (5,), (6, 3), (4, 3, 2)])
def test_it_is_its_own_derivative(shape) -> None:
    torch.manual_seed(0)
    value = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    grad = torch.randn(shape, dtype=torch.float64)
    plain = value - value.mean(0, keepdim=True)
    assert torch.equal(less_mean(value), plain)
    (expected,) = torch.autograd.grad(plain, value, grad)
    (found,) = torch.autograd.grad(less_mean(value), value, grad)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(take_mean(grad.clone()), expected)
    assert torch.autograd.gradcheck(less_mean, value)
    assert torch.autograd.gradgradcheck(less_mean, value)


def test_the_gradient_that_came_is_left_as_it_was() -> None:
    value, grad = torch.randn(3, 2, requires_grad=True), torch.randn(3, 2)
    before = grad.clone()
    less_mean(value).backward(grad)
    assert torch.equal(grad, before)
