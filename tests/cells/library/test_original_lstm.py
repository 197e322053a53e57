"""The LSTM of 1997: the paper's equations, and torchrecurrent's, which has other squashing functions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ostinato.cells import OriginalLSTMCell
from tests.support.equations import assert_follows, assert_same_over_time, scattered, sigmoid


@pytest.mark.parametrize("bias", [False, True])
def test_the_papers_equations(bias: bool) -> None:
    def step(w, x, h, s):
        net = x @ w["weight_ih"].T + h @ w["weight_hh"].T + w.get("bias_ih", 0)
        net_in, net_c, net_out = np.split(net, 3, axis=-1)
        s = s + sigmoid(net_in) * (4 * sigmoid(net_c) - 2)
        return sigmoid(net_out) * (2 * sigmoid(s) - 1), s

    assert_follows(OriginalLSTMCell(4, 5, bias=bias), step)


def test_torchrecurrents() -> None:
    """tanh(v) = 2σ(2v) - 1: with the candidate's weights halved there, and half the cell state, it is the same."""
    torchrecurrent = pytest.importorskip("torchrecurrent")
    ours = scattered(OriginalLSTMCell(4, 5))

    class Doubled(torchrecurrent.OriginalLSTMCell):
        def forward(self, inp, state=None):
            h, c = super().forward(inp, None if state is None else (state[0], state[1] / 2))
            return h, 2 * c

    theirs = Doubled(4, 5, dtype=torch.float64)
    weights = {name: value.clone() for name, value in ours.state_dict().items()}
    for value in weights.values():
        value[5:10] /= 2
    theirs.load_state_dict(weights | {"bias_hh": torch.zeros(15)})
    assert_same_over_time(ours, theirs)


def test_without_a_gate_that_forgets_what_came_in_stays() -> None:
    cell = scattered(OriginalLSTMCell(4, 5))
    with torch.no_grad():
        cell.bias_ih[:5] = -1e3
    s = torch.randn(3, 5, dtype=torch.float64)
    h = torch.zeros_like(s)
    for _ in range(50):
        h, now = cell(torch.randn(3, 4, dtype=torch.float64), (h, s))
        assert torch.equal(now, s)
