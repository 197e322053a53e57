"""The stackable recurrent cell: the paper's equations, and torchrecurrent's on the same weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ostinato.cells import STARCell
from tests.support.equations import assert_follows, assert_same_over_time, scattered, sigmoid


@pytest.mark.parametrize("bias", [False, True])
def test_the_papers_equations(bias: bool) -> None:
    def step(w, x, h):
        W_x, W_z = np.split(w["weight_ih"], 2)
        b_k, b_z = np.split(w["bias_ih"], 2) if bias else (0, 0)
        k = sigmoid(x @ W_x.T + h @ w["weight_hh"].T + b_k)
        return np.tanh((1 - k) * h + k * np.tanh(x @ W_z.T + b_z))

    assert_follows(STARCell(4, 5, bias=bias), step)


def test_torchrecurrents() -> None:
    torchrecurrent = pytest.importorskip("torchrecurrent")
    ours = scattered(STARCell(4, 5))
    theirs = torchrecurrent.STARCell(4, 5, dtype=torch.float64)
    weights = ours.state_dict()
    turned = {name: torch.cat(weights[name].chunk(2)[::-1]) for name in ("weight_ih", "bias_ih")}
    theirs.load_state_dict(weights | turned | {"bias_hh": torch.zeros(5)})
    assert_same_over_time(ours, theirs)
