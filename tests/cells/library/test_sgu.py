"""Simple gated units: the paper's equations, and torchrecurrent's on the same weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ostinato.cells import DSGUCell, SGUCell
from tests.support.equations import assert_follows, assert_same_over_time, scattered, sigmoid


def step_with(slope, squash_output):
    def step(w, x, h):
        (W_xh, W_xz), (W_zxh, W_hz) = np.split(w["weight_ih"], 2), np.split(w["weight_hh"], 2)
        b_g, b_z = np.split(w["bias_ih"], 2) if "bias_ih" in w else (0, 0)
        z_g = np.tanh(((x @ W_xh.T + b_g) * h) @ W_zxh.T)
        read = z_g * h
        z_out = squash_output(read @ w["weight_go"].T if "weight_go" in w else read)
        z = np.clip(slope * (x @ W_xz.T + b_z + h @ W_hz.T) + 0.5, 0, 1)
        return (1 - z) * h + z * z_out

    return step


def softplus(v):
    return np.log1p(np.exp(v))


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("kind", "squash_output"), [(SGUCell, softplus), (DSGUCell, sigmoid)])
def test_the_papers_equations(kind, squash_output, bias: bool) -> None:
    assert_follows(kind(4, 5, bias=bias), step_with(1 / 6, squash_output))


def test_the_hard_sigmoid_of_the_time() -> None:
    cell = SGUCell(4, 5, gate_activation=lambda v: torch.clamp(0.2 * v + 0.5, 0, 1))
    assert_follows(cell, step_with(0.2, softplus))


def test_other_activations() -> None:
    assert_follows(DSGUCell(4, 5, output_activation="tanh"), step_with(1 / 6, np.tanh))


@pytest.mark.parametrize("kind", [SGUCell, DSGUCell])
def test_torchrecurrents(kind) -> None:
    torchrecurrent = pytest.importorskip("torchrecurrent")
    # torch computes the derivative of its hard sigmoid with a sixth in single precision: sigmoids on both sides.
    ours = scattered(kind(4, 5, gate_activation="sigmoid"))
    theirs = getattr(torchrecurrent, kind.__name__)(4, 5, gate_nonlinearity="sigmoid", dtype=torch.float64)
    weights = {name.replace("weight_go", "weight_ho"): value for name, value in ours.state_dict().items()}
    theirs.load_state_dict(weights | {"bias_hh": torch.zeros(10)})
    assert_same_over_time(ours, theirs)


def test_orthogonal_blocks() -> None:
    cell = DSGUCell(4, 5, recurrent_init="orthogonal", dtype=torch.float64)
    for block in cell.weight_hh.chunk(2):
        torch.testing.assert_close(block @ block.T, torch.eye(5, dtype=torch.float64))
