"""Minion recurrent units: the paper's equations, and torchrecurrent's on the same weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ostinato.cells import MiRU1Cell, MiRU2Cell
from tests.support.equations import assert_follows, assert_same_over_time, scattered, sigmoid


@pytest.mark.parametrize("bias", [False, True])
def test_the_papers_equations_of_the_first(bias: bool) -> None:
    def step(w, x, h):
        (W_r, W_h), (U_r, U_h) = np.split(w["weight_ih"], 2), np.split(w["weight_hh"], 2)
        b_r, b_h = np.split(w["bias_ih"], 2) if bias else (0, 0)
        r = sigmoid(x @ W_r.T + b_r + h @ U_r.T)
        return 0.7 * h + 0.3 * np.tanh(x @ W_h.T + b_h + (r * h) @ U_h.T)

    assert_follows(MiRU1Cell(4, 5, bias=bias, update_coefficient=0.7), step)


@pytest.mark.parametrize("bias", [False, True])
def test_the_papers_equations_of_the_second(bias: bool) -> None:
    def step(w, x, h):
        new = np.tanh(x @ w["weight_ih"].T + w.get("bias_ih", 0) + (0.4 * h) @ w["weight_hh"].T)
        return 0.7 * h + 0.3 * new

    assert_follows(MiRU2Cell(4, 5, bias=bias, update_coefficient=0.7, reset_coefficient=0.4), step)


@pytest.mark.parametrize(
    ("kind", "options"),
    [(MiRU1Cell, {"update_coefficient": 0.7}), (MiRU2Cell, {"update_coefficient": 0.7, "reset_coefficient": 0.4})],
)
def test_torchrecurrents(kind, options) -> None:
    torchrecurrent = pytest.importorskip("torchrecurrent")
    ours = scattered(kind(4, 5, **options))
    theirs = getattr(torchrecurrent, kind.__name__)(4, 5, dtype=torch.float64, **options)
    theirs.load_state_dict(ours.state_dict() | {"bias_hh": torch.zeros_like(ours.bias_ih)})
    assert_same_over_time(ours, theirs)


@pytest.mark.parametrize("value", [1, -0.1, 1.5])
@pytest.mark.parametrize("kind", [MiRU1Cell, MiRU2Cell])
def test_a_coefficient_out_of_its_range(kind, value) -> None:
    with pytest.raises(ValueError, match=rf"update_coefficient must be in \[0, 1\).*got {value}"):
        kind(4, 5, update_coefficient=value)


def test_a_coefficient_that_is_no_number() -> None:
    with pytest.raises(TypeError, match=r"reset_coefficient must be a number, got 'half'"):
        MiRU2Cell(4, 5, reset_coefficient="half")
