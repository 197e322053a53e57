"""minGRU: the paper's equations, and its sequence at once."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import ostinato
from ostinato.cells import MinGRUCell
from ostinato.errors import InvalidType
from tests.support.equations import assert_follows, sigmoid


def g(v):
    return np.where(v >= 0, v + 0.5, sigmoid(v))


@pytest.mark.parametrize("positive", [False, True])
def test_the_papers_equations(positive: bool) -> None:
    def step(w, x, h):
        W_z, W_h = np.split(w["weight_ih"], 2)
        b_z, b_h = np.split(w["bias_ih"], 2)
        z = sigmoid(x @ W_z.T + b_z)
        new = x @ W_h.T + b_h
        return (1 - z) * h + z * (g(new) if positive else new)

    assert_follows(MinGRUCell(4, 5, positive=positive), step)


def test_a_positive_candidate_in_logarithms() -> None:
    """The paper's own way to a whole sequence: sums of logarithms."""
    layer = ostinato.Recurrent("min-gru", 4, 5, positive=True, dtype=torch.float64)
    x, h_0 = torch.randn(20, 3, 4, dtype=torch.float64), torch.rand(1, 3, 5, dtype=torch.float64)
    k, new = (x @ layer.weight_ih_l0.T + layer.bias_ih_l0).chunk(2, dim=-1)
    softplus = torch.nn.functional.softplus
    log_kept, log_let_in = -softplus(k), -softplus(-k)
    log_new = torch.where(new >= 0, (new.relu() + 0.5).log(), -softplus(-new))
    kept = torch.cat([torch.zeros(1, 3, 5, dtype=torch.float64), log_kept.cumsum(0)])
    parts = torch.cat([h_0.log(), log_let_in + log_new]) - kept
    expected = (kept + parts.logcumsumexp(0)).exp()[1:]
    torch.testing.assert_close(layer(x, h_0)[0], expected, rtol=1e-12, atol=1e-12)


def test_a_flag_is_a_flag() -> None:
    with pytest.raises(InvalidType, match="positive must be True or False, got 'relu'"):
        MinGRUCell(4, 5, positive="relu")
