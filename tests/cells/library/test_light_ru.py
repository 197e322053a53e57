"""The light recurrent unit: the paper's equations, and torchrecurrent's on the same weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ostinato.cells import LightRUCell
from tests.support.equations import assert_follows, assert_same_over_time, scattered, sigmoid


@pytest.mark.parametrize("bias", [False, True])
def test_the_papers_equations(bias: bool) -> None:
    def step(w, x, h):
        U_f, W_h = np.split(w["weight_ih"], 2)
        f = sigmoid(h @ w["weight_hh"].T + x @ U_f.T + w.get("bias_hh", 0))
        return (1 - f) * h + f * np.tanh(x @ W_h.T)

    assert_follows(LightRUCell(4, 5, bias=bias), step)


def test_torchrecurrents() -> None:
    torchrecurrent = pytest.importorskip("torchrecurrent")
    ours = scattered(LightRUCell(4, 5))
    theirs = torchrecurrent.LightRUCell(4, 5, dtype=torch.float64)
    weights = ours.state_dict()
    of_f, of_n = weights["weight_ih"].chunk(2)
    theirs.load_state_dict(weights | {"weight_ih": torch.cat([of_n, of_f]), "bias_ih": torch.zeros(10)})
    assert_same_over_time(ours, theirs)
