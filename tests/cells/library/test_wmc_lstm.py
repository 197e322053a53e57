"""Working memory connections: the paper's equations, and torchrecurrent's on the same weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import ostinato
from ostinato.cells import WMCLSTMCell
from tests.support.equations import assert_follows, assert_same_over_time, scattered, sigmoid


@pytest.mark.parametrize("bias", [False, True])
def test_the_papers_equations(bias: bool) -> None:
    def step(w, x, h, c):
        net = x @ w["weight_ih"].T + h @ w["weight_hh"].T + w.get("bias_ih", 0)
        i, f, g, o = np.split(net, 4, axis=-1)
        W_ic, W_fc, W_oc = np.split(w["weight_ch"], 3)
        new = sigmoid(f + np.tanh(c @ W_fc.T)) * c + sigmoid(i + np.tanh(c @ W_ic.T)) * np.tanh(g)
        return sigmoid(o + np.tanh(new @ W_oc.T)) * np.tanh(new), new

    assert_follows(WMCLSTMCell(4, 5, bias=bias), step)


def test_torchrecurrents() -> None:
    torchrecurrent = pytest.importorskip("torchrecurrent")
    ours = scattered(WMCLSTMCell(4, 5))
    theirs = torchrecurrent.WMCLSTMCell(4, 5, dtype=torch.float64)
    weights = ours.state_dict()
    memory = {"weight_mh": weights.pop("weight_ch"), "bias_mh": torch.zeros(15)}
    theirs.load_state_dict(weights | memory | {"bias_hh": torch.zeros(20)})
    assert_same_over_time(ours, theirs)


def test_without_the_connections_it_is_the_lstm() -> None:
    ours, lstm = scattered(WMCLSTMCell(4, 5)), ostinato.LSTMCell(4, 5, dtype=torch.float64)
    weights = ours.state_dict()
    weights.pop("weight_ch").zero_()
    lstm.load_state_dict(weights | {"bias_hh": torch.zeros(20)})
    assert_same_over_time(ours, lstm)
