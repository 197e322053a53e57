"""The NAS cell: its authors' equations, and torchrecurrent's where the two agree."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ostinato.cells import NASCell
from tests.support.equations import assert_follows, assert_same_over_time, relu, scattered, sigmoid


@pytest.mark.parametrize("bias", [False, True])
def test_the_authors_equations(bias: bool) -> None:
    def step(w, x, h, c):
        u = np.split(x @ w["weight_ih"].T, 8, axis=-1)
        v = np.split(h @ w["weight_hh"].T + w.get("bias_hh", 0), 8, axis=-1)
        add = [one + two for one, two in zip(u, v, strict=True)]
        first = np.tanh(np.tanh(sigmoid(add[0]) * relu(add[1])) + c)
        second = np.tanh(sigmoid(add[2]) + relu(u[3] * v[3]))
        third = np.tanh(np.tanh(add[4]) * sigmoid(add[5]))
        fourth = sigmoid(np.tanh(add[6]) + sigmoid(add[7]))
        c = first * second
        return np.tanh(c * np.tanh(third + fourth)), c

    assert_follows(NASCell(4, 5, bias=bias), step)


def test_torchrecurrents_where_its_sum_is_this_cells_product() -> None:
    """A block 3 of zeros: 0 + 0 = 0 · 0. All other blocks are compared."""
    torchrecurrent = pytest.importorskip("torchrecurrent")
    ours = scattered(NASCell(4, 5))
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter[15:20] = 0
    theirs = torchrecurrent.NASCell(4, 5, dtype=torch.float64)
    theirs.load_state_dict(ours.state_dict() | {"bias_ih": torch.zeros(40)})
    assert_same_over_time(ours, theirs)
