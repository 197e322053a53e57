"""minLSTM: the paper's equations."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ostinato.cells import MinLSTMCell
from tests.support.equations import assert_follows, sigmoid


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("positive", [True, False])
def test_the_papers_equations(normalise: bool, positive: bool) -> None:
    def step(w, x, h):
        W_f, W_i, W_h = np.split(w["weight_ih"], 3)
        b_f, b_i, b_h = np.split(w["bias_ih"], 3)
        f, i, new = sigmoid(x @ W_f.T + b_f), sigmoid(x @ W_i.T + b_i), x @ W_h.T + b_h
        if positive:
            new = np.where(new >= 0, new + 0.5, sigmoid(new))
        if normalise:
            f, i = f / (f + i), i / (f + i)
        return f * h + i * new

    assert_follows(MinLSTMCell(4, 5, normalise=normalise, positive=positive), step)


def test_normalised_gates_keep_the_state_between_old_and_new() -> None:
    cell = MinLSTMCell(4, 5)
    x, h = torch.randn(50, 4) * 3, torch.full((50, 5), 3.0)
    new = torch.nn.functional.linear(x, cell.weight_ih, cell.bias_ih)[:, 10:]
    found = cell(x, h)
    assert (found >= torch.minimum(h, new) - 1e-5).all()
    assert (found <= torch.maximum(h, new) + 1e-5).all()
