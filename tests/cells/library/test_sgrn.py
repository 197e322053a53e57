"""The simple gated recurrent network: the paper's equations, and torchrecurrent's on the same weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ostinato.cells import SGRNCell
from tests.support.equations import assert_follows, assert_same_over_time, scattered, sigmoid


@pytest.mark.parametrize("bias", [False, True])
def test_the_papers_equations(bias: bool) -> None:
    def step(w, x, h):
        f = sigmoid(x @ w["weight_ih"].T + h @ w["weight_hh"].T + w.get("bias_hh", 0))
        return np.tanh((1 - f) * (x @ w["weight_ih"].T) + f * h)

    assert_follows(SGRNCell(4, 5, bias=bias), step)


def test_torchrecurrents() -> None:
    torchrecurrent = pytest.importorskip("torchrecurrent")
    ours = scattered(SGRNCell(4, 5))
    theirs = torchrecurrent.SGRNCell(4, 5, dtype=torch.float64)
    theirs.load_state_dict(ours.state_dict() | {"bias_ih": torch.zeros(5)})
    assert_same_over_time(ours, theirs)
