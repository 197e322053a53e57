"""The coupled-gate LSTM: the paper's equations, with and without peepholes, and an LSTM made to couple its gates."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import ostinato
from ostinato.cells import CIFGLSTMCell
from tests.support.equations import assert_follows, scattered, sigmoid


@pytest.mark.parametrize("peepholes", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_the_papers_equations(peepholes: bool, bias: bool) -> None:
    def step(w, x, h, c):
        net = x @ w["weight_ih"].T + h @ w["weight_hh"].T + w.get("bias_ih", 0)
        i, z, o = np.split(net, 3, axis=-1)
        i = sigmoid(i + w.get("peephole_i", 0) * c)
        c = i * np.tanh(z) + (1 - i) * c
        return sigmoid(o + w.get("peephole_o", 0) * c) * np.tanh(c), c

    cell = CIFGLSTMCell(4, 5, bias=bias, peepholes=peepholes)
    assert len(list(cell.parameters())) == 2 + bias + 2 * peepholes
    assert_follows(cell, step)


def test_an_lstm_with_opposite_gates_is_the_same() -> None:
    """σ(-a) = 1 - σ(a): an LSTM whose forget rows are its input rows' negatives couples its gates."""
    ours, lstm = scattered(CIFGLSTMCell(4, 5)), ostinato.LSTMCell(4, 5, dtype=torch.float64)
    with torch.no_grad():
        for name in ("weight_ih", "weight_hh", "bias_ih"):
            i, z, o = getattr(ours, name).chunk(3)
            getattr(lstm, name).copy_(torch.cat([i, -i, z, o]))
        lstm.bias_hh.zero_()
    x, state = torch.randn(3, 4, dtype=torch.float64), (torch.randn(3, 5, dtype=torch.float64),) * 2
    for one, two in zip(ours(x, state), lstm(x, state), strict=True):
        torch.testing.assert_close(one, two)


def test_a_wrong_flag() -> None:
    with pytest.raises(TypeError, match=r"peepholes must be True or False, got 1"):
        CIFGLSTMCell(4, 5, peepholes=1)
