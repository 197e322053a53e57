"""The gated antisymmetric network: the paper's equations, and torchrecurrent's on the same weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ostinato.cells import AntisymmetricRNNCell, GatedAntisymmetricRNNCell
from tests.support.equations import assert_follows, assert_same_over_time, scattered, sigmoid


@pytest.mark.parametrize("bias", [False, True])
def test_the_papers_equations(bias: bool) -> None:
    def step(w, x, h):
        V_z, V_h = np.split(w["weight_ih"], 2)
        b_z, b_h = np.split(w["bias_ih"], 2) if bias else (0, 0)
        A = w["weight_hh"] - w["weight_hh"].T - 0.2 * np.eye(5)
        z = sigmoid(h @ A.T + x @ V_z.T + b_z)
        return h + 0.3 * z * np.tanh(h @ A.T + x @ V_h.T + b_h)

    assert_follows(GatedAntisymmetricRNNCell(4, 5, bias=bias, epsilon=0.3, gamma=0.2), step)


def test_torchrecurrents() -> None:
    torchrecurrent = pytest.importorskip("torchrecurrent")
    ours = scattered(GatedAntisymmetricRNNCell(4, 5, epsilon=0.3, gamma=0.2))
    theirs = torchrecurrent.GatedAntisymmetricRNNCell(4, 5, epsilon=0.3, gamma=0.2, dtype=torch.float64)
    theirs.load_state_dict(ours.state_dict() | {"bias_hh": torch.zeros(5)})
    assert_same_over_time(ours, theirs)


def test_it_is_the_antisymmetric_network_with_a_gate() -> None:
    ours = scattered(GatedAntisymmetricRNNCell(4, 5, activation="sin"))
    same = AntisymmetricRNNCell(4, 5, gated=True, activation="sin", dtype=torch.float64)
    same.load_state_dict(ours.state_dict())
    assert_same_over_time(ours, same)
    assert repr(GatedAntisymmetricRNNCell(4, 5, gamma=0.2)) == "GatedAntisymmetricRNNCell(4, 5, gamma=0.2)"
