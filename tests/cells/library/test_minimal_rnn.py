"""The minimal recurrent network: the paper's equations, and torchrecurrent's on the same weights."""

from __future__ import annotations

import numpy as np
import pytest

from ostinato.cells import MinimalRNNCell
from tests.support.equations import assert_follows, assert_same_over_time, relu, scattered, sigmoid


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("activation", "phi"), [("tanh", np.tanh), ("relu", relu)])
def test_the_papers_equations(activation: str, phi, bias: bool) -> None:
    def step(w, x, h):
        z = phi(x @ w["weight_ih"].T + w.get("bias_ih", 0))
        u = sigmoid(h @ w["weight_hh"].T + z @ w["weight_zh"].T + w.get("bias_hh", 0))
        return u * h + (1 - u) * z

    assert_follows(MinimalRNNCell(4, 5, bias, activation=activation), step)


def test_torchrecurrents() -> None:
    torchrecurrent = pytest.importorskip("torchrecurrent")
    ours = scattered(MinimalRNNCell(4, 5))
    theirs = torchrecurrent.MinimalRNNCell(4, 5).double()
    theirs.load_state_dict({name.replace("zh", "mm"): value for name, value in ours.state_dict().items()})
    assert_same_over_time(ours, theirs)
