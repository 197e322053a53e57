"""UnICORNN: the paper's equations, torchrecurrent's on the same weights, and a step that can be undone."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from ostinato.cells import UnICORNNCell
from tests.support.equations import assert_follows, assert_same_over_time, scattered


@pytest.mark.parametrize("bias", [False, True])
def test_the_papers_equations(bias: bool) -> None:
    def step(w, x, y, z):
        scale = 0.3 * (0.5 + 0.5 * np.tanh(w["control"] / 2))
        z = z - scale * (np.tanh(w["weight_hh"] * y + x @ w["weight_ih"].T + w.get("bias_ih", 0)) + 1.5 * y)
        return y + scale * z, z

    assert_follows(UnICORNNCell(4, 5, bias=bias, dt=0.3, alpha=1.5), step)


def test_torchrecurrents() -> None:
    torchrecurrent = pytest.importorskip("torchrecurrent")
    ours = scattered(UnICORNNCell(4, 5, dt=0.3, alpha=1.5))
    theirs = torchrecurrent.UnICORNNCell(4, 5, dt=0.3, alpha=1.5, dtype=torch.float64)
    weights = {name.replace("control", "weight_ch"): value for name, value in ours.state_dict().items()}
    theirs.load_state_dict(weights | {"bias_hh": torch.zeros(5)})
    assert_same_over_time(ours, theirs)


def test_a_step_can_be_undone() -> None:
    cell = scattered(UnICORNNCell(4, 5, dt=0.5, alpha=1.5))
    x, y_0, z_0 = (torch.randn(3, size, dtype=torch.float64) for size in (4, 5, 5))
    y, z = cell(x, (y_0, z_0))
    scale = 0.5 * torch.sigmoid(cell.control)
    y = y - scale * z
    z = z + scale * (torch.tanh(cell.weight_hh * y + x @ cell.weight_ih.T + cell.bias_ih) + 1.5 * y)
    torch.testing.assert_close(y, y_0)
    torch.testing.assert_close(z, z_0)


def test_what_it_begins_with() -> None:
    cell = UnICORNNCell(50, 400)
    bound = math.sqrt(6 / (65 * 50))
    assert 0.95 * bound < cell.weight_ih.abs().max() <= bound
    assert 0 <= cell.weight_hh.min() < 0.05
    assert 0.95 < cell.weight_hh.max() <= 1
    assert 0.09 < cell.control.max() <= 0.1
    assert -0.1 <= cell.control.min() < -0.09
    assert (cell.bias_ih == 0).all()


@pytest.mark.parametrize(("option", "value", "rule"), [("dt", 0, "greater than 0"), ("alpha", -1, "at least 0")])
def test_bad_options(option: str, value: float, rule: str) -> None:
    with pytest.raises(ValueError, match=rf"{option} must be {rule}, got {value}"):
        UnICORNNCell(4, 5, **{option: value})
