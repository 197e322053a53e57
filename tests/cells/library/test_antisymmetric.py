"""The antisymmetric network: the paper's equations, and torchrecurrent's on the same weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ostinato.cells import AntisymmetricRNNCell
from ostinato.errors import InvalidValue
from tests.support.equations import assert_follows, assert_same_over_time, scattered, sigmoid


@pytest.mark.parametrize("gated", [False, True])
def test_the_papers_equations(gated: bool) -> None:
    def step(w, x, h):
        A = w["weight_hh"] - w["weight_hh"].T - 0.2 * np.eye(5)
        of_x = x @ w["weight_ih"].T + w["bias_ih"]
        new = np.tanh(h @ A.T + of_x[:, -5:])
        return h + 0.3 * (sigmoid(h @ A.T + of_x[:, :5]) * new if gated else new)

    assert_follows(AntisymmetricRNNCell(4, 5, epsilon=0.3, gamma=0.2, gated=gated), step)


@pytest.mark.parametrize("gated", [False, True])
def test_torchrecurrent(gated: bool) -> None:
    torchrecurrent = pytest.importorskip("torchrecurrent")
    kind = torchrecurrent.GatedAntisymmetricRNNCell if gated else torchrecurrent.AntisymmetricRNNCell
    theirs = scattered(kind(4, 5, epsilon=0.3, gamma=0.2))
    ours = AntisymmetricRNNCell(4, 5, epsilon=0.3, gamma=0.2, gated=gated, dtype=torch.float64)
    with torch.no_grad():
        ours.weight_ih.copy_(theirs.weight_ih)
        ours.weight_hh.copy_(theirs.weight_hh)
        ours.bias_ih.copy_(theirs.bias_ih)
        ours.bias_ih[-5:] += theirs.bias_hh
    assert_same_over_time(ours, theirs)


def test_the_norm_is_kept_where_the_equation_keeps_it() -> None:
    """dh/dt = A h with an antisymmetric A turns h and keeps its length."""
    cell = AntisymmetricRNNCell(1, 6, bias=False, epsilon=1e-3, gamma=0.0, activation="identity", dtype=torch.float64)
    h, x = torch.randn(1, 6, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64)
    before = h
    for _ in range(2000):
        h = cell(x, h)
    assert h.norm().item() == pytest.approx(before.norm().item(), rel=1e-2)
    assert not torch.allclose(h, before, rtol=0.1)


@pytest.mark.parametrize(("option", "value"), [("epsilon", 0), ("gamma", -1)])
def test_bad_options(option: str, value: float) -> None:
    with pytest.raises(InvalidValue, match=option):
        AntisymmetricRNNCell(4, 5, **{option: value})
