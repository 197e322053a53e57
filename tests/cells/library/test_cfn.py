"""The chaos-free network: the paper's equations, torchrecurrent's on the same weights, and rest at zero."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ostinato.cells import CFNCell
from tests.support.equations import assert_follows, assert_same_over_time, scattered, sigmoid


@pytest.mark.parametrize("bias", [False, True])
def test_the_papers_equations(bias: bool) -> None:
    def step(w, x, h):
        V_theta, V_eta, W = np.split(w["weight_ih"], 3)
        U_theta, U_eta = np.split(w["weight_hh"], 2)
        b_theta, b_eta = np.split(w["bias_hh"], 2) if bias else (0, 0)
        theta = sigmoid(h @ U_theta.T + x @ V_theta.T + b_theta)
        eta = sigmoid(h @ U_eta.T + x @ V_eta.T + b_eta)
        return theta * np.tanh(h) + eta * np.tanh(x @ W.T)

    assert_follows(CFNCell(4, 5, bias=bias), step)


def test_torchrecurrents() -> None:
    torchrecurrent = pytest.importorskip("torchrecurrent")
    ours = scattered(CFNCell(4, 5))
    theirs = torchrecurrent.CFNCell(4, 5, dtype=torch.float64)
    theirs.load_state_dict(ours.state_dict() | {"bias_ih": torch.zeros(15)})
    assert_same_over_time(ours, theirs)


def test_without_input_the_state_comes_to_rest_at_zero() -> None:
    """|tanh(h)| < |h| and θ < 1, whatever the weights are."""
    cell = scattered(CFNCell(1, 5), scale=3.0)
    h, x = 10 * torch.randn(4, 5, dtype=torch.float64), torch.zeros(4, 1, dtype=torch.float64)
    for _ in range(20_000):
        new = cell(x, h)
        assert (new.abs() <= h.abs()).all()
        if new.abs().max() < 1e-3:
            return
        h = new
    pytest.fail(f"still {h.abs().max()} from zero")
