"""Bistable cells: the paper's equations, torchrecurrent's on the same weights, and the two stable points."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ostinato.cells import BRCell, NBRCell
from tests.support.equations import assert_follows, assert_same_over_time, scattered, sigmoid


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("kind", [BRCell, NBRCell])
def test_the_papers_equations(kind, bias: bool) -> None:
    def step(w, x, h):
        U_a, U_c, U = np.split(w["weight_ih"], 3)
        w_a, w_c = np.split(w["weight_hh"], 2)
        b_a, b_c = np.split(w["bias_hh"], 2) if bias else (0, 0)
        of_a, of_c = (w_a * h, w_c * h) if kind is BRCell else (h @ w_a.T, h @ w_c.T)
        a = 1 + np.tanh(x @ U_a.T + of_a + b_a)
        c = sigmoid(x @ U_c.T + of_c + b_c)
        return c * h + (1 - c) * np.tanh(x @ U.T + a * h)

    assert_follows(kind(4, 5, bias=bias), step)


@pytest.mark.parametrize("kind", [BRCell, NBRCell])
def test_torchrecurrents(kind) -> None:
    torchrecurrent = pytest.importorskip("torchrecurrent")
    ours = scattered(kind(4, 5))
    theirs = getattr(torchrecurrent, kind.__name__)(4, 5, dtype=torch.float64)
    theirs.load_state_dict(ours.state_dict() | {"bias_ih": torch.zeros(15)})
    assert_same_over_time(ours, theirs)


def test_what_they_begin_with() -> None:
    cell = BRCell(4, 5)
    assert (cell.weight_hh == 1).all()
    for made in (cell, NBRCell(4, 5)):
        assert (made.bias_hh == 0).all()
        assert made.weight_ih.std() > 0.1


def test_a_unit_keeps_one_of_two_values() -> None:
    """With a = 1 + tanh(2) the fixed points solve h = tanh(a h); which one a unit reaches is where it stood."""
    cell = scattered(BRCell(1, 2))
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.zero_()
        cell.bias_hh[:2] = 2.0
    h, x = torch.tensor([[0.3, -0.3]], dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64)
    for _ in range(200):
        h = cell(x, h)
    point = h[0, 0].item()
    assert point == pytest.approx(np.tanh((1 + np.tanh(2)) * point), abs=1e-12)
    assert point > 0.9
    torch.testing.assert_close(h[0, 1], -h[0, 0])
