"""Strongly typed networks: the paper's equations, and torchrecurrent's on the same weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ostinato.cells import TGRUCell, TLSTMCell, TRNNCell
from tests.support.equations import assert_follows, assert_same_over_time, scattered, sigmoid


@pytest.mark.parametrize("bias", [False, True])
def test_the_papers_equations_of_the_rnn(bias: bool) -> None:
    def step(w, x, h):
        W, V = np.split(w["weight_ih"], 2)
        f = sigmoid(x @ V.T + w.get("bias_f", 0))
        return f * h + (1 - f) * (x @ W.T)

    assert_follows(TRNNCell(4, 5, bias=bias), step)


def products(w, x, before):
    return np.split(before @ w["weight_before"].T + x @ w["weight_ih"].T + w.get("bias_ih", 0), 3, axis=-1)


@pytest.mark.parametrize("bias", [False, True])
def test_the_papers_equations_of_the_gru(bias: bool) -> None:
    def step(w, x, h, before):
        z, f, o = products(w, x, before)
        return sigmoid(f) * h + z * np.tanh(o), x

    assert_follows(TGRUCell(4, 5, bias=bias), step)


@pytest.mark.parametrize("bias", [False, True])
def test_the_papers_equations_of_the_lstm(bias: bool) -> None:
    def step(w, x, c, before):
        z, f, o = products(w, x, before)
        c = sigmoid(f) * c + (1 - sigmoid(f)) * z
        return c * np.tanh(o), c, x

    assert_follows(TLSTMCell(4, 5, bias=bias), step)


def test_another_activation() -> None:
    def step(w, x, h, before):
        z, f, o = products(w, x, before)
        return sigmoid(f) * h + z * np.sin(o), x

    assert_follows(TGRUCell(4, 5, activation=torch.sin), step)


def test_torchrecurrents_rnn() -> None:
    torchrecurrent = pytest.importorskip("torchrecurrent")
    ours = scattered(TRNNCell(4, 5))
    theirs = torchrecurrent.TRNNCell(4, 5, dtype=torch.float64)
    weights = ours.state_dict()
    theirs.load_state_dict({"weight_ih": weights["weight_ih"], "bias_ih": torch.cat([torch.zeros(5), ours.bias_f])})
    assert_same_over_time(ours, theirs)


def as_theirs(cell) -> dict[str, torch.Tensor]:
    weights = {name.replace("weight_before", "weight_hh"): value for name, value in cell.state_dict().items()}
    return weights | {"bias_hh": torch.zeros(15)}


def test_torchrecurrents_gru() -> None:
    torchrecurrent = pytest.importorskip("torchrecurrent")
    ours = scattered(TGRUCell(4, 5))
    theirs = torchrecurrent.TGRUCell(4, 5, dtype=torch.float64)
    theirs.load_state_dict(as_theirs(ours))
    assert_same_over_time(ours, theirs)


def test_torchrecurrents_lstm() -> None:
    torchrecurrent = pytest.importorskip("torchrecurrent")
    ours = scattered(TLSTMCell(4, 5))
    theirs = torchrecurrent.TLSTMCell(4, 5, dtype=torch.float64)
    theirs.load_state_dict(as_theirs(ours))
    state = their_state = None
    for x in torch.randn(6, 3, 4, dtype=torch.float64):
        (h, state), (their_h, their_state) = ours(x, state), theirs(x, their_state)
        for one, two in zip((h, *state), (their_h, *their_state), strict=True):
            torch.testing.assert_close(one, two, rtol=0, atol=1e-12)
