"""The residual LSTM: the paper's equations, with x as it is and through a matrix, and torchrecurrent's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ostinato.cells import ResLSTMCell
from tests.support.equations import assert_follows, assert_same_over_time, scattered, sigmoid


def step(w, x, h, c):
    i, f, g, o = np.split(x @ w["weight_ih"].T + h @ w["weight_hh"].T + w.get("bias_ih", 0), 4, axis=-1)
    c = sigmoid(f + w["peephole_f"] * c) * c + sigmoid(i + w["peephole_i"] * c) * np.tanh(g)
    shortcut = x @ w["weight_xh"].T if "weight_xh" in w else x
    return sigmoid(o + w["peephole_o"] * c) * (np.tanh(c) @ w["weight_p"].T + shortcut), c


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("input_size", [4, 5])
def test_the_papers_equations(input_size: int, bias: bool) -> None:
    cell = ResLSTMCell(input_size, 5, bias=bias)
    assert (cell.weight_xh is None) == (input_size == 5)
    assert_follows(cell, step)


@pytest.mark.parametrize("input_size", [4, 5])
def test_torchrecurrents(input_size: int) -> None:
    torchrecurrent = pytest.importorskip("torchrecurrent")
    ours = scattered(ResLSTMCell(input_size, 5, project=True))
    theirs = torchrecurrent.ResLSTMCell(input_size, 5, dtype=torch.float64)
    weights = ours.state_dict()
    theirs.load_state_dict(
        {name: weights[name] for name in ("weight_ih", "weight_hh", "bias_ih")}
        | {
            "weight_proj": weights["weight_p"],
            "weight_res": weights["weight_xh"],
            "weight_ph": torch.cat([weights[f"peephole_{gate}"] for gate in "ifo"]),
            "bias_hh": torch.zeros(20),
        }
    )
    assert_same_over_time(ours, theirs)


def test_x_as_it_is_needs_the_width_of_the_state() -> None:
    with pytest.raises(ValueError, match=r"project = False needs input_size = hidden_size, got 4 and 5"):
        ResLSTMCell(4, 5, project=False)
