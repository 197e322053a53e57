"""Where a function has a corner, a tie or a pole, the kernel's gradient is the one that torch takes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.functional import linear

import ostinato

H = 5
STEPS = {
    "max over one axis": lambda h: h - h.max(-1, keepdim=True).values,
    "min over one axis": lambda h: h - h.min(-1, keepdim=True).values,
    "max of pairs": lambda h: torch.cat([h, h[:, :1]], -1).unflatten(-1, (2, 3)).max(1).values.repeat(1, 2)[:, :H],
    "amax": lambda h: h - h.amax(-1, keepdim=True),
    "maximum": lambda h: torch.maximum(h, torch.zeros_like(h)),
    "clamp between tensors": lambda h: h.clamp(min=torch.zeros_like(h), max=torch.ones_like(h)),
    "clamp from a tensor": lambda h: h.clamp(min=torch.zeros_like(h)),
    "standard deviation": lambda h: h / (h.std(-1, keepdim=True) + 0.1),
    "norm of order 3": lambda h: h / (h.norm(p=3, dim=-1, keepdim=True) + 0.1),
    "norm of order 1.5": lambda h: h / (h.norm(p=1.5, dim=-1, keepdim=True) + 0.1),
    "norm of order 0.5": lambda h: h / (h.norm(p=0.5, dim=-1, keepdim=True) + 0.1),
    "norm over two axes": lambda h: h / (h.unflatten(-1, (H, 1)).norm(dim=(1, 2)).unsqueeze(-1) + 0.1),
    "sinc": torch.sinc,
    "logarithms of nothing": lambda h: torch.xlogy(h, h.cos() * 2) + torch.special.xlog1py(h, h + 2),
    "logarithms of numbers": lambda h: torch.xlogy(h, 3.0) + torch.xlogy(2.0, h + 4),
    "hardshrink": lambda h: F.hardshrink(h, 0.0) + F.softshrink(h, 0.0),
    "flat and steep": lambda h: F.relu(h) + F.relu6(h) + F.hardtanh(h, 0, 1) + F.elu(h) + F.celu(h) + F.hardswish(h),
}


def cell_of(function):
    class Corner(ostinato.Cell):
        def __init__(self, input_size: int, hidden_size: int) -> None:
            super().__init__(input_size, hidden_size)
            self.weight_ih = nn.Parameter(torch.empty(hidden_size, input_size))
            self.weight_hh = nn.Parameter(torch.empty(hidden_size, hidden_size))
            self.reset_parameters()

        def step(self, x: Tensor, h: Tensor) -> Tensor:
            return torch.tanh(linear(x, self.weight_ih) + linear(function(h), self.weight_hh))

    return Corner


def both(layer: ostinato.Recurrent, x: Tensor, hx: Tensor) -> list[list[Tensor]]:
    """The output and every gradient, by kernel and by loop."""
    found = []
    for engine in ("native", "loop"):
        leaves = [x.clone().requires_grad_(), hx.clone().requires_grad_(), *layer.parameters()]
        with ostinato.engine(engine):
            output, _ = layer(leaves[0], leaves[1])
        grads = torch.autograd.grad(output.mean(), leaves, allow_unused=True)
        found.append([output.detach(), *(torch.zeros(()) if g is None else g for g in grads)])
    return found


def close(one: list[Tensor], two: list[Tensor]) -> None:
    for a, b in zip(one, two, strict=True):
        assert a.isfinite().all()
        torch.testing.assert_close(a, b, rtol=1e-6 if a.dtype == torch.float64 else 1e-4, atol=1e-7)


@pytest.mark.parametrize("name", STEPS)
def test_a_state_of_zeros(name: str) -> None:
    """Where every sequence begins: all elements are equal, and every norm is zero."""
    layer = ostinato.Recurrent(cell_of(STEPS[name]), 4, H, dtype=torch.float64)
    close(*both(layer, torch.randn(3, 2, 4, dtype=torch.float64), torch.zeros(1, 2, H, dtype=torch.float64)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("function", [lambda h: F.celu(h, 0.1), F.elu, F.selu, F.softplus, F.mish], ids=lambda f: "")
def test_the_side_that_is_not_taken_may_overflow(function, dtype: torch.dtype) -> None:
    layer = ostinato.Recurrent(cell_of(function), H, H, dtype=dtype)
    far = torch.full((1, 2, H), 1e3, dtype=dtype)
    close(*both(layer, torch.randn(3, 2, H, dtype=dtype), far))


def test_what_is_no_number_stays_one() -> None:
    for shrink in (F.softshrink, F.hardshrink):
        layer = ostinato.Recurrent(cell_of(shrink), 4, H)
        hx = torch.zeros(1, 2, H)
        hx[0, 1, 2] = torch.nan
        with ostinato.engine("native"), torch.no_grad():
            output, _ = layer(torch.randn(3, 2, 4), hx)
        assert output[:, 0].isfinite().all()
        assert output[:, 1].isnan().all()


@pytest.mark.parametrize("size", [1, 2, 7, 12])
def test_the_first_of_equals_has_the_gradient(size: int) -> None:
    """Wherever it stands: some elements are equal, not all."""
    layer = ostinato.Recurrent(cell_of(lambda h: h * h.max(-1, keepdim=True).values), 4, size, dtype=torch.float64)
    hx = torch.randint(0, 3, (1, 9, size)).double()
    close(*both(layer, torch.randn(1, 9, 4, dtype=torch.float64), hx))


ENDS = {
    "entropy": torch.special.entr,
    "huber": lambda h: F.huber_loss(h, h.flip(-1), reduction="none", delta=0.7),
    "huber, nowhere steep": lambda h: F.huber_loss(h, h.flip(-1), reduction="none", delta=2.0),
    "smooth l1": lambda h: F.smooth_l1_loss(h, h.flip(-1), reduction="none", beta=0.6),
    "l1": lambda h: F.smooth_l1_loss(h, h.flip(-1), reduction="none", beta=0.0),
}


@pytest.mark.parametrize("name", ENDS)
def test_values_and_gradients_at_the_ends_of_numbers(name: str) -> None:
    class Ends(ostinato.Cell):
        def step(self, x: Tensor, h: Tensor) -> Tensor:
            return ENDS[name](h)

    values = [0.0, torch.inf, -torch.inf, torch.nan, 0.7, -0.7, 1.0, -2.0, 1e-40, 3e38]
    h = torch.cartesian_prod(torch.tensor(values), torch.tensor(values)).unsqueeze(0)
    layer, found = ostinato.Recurrent(Ends, 1, 2), []
    for engine in ("native", "loop"):
        leaf = h.clone().requires_grad_()
        with ostinato.engine(engine):
            output, _ = layer(torch.zeros(1, h.shape[1], 1), leaf)
        found.append((output, *torch.autograd.grad(output.sum(), leaf)))
    torch.testing.assert_close(*found, equal_nan=True)
