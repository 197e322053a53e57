"""The intersection RNN: the paper's equations, with and without a projection, and torchrecurrent's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import ostinato
from ostinato.cells import IntersectionRNNCell
from tests.support.equations import assert_follows, relu, scattered, sigmoid


def step_with(s_1, s_2):
    def step(w, x, h):
        x = x @ w["weight_xh"].T if "weight_xh" in w else x
        y_in, h_in, g_y, g_h = np.split(x @ w["weight_ih"].T + h @ w["weight_hh"].T + w.get("bias_ih", 0), 4, axis=-1)
        y = sigmoid(g_y) * x + (1 - sigmoid(g_y)) * s_1(y_in)
        return y, sigmoid(g_h) * h + (1 - sigmoid(g_h)) * s_2(h_in)

    return step


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("input_size", [4, 5])
def test_the_papers_equations(input_size: int, bias: bool) -> None:
    cell = IntersectionRNNCell(input_size, 5, bias=bias)
    assert (cell.weight_xh is None) == (input_size == 5)
    assert_follows(cell, step_with(relu, np.tanh))


def test_options() -> None:
    cell = IntersectionRNNCell(5, 5, project=True, activation="sin", output_activation="tanh")
    assert cell.weight_xh is not None
    assert_follows(cell, step_with(np.tanh, np.sin))


def test_the_gates_may_begin_open() -> None:
    cell = IntersectionRNNCell(4, 5, forget_bias=1.5)
    assert (cell.bias_ih[10:] == 1.5).all()
    assert (cell.bias_ih[:10].abs() <= 5**-0.5).all()
    with pytest.raises(ValueError, match=r"forget_bias = 1.5 needs bias=True"):
        IntersectionRNNCell(4, 5, bias=False, forget_bias=1.5)
    with pytest.raises(ValueError, match=r"project = False needs input_size = hidden_size, got 4 and 5"):
        IntersectionRNNCell(4, 5, project=False)


def test_the_next_layer_reads_the_output_and_not_the_state() -> None:
    layer = ostinato.Recurrent("intersection-rnn", 4, 5, num_layers=2, dtype=torch.float64)
    x = torch.randn(6, 3, 4, dtype=torch.float64)
    first = ostinato.Recurrent("intersection-rnn", 4, 5, dtype=torch.float64)
    second = ostinato.Recurrent("intersection-rnn", 5, 5, dtype=torch.float64)
    weights = layer.state_dict()
    first.load_state_dict({name: value for name, value in weights.items() if name.endswith("_l0")})
    second.load_state_dict({name[:-1] + "0": value for name, value in weights.items() if name.endswith("_l1")})
    torch.testing.assert_close(second(first(x)[0])[0], layer(x)[0])


def test_torchrecurrents() -> None:
    torchrecurrent = pytest.importorskip("torchrecurrent")
    ours = scattered(IntersectionRNNCell(5, 5))
    theirs = torchrecurrent.IntersectionRNNCell(5, 5, dtype=torch.float64)
    theirs.load_state_dict(ours.state_dict() | {"bias_hh": torch.zeros(20)})
    state = their_state = None
    for x in torch.randn(6, 3, 5, dtype=torch.float64):
        (y, state), (their_y, their_state) = ours(x, state), theirs(x, their_state)
        torch.testing.assert_close(y, their_y, rtol=0, atol=1e-12)
        torch.testing.assert_close(state, their_state, rtol=0, atol=1e-12)
