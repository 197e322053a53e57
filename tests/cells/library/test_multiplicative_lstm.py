"""The multiplicative LSTM: the paper's equations, and torchrecurrent's on the same weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ostinato.cells import MultiplicativeLSTMCell
from tests.support.equations import assert_follows, assert_same_over_time, scattered, sigmoid


@pytest.mark.parametrize("bias", [True, False])
def test_the_papers_equations(bias: bool) -> None:
    def step(w, x, h, c):
        m = (x @ w["weight_mx"].T) * (h @ w["weight_mh"].T)
        net = x @ w["weight_ih"].T + m @ w["weight_hh"].T + w.get("bias_ih", 0)
        i, f, h_hat, o = np.split(net, 4, axis=-1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(h_hat)
        return sigmoid(o) * np.tanh(c), c

    assert_follows(MultiplicativeLSTMCell(4, 5, bias=bias), step)


def test_without_a_state_the_gates_see_x_alone() -> None:
    cell = scattered(MultiplicativeLSTMCell(4, 5))
    x, zeros, c = (torch.randn(3, n, dtype=torch.float64) for n in (4, 5, 5))
    zeros.zero_()
    before = cell(x, (zeros, c))
    with torch.no_grad():
        cell.weight_hh.normal_()
        cell.weight_mx.normal_()
    for one, two in zip(before, cell(x, (zeros, c)), strict=True):
        assert torch.equal(one, two)


def test_orthogonal_matrices() -> None:
    cell = MultiplicativeLSTMCell(4, 5, recurrent_init="orthogonal", dtype=torch.float64)
    for matrix in (cell.weight_mh, *cell.weight_hh.chunk(4)):
        torch.testing.assert_close(matrix @ matrix.T, torch.eye(5, dtype=torch.float64))


def test_torchrecurrents() -> None:
    """Its extra biases at zero."""
    torchrecurrent = pytest.importorskip("torchrecurrent")
    ours = scattered(MultiplicativeLSTMCell(4, 5))
    theirs = torchrecurrent.MultiplicativeLSTMCell(4, 5, dtype=torch.float64)
    w = ours.state_dict()
    theirs.load_state_dict(
        {
            "weight_ih": torch.cat([w["weight_mx"], w["weight_ih"]]),
            "weight_hh": w["weight_mh"],
            "weight_mh": w["weight_hh"],
            "bias_ih": torch.cat([torch.zeros(5), w["bias_ih"]]),
            "bias_hh": torch.zeros(5),
            "bias_mh": torch.zeros(20),
        }
    )
    assert_same_over_time(ours, theirs)
