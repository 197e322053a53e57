"""The update gate recurrent network: the paper's equations, and torchrecurrent's on the same weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ostinato.cells import UGRNNCell
from tests.support.equations import assert_follows, assert_same_over_time, relu, scattered, sigmoid


@pytest.mark.parametrize(("activation", "s"), [("tanh", np.tanh), ("relu", relu), (torch.relu, relu)])
def test_the_papers_equations(activation, s) -> None:
    def step(w, x, h):
        W_c, W_g = np.split(w["weight_ih"], 2)
        U_c, U_g = np.split(w["weight_hh"], 2)
        b_c, b_g = np.split(w["bias_ih"], 2)
        c = s(x @ W_c.T + h @ U_c.T + b_c)
        g = sigmoid(x @ W_g.T + h @ U_g.T + b_g)
        return g * h + (1 - g) * c

    assert_follows(UGRNNCell(4, 5, activation=activation), step)


def test_a_forget_bias_is_the_gates() -> None:
    cell = UGRNNCell(4, 5, forget_bias=1.5)
    assert torch.equal(cell.bias_ih[5:], torch.full((5,), 1.5))
    assert (cell.bias_ih[:5].abs() <= 5**-0.5).all()
    with pytest.raises(ValueError, match=r"forget_bias = 1.5 needs bias=True"):
        UGRNNCell(4, 5, bias=False, forget_bias=1.5)


def test_an_unknown_activation() -> None:
    with pytest.raises(ValueError, match=r"activation must be one of .*got 'tan'; did you mean 'tanh'"):
        UGRNNCell(4, 5, activation="tan")


def test_torchrecurrents() -> None:
    torchrecurrent = pytest.importorskip("torchrecurrent")
    ours = scattered(UGRNNCell(4, 5))
    theirs = torchrecurrent.UGRNNCell(4, 5, recurrent_bias=False, dtype=torch.float64)
    theirs.load_state_dict(ours.state_dict() | {"bias_hh": torch.zeros(10)})
    assert_same_over_time(ours, theirs)
