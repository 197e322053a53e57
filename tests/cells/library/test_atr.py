"""ATR: the paper's equations, and torchrecurrent's on the same weights."""

from __future__ import annotations

import pytest
import torch

from ostinato.cells import ATRCell
from tests.support.equations import assert_follows, assert_same_over_time, scattered, sigmoid


@pytest.mark.parametrize("bias", [False, True])
def test_the_papers_equations(bias: bool) -> None:
    def step(w, x, h):
        p = x @ w["weight_ih"].T + w.get("bias_ih", 0)
        q = h @ w["weight_hh"].T
        return sigmoid(p + q) * p + sigmoid(p - q) * h

    assert_follows(ATRCell(4, 5, bias=bias), step)


def test_torchrecurrents() -> None:
    torchrecurrent = pytest.importorskip("torchrecurrent")
    ours = scattered(ATRCell(4, 5))
    theirs = torchrecurrent.ATRCell(4, 5, dtype=torch.float64)
    theirs.load_state_dict(ours.state_dict() | {"bias_hh": torch.zeros(5)})
    assert_same_over_time(ours, theirs)


def test_a_bias_in_q_cannot_be_moved_into_p() -> None:
    """Why torchrecurrent's second bias is not this cell's: with h = 0, q's bias enters f with the other sign."""
    torchrecurrent = pytest.importorskip("torchrecurrent")
    ours = scattered(ATRCell(4, 5))
    theirs = torchrecurrent.ATRCell(4, 5, dtype=torch.float64)
    weights = ours.state_dict()
    theirs.load_state_dict(weights | {"bias_ih": torch.zeros(5), "bias_hh": weights["bias_ih"]})
    x, h = torch.randn(3, 4, dtype=torch.float64), torch.randn(3, 5, dtype=torch.float64)
    assert not torch.allclose(ours(x, h), theirs(x, h))
