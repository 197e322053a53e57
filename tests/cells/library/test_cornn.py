"""The coupled oscillatory network: the paper's equations, and torchrecurrent's on the same weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ostinato.cells import coRNNCell
from ostinato.errors import InvalidValue
from tests.support.equations import assert_follows, assert_same_over_time, scattered


@pytest.mark.parametrize("implicit", [False, True])
def test_the_papers_equations(implicit: bool) -> None:
    dt, gamma, epsilon = 0.3, 1.7, 0.6

    def step(w, x, y, z):
        force = np.tanh(y @ w["weight_yh"].T + z @ w["weight_zh"].T + x @ w["weight_ih"].T + w["bias_ih"])
        if implicit:
            z = np.linalg.solve((1 + dt * epsilon) * np.eye(5), (z + dt * force - dt * gamma * y).T).T
        else:
            z = z + dt * force - dt * gamma * y - dt * epsilon * z
        return y + dt * z, z

    assert_follows(coRNNCell(4, 5, dt=dt, gamma=gamma, epsilon=epsilon, implicit=implicit), step)


def test_torchrecurrent() -> None:
    torchrecurrent = pytest.importorskip("torchrecurrent")
    theirs = scattered(torchrecurrent.coRNNCell(4, 5, dt=0.3, gamma=1.7, epsilon=0.6))
    ours = coRNNCell(4, 5, dt=0.3, gamma=1.7, epsilon=0.6, dtype=torch.float64)
    with torch.no_grad():
        ours.weight_ih.copy_(theirs.weight_ih)
        ours.weight_yh.copy_(theirs.weight_hh)
        ours.weight_zh.copy_(theirs.weight_ch)
        ours.bias_ih.copy_(theirs.bias_ih + theirs.bias_hh + theirs.bias_ch)
    assert_same_over_time(ours, theirs)


def test_an_oscillator_without_force_has_its_own_frequency() -> None:
    """y'' = -γ y: after a period of 2π/√γ the position is back."""
    cell = coRNNCell(1, 1, bias=False, dt=1e-3, gamma=4.0, epsilon=0.0, activation="identity", dtype=torch.float64)
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.zero_()
    y, z = torch.ones(1, 1, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64)
    for n in range(3142):
        y, z = cell(torch.zeros(1, 1, dtype=torch.float64), (y, z))
        if n == 1571:
            assert y.item() == pytest.approx(-1.0, abs=1e-2)
    assert y.item() == pytest.approx(1.0, abs=1e-2)


@pytest.mark.parametrize(("option", "value"), [("dt", 0), ("gamma", -1), ("epsilon", -0.5)])
def test_bad_options(option: str, value: float) -> None:
    with pytest.raises(InvalidValue, match=option):
        coRNNCell(4, 5, **{option: value})
