"""The independently recurrent network: the paper's equation, its bound, and torchrecurrent's on the same weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ostinato.cells import IndRNNCell
from tests.support.equations import assert_follows, assert_same_over_time, relu, scattered


@pytest.mark.parametrize(("activation", "sigma"), [("relu", relu), ("tanh", np.tanh)])
def test_the_papers_equation(activation: str, sigma) -> None:
    def step(w, x, h):
        return sigma(x @ w["weight_ih"].T + w["weight_hh"] * h + w["bias_ih"])

    assert_follows(IndRNNCell(4, 5, activation=activation), step)


def test_the_bound() -> None:
    assert IndRNNCell.bound(1) == 2
    assert IndRNNCell.bound(100) ** 100 == pytest.approx(2)
    cell = IndRNNCell(4, 3, bias=False, activation="identity", max_steps=2)
    with torch.no_grad():
        cell.weight_hh.copy_(torch.tensor([-9.0, 0.5, 9.0]))
    h = cell(torch.zeros(1, 4), torch.ones(1, 3))
    torch.testing.assert_close(h, torch.tensor([[-(2**0.5), 0.5, 2**0.5]]))
    h.sum().backward()
    assert cell.weight_hh.grad.tolist() == [0, 1, 0]


def test_a_weight_at_the_bound_can_come_back() -> None:
    cell = IndRNNCell(4, 3, max_steps=7, activation="identity")
    bound = cell.bound(7)
    with torch.no_grad():
        cell.weight_hh.fill_(9.0).clamp_(-bound, bound)
    cell(torch.zeros(1, 4), torch.ones(1, 3)).sum().backward()
    assert cell.weight_hh.grad.tolist() == [1, 1, 1]


@pytest.mark.parametrize(("max_steps", "high"), [(None, 1.0), (2, 2**0.5)])
def test_recurrent_weights_begin_between_zero_and_the_bound(max_steps: int | None, high: float) -> None:
    u = IndRNNCell(2, 4000, max_steps=max_steps).weight_hh
    assert u.min() >= 0
    assert 0.99 * high < u.max() <= high
    assert u.mean().item() == pytest.approx(high / 2, abs=0.03)


def test_a_bound_needs_steps() -> None:
    with pytest.raises(ValueError, match=r"max_steps must be greater than zero, got 0"):
        IndRNNCell(4, 5, max_steps=0)


def test_torchrecurrents() -> None:
    torchrecurrent = pytest.importorskip("torchrecurrent")
    ours = scattered(IndRNNCell(4, 5))
    theirs = torchrecurrent.IndRNNCell(4, 5, recurrent_bias=False, nonlinearity="relu").double()
    weights = {"weight_ih": ours.weight_ih, "vector_u": ours.weight_hh, "bias_ih": ours.bias_ih}
    theirs.load_state_dict(weights | {"bias_hh": theirs.bias_hh})
    assert_same_over_time(ours, theirs)
