"""Strongly typed networks: the paper's equations, and torchrecurrent's on the same weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import ostinato
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
    return np.split(before + x @ w["weight_ih"].T + w.get("bias_ih", 0), 3, axis=-1)


@pytest.mark.parametrize("bias", [False, True])
def test_the_papers_equations_of_the_gru(bias: bool) -> None:
    def step(w, x, h, before):
        z, f, o = products(w, x, before)
        return sigmoid(f) * h + z * np.tanh(o), x @ w["weight_before"].T

    assert_follows(TGRUCell(4, 5, bias=bias), step)


@pytest.mark.parametrize("bias", [False, True])
def test_the_papers_equations_of_the_lstm(bias: bool) -> None:
    def step(w, x, c, before):
        z, f, o = products(w, x, before)
        c = sigmoid(f) * c + (1 - sigmoid(f)) * z
        return c * np.tanh(o), c, x @ w["weight_before"].T

    assert_follows(TLSTMCell(4, 5, bias=bias), step)


def test_another_activation() -> None:
    def step(w, x, h, before):
        z, f, o = products(w, x, before)
        return sigmoid(f) * h + z * np.sin(o), x @ w["weight_before"].T

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


@pytest.mark.parametrize("kind", [TGRUCell, TLSTMCell])
def test_torchrecurrents_gru_and_lstm(kind) -> None:
    torchrecurrent = pytest.importorskip("torchrecurrent")
    ours = scattered(kind(4, 5))
    theirs = getattr(torchrecurrent, kind.__name__)(4, 5, dtype=torch.float64)
    weights = {name.replace("weight_before", "weight_hh"): value for name, value in ours.state_dict().items()}
    theirs.load_state_dict(weights | {"bias_hh": torch.zeros(15)})
    state = their_state = None
    for x in torch.randn(6, 3, 4, dtype=torch.float64):
        got, expected = ours(x, state), theirs(x, their_state)
        state, their_state = (got, expected) if kind is TGRUCell else (got[1], expected[1])
        for one, two in ((got[0], expected[0]), (state[0], their_state[0])):
            torch.testing.assert_close(one, two, rtol=0, atol=1e-12)
        torch.testing.assert_close(state[1], their_state[1] @ ours.weight_before.T)


def test_the_x_before_is_read_one_step_later() -> None:
    """The layer against a convolution over two steps, as the paper describes its features."""
    layer = scattered(ostinato.Recurrent("t-gru", 4, 5, activation="identity"))
    x = torch.randn(7, 3, 4, dtype=torch.float64)
    padded = torch.cat([torch.zeros(1, 3, 4, dtype=torch.float64), x])
    z, f, o = (x @ layer.weight_ih_l0.T + layer.bias_ih_l0 + padded[:-1] @ layer.weight_before_l0.T).chunk(3, dim=-1)
    h, expected = torch.zeros(3, 5, dtype=torch.float64), []
    for n in range(7):
        h = torch.sigmoid(f[n]) * h + z[n] * o[n]
        expected.append(h)
    torch.testing.assert_close(layer(x)[0], torch.stack(expected))
