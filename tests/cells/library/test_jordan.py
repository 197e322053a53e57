"""Jordan's network: the equations, with a context that is the output and one that decays."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import ostinato
from ostinato.cells import JordanCell
from tests.support.equations import assert_follows, sigmoid


@pytest.mark.parametrize("decay", [0.0, 0.6])
@pytest.mark.parametrize("output_bias", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_the_equations(bias: bool, output_bias: bool, decay: float) -> None:
    def step(w, x, s):
        h = np.tanh(x @ w["weight_ih"].T + s @ w["weight_hh"].T + w.get("bias_ih", 0))
        y = sigmoid(h @ w["weight_ho"].T + w.get("bias_ho", 0))
        return y, decay * s + y

    options = {"output_size": 3, "output_bias": output_bias, "output_activation": "sigmoid", "decay": decay}
    assert_follows(JordanCell(4, 5, bias, **options), step)


def test_without_decay_the_context_is_the_output() -> None:
    y, s = JordanCell(4, 5)(torch.randn(2, 4))
    assert torch.equal(y, s)


def test_with_an_output_of_the_identity_it_is_a_simple_network() -> None:
    """W_ho = 1, so that y = h: then it is the simple recurrent cell, whose own equations are torch's."""
    ours, simple = JordanCell(4, 5, dtype=torch.float64), ostinato.RNNCell(4, 5, dtype=torch.float64)
    with torch.no_grad():
        ours.weight_ho.copy_(torch.eye(5))
        ours.bias_ho.zero_()
        simple.weight_ih.copy_(ours.weight_ih)
        simple.weight_hh.copy_(ours.weight_hh)
        simple.bias_ih.copy_(ours.bias_ih)
        simple.bias_hh.zero_()
    s = h = torch.zeros(3, 5, dtype=torch.float64)
    for x in torch.randn(6, 3, 4, dtype=torch.float64):
        (y, s), h = ours(x, s), simple(x, h)
        torch.testing.assert_close(y, h, rtol=0, atol=1e-12)


def test_options_that_are_none() -> None:
    with pytest.raises(ValueError, match=r"decay must be less than 1, .* got 1.0"):
        JordanCell(4, 5, decay=1.0)
    with pytest.raises(ValueError, match=r"decay must be at least 0, got -0.1"):
        JordanCell(4, 5, decay=-0.1)
    with pytest.raises(ValueError, match=r"output_activation must be one of"):
        JordanCell(4, 5, output_activation="softmax")
