"""The recurrent additive network: the paper's equations, and torchrecurrent's on the same weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ostinato.cells import RANCell
from tests.support.equations import assert_follows, assert_same_over_time, scattered, sigmoid


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("activation", "g"), [("tanh", np.tanh), ("identity", lambda c: c)])
def test_the_papers_equations(activation: str, g, bias: bool) -> None:
    def step(w, x, h, c):
        W_i, W_f, W_c = np.split(w["weight_ih"], 3)
        U_i, U_f = np.split(w["weight_hh"], 2)
        b_i, b_f = np.split(w.get("bias_hh", np.zeros(10)), 2)
        i = sigmoid(x @ W_i.T + h @ U_i.T + b_i)
        f = sigmoid(x @ W_f.T + h @ U_f.T + b_f)
        c = i * (x @ W_c.T) + f * c
        return g(c), c

    assert_follows(RANCell(4, 5, bias, activation=activation), step)


def test_the_content_has_no_bias_and_no_recurrent_part() -> None:
    shapes = {name: tuple(p.shape) for name, p in RANCell(4, 5).named_parameters()}
    assert shapes == {"weight_ih": (15, 4), "weight_hh": (10, 5), "bias_hh": (10,)}


def test_torchrecurrents() -> None:
    torchrecurrent = pytest.importorskip("torchrecurrent")
    ours = scattered(RANCell(4, 5))
    theirs = torchrecurrent.RANCell(4, 5, recurrent_bias=False).double()
    weights = {"weight_ih": ours.weight_ih.roll(5, 0), "weight_hh": ours.weight_hh, "bias_ih": ours.bias_hh}
    theirs.load_state_dict(weights | {"bias_hh": torch.zeros(10)})
    assert_same_over_time(ours, theirs)
