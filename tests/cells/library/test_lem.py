"""Long expressive memory: the paper's equations, and torchrecurrent's where it follows them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ostinato.cells import LEMCell
from ostinato.errors import InvalidValue
from tests.support.equations import assert_follows, assert_same_over_time, scattered, sigmoid


def test_the_papers_equations() -> None:
    def step(w, x, y, z):
        V, W, b = np.split(w["weight_ih"], 4), np.split(w["weight_hh"], 3), np.split(w["bias_ih"], 4)
        dt_z = 0.7 * sigmoid(y @ W[0].T + x @ V[0].T + b[0])
        dt_y = 0.7 * sigmoid(y @ W[1].T + x @ V[1].T + b[1])
        z = (1 - dt_z) * z + dt_z * np.tanh(y @ W[2].T + x @ V[2].T + b[2])
        y = (1 - dt_y) * y + dt_y * np.tanh(z @ w["weight_zh"].T + x @ V[3].T + b[3])
        return y, z

    assert_follows(LEMCell(4, 5, dt=0.7), step)


def test_torchrecurrent() -> None:
    """Its y reads the old z, so the matrix between them is zero here; its gates lie as y's, z's, z, y."""
    torchrecurrent = pytest.importorskip("torchrecurrent")
    theirs = scattered(torchrecurrent.LEMCell(4, 5, dt=0.7))
    ours = LEMCell(4, 5, dt=0.7, dtype=torch.float64)
    swap = torch.cat([torch.arange(5, 10), torch.arange(5), torch.arange(10, 20)])
    with torch.no_grad():
        theirs.weight_ch.zero_()
        ours.weight_zh.zero_()
        ours.weight_ih.copy_(theirs.weight_ih[swap])
        ours.weight_hh.copy_(theirs.weight_hh[swap[:15]])
        ours.bias_ih.copy_(theirs.bias_ih[swap])
        ours.bias_ih[:15] += theirs.bias_hh[swap[:15]]
        ours.bias_ih[15:] += theirs.bias_ch
    assert_same_over_time(ours, theirs)


def test_a_step_of_length_zero_is_refused() -> None:
    with pytest.raises(InvalidValue, match="dt must be greater than 0"):
        LEMCell(4, 5, dt=0.0)
