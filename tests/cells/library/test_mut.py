"""The three mutants: the paper's equations, with x as it is and through a matrix, and torchrecurrent's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import ostinato
from ostinato.cells import MUT1Cell, MUT2Cell, MUT3Cell
from tests.support.equations import assert_follows, assert_same_over_time, scattered, sigmoid


def biases(w):
    return np.split(w["bias_hh"], 3) if "bias_hh" in w else (0, 0, 0)


def wide(w, x):
    return x @ w["weight_xh"].T if "weight_xh" in w else x


def mut1(w, x, h):
    (W_xz, W_xr), (W_hr, W_hh) = np.split(w["weight_ih"], 2), np.split(w["weight_hh"], 2)
    b_z, b_r, b_h = biases(w)
    z = sigmoid(x @ W_xz.T + b_z)
    r = sigmoid(x @ W_xr.T + h @ W_hr.T + b_r)
    return np.tanh((r * h) @ W_hh.T + np.tanh(wide(w, x)) + b_h) * z + h * (1 - z)


def mut2(w, x, h):
    (W_xz, W_xh), (W_hz, W_hr, W_hh) = np.split(w["weight_ih"], 2), np.split(w["weight_hh"], 3)
    b_z, b_r, b_h = biases(w)
    z = sigmoid(x @ W_xz.T + h @ W_hz.T + b_z)
    r = sigmoid(wide(w, x) + h @ W_hr.T + b_r)
    return np.tanh((r * h) @ W_hh.T + x @ W_xh.T + b_h) * z + h * (1 - z)


def mut3(w, x, h):
    (W_xz, W_xr, W_xh), (W_hz, W_hr, W_hh) = np.split(w["weight_ih"], 3), np.split(w["weight_hh"], 3)
    b_z, b_r, b_h = biases(w)
    z = sigmoid(x @ W_xz.T + np.tanh(h) @ W_hz.T + b_z)
    r = sigmoid(x @ W_xr.T + h @ W_hr.T + b_r)
    return np.tanh((r * h) @ W_hh.T + x @ W_xh.T + b_h) * z + h * (1 - z)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("input_size", [4, 5])
@pytest.mark.parametrize(("kind", "step"), [(MUT1Cell, mut1), (MUT2Cell, mut2), (MUT3Cell, mut3)])
def test_the_papers_equations(kind, step, input_size: int, bias: bool) -> None:
    cell = kind(input_size, 5, bias=bias)
    assert hasattr(cell, "weight_xh") == (kind is not MUT3Cell)
    assert (getattr(cell, "weight_xh", None) is not None) == (kind is not MUT3Cell and input_size == 4)
    assert_follows(cell, step)


def test_first_of_torchrecurrent() -> None:
    torchrecurrent = pytest.importorskip("torchrecurrent")
    ours = scattered(MUT1Cell(5, 5, project=True))
    theirs = torchrecurrent.MUT1Cell(5, 5, dtype=torch.float64)
    w, zeros = ours.state_dict(), torch.zeros(5)
    b_z, b_r, b_h = w["bias_hh"].chunk(3)
    theirs.load_state_dict(
        {
            "weight_ih": torch.cat([w["weight_ih"], w["weight_xh"]]),
            "weight_hh": w["weight_hh"],
            "bias_ih": torch.cat([b_z, zeros, zeros]),
            "bias_hh": torch.cat([b_r, b_h]),
        }
    )
    assert_same_over_time(ours, theirs)


def test_second_of_torchrecurrent() -> None:
    torchrecurrent = pytest.importorskip("torchrecurrent")
    ours = scattered(MUT2Cell(5, 5, project=True))
    theirs = torchrecurrent.MUT2Cell(5, 5, dtype=torch.float64)
    w = ours.state_dict()
    W_xz, W_xh = w["weight_ih"].chunk(2)
    theirs.load_state_dict(
        {
            "weight_ih": torch.cat([W_xz, w["weight_xh"], W_xh]),
            "weight_hh": w["weight_hh"],
            "bias_ih": torch.zeros(15),
            "bias_hh": w["bias_hh"],
        }
    )
    assert_same_over_time(ours, theirs)


def test_third_of_torchrecurrent() -> None:
    torchrecurrent = pytest.importorskip("torchrecurrent")
    ours = scattered(MUT3Cell(4, 5))
    theirs = torchrecurrent.MUT3Cell(4, 5, dtype=torch.float64)
    theirs.load_state_dict(ours.state_dict() | {"bias_ih": torch.zeros(15)})
    assert_same_over_time(ours, theirs)


def test_the_second_with_a_matrix_is_chos_gru() -> None:
    """With z and 1 - z exchanged, which is a change of sign of z's weights."""
    ours, cho = scattered(MUT2Cell(4, 5)), ostinato.ChoGRUCell(4, 5, dtype=torch.float64)
    w = ours.state_dict()
    (x_z, x_n), (h_z, h_r, h_n) = w["weight_ih"].chunk(2), w["weight_hh"].chunk(3)
    b_z, b_r, b_n = w["bias_hh"].chunk(3)
    with torch.no_grad():
        cho.weight_ih.copy_(torch.cat([w["weight_xh"], -x_z, x_n]))
        cho.weight_hh.copy_(torch.cat([h_r, -h_z, h_n]))
        cho.bias_ih.copy_(torch.cat([b_r, -b_z, b_n]))
        cho.bias_hh.zero_()
    assert_same_over_time(ours, cho)


@pytest.mark.parametrize("kind", [MUT1Cell, MUT2Cell])
def test_x_as_it_is_needs_the_width_of_the_state(kind) -> None:
    with pytest.raises(ValueError, match=r"project = False needs input_size = hidden_size, got 4 and 5; project=None"):
        kind(4, 5, project=False)
    with pytest.raises(TypeError, match=r"project must be True or False, got 'yes'"):
        kind(4, 5, project="yes")


def test_in_a_stack_only_the_layer_that_needs_it_projects() -> None:
    layer = ostinato.Recurrent("mut1", 4, 5, num_layers=2)
    names = dict(layer.named_parameters())
    assert names["weight_xh_l0"].shape == (5, 4)
    assert "weight_xh_l1" not in names
