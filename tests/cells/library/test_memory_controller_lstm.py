"""The LSTM with a memory controller: the paper's equations, and torchrecurrent's on the same weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import ostinato
from ostinato.cells import MemoryControllerLSTMCell
from tests.support.equations import assert_follows, scattered, sigmoid


@pytest.mark.parametrize("bias", [False, True])
def test_the_papers_equations(bias: bool) -> None:
    def step(w, x, v, c):
        net = x @ w["weight_ih"].T + v @ w["weight_hh"].T + w.get("bias_ih", 0)
        f, i, o, m, n = np.split(net, 5, axis=-1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(n)
        return sigmoid(o) * np.tanh(c), sigmoid(m) * np.tanh(c), c

    assert_follows(MemoryControllerLSTMCell(4, 5, bias=bias), step)


def test_torchrecurrents() -> None:
    torchrecurrent = pytest.importorskip("torchrecurrent")
    ours = scattered(MemoryControllerLSTMCell(4, 5))
    theirs = torchrecurrent.MCLSTMCell(4, 5, dtype=torch.float64)
    theirs.load_state_dict(ours.state_dict() | {"bias_hh": torch.zeros(25)})
    state = their_state = None
    for x in torch.randn(6, 3, 4, dtype=torch.float64):
        (h, state), (their_h, their_state) = ours(x, state), theirs(x, their_state)
        for one, two in zip((h, *state), (their_h, *their_state), strict=True):
            torch.testing.assert_close(one, two, rtol=0, atol=1e-12)


def test_with_the_same_gate_twice_it_is_the_lstm() -> None:
    ours, lstm = scattered(MemoryControllerLSTMCell(4, 5)), ostinato.LSTMCell(4, 5, dtype=torch.float64)
    with torch.no_grad():
        for name in ("weight_ih", "weight_hh", "bias_ih"):
            f, i, o, m, n = getattr(ours, name).chunk(5)
            m.copy_(o)
            getattr(lstm, name).copy_(torch.cat([i, f, n, o]))
        lstm.bias_hh.zero_()
    state = lstm_state = None
    for x in torch.randn(6, 3, 4, dtype=torch.float64):
        h, state = ours(x, state)
        lstm_state = lstm(x, lstm_state)
        torch.testing.assert_close(h, lstm_state[0])
