"""The recurrent highway network: the paper's equations, with coupled gates and without, at several depths."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ostinato.cells import RHNCell
from tests.support.equations import assert_follows, sigmoid


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("coupled", [True, False])
@pytest.mark.parametrize("depth", [1, 2, 4])
def test_the_papers_equations(depth: int, coupled: bool, bias: bool) -> None:
    blocks = 2 if coupled else 3

    def step(w, x, s):
        R = w["weight_hh"].reshape(depth, blocks, 5, 5)
        b = w.get("bias_ih", np.zeros(depth * blocks * 5)).reshape(depth, blocks, 5)
        W = w["weight_ih"].reshape(blocks, 5, 4)
        for level in range(depth):
            parts = [s @ R[level, n].T + b[level, n] for n in range(blocks)]
            if level == 0:
                parts = [part + x @ W[n].T for n, part in enumerate(parts)]
            h, t = np.tanh(parts[0]), sigmoid(parts[1])
            c = 1 - t if coupled else sigmoid(parts[2])
            s = h * t + s * c
        return s

    assert_follows(RHNCell(4, 5, bias, depth=depth, coupled=coupled), step)


@pytest.mark.parametrize("coupled", [True, False])
def test_a_transform_bias_is_that_of_every_t_and_of_nothing_else(coupled: bool) -> None:
    bias = RHNCell(4, 5, depth=3, coupled=coupled, transform_bias=-4.0).bias_ih
    assert ((bias == -4).view(3, -1, 5).all(-1) == torch.tensor([False, True] + [False] * (not coupled))).all()
    with pytest.raises(ValueError, match=r"transform_bias = -2.0 needs bias=True"):
        RHNCell(4, 5, bias=False, transform_bias=-2.0)


def test_a_shut_transform_gate_carries_the_state() -> None:
    cell = RHNCell(4, 5, transform_bias=-50.0)
    s = torch.randn(3, 5)
    torch.testing.assert_close(cell(torch.randn(3, 4), s), s)


def test_orthogonal_matrices_each_by_itself() -> None:
    cell = RHNCell(4, 5, depth=2, recurrent_init="orthogonal", dtype=torch.float64)
    for matrix in cell.weight_hh.split(5):
        torch.testing.assert_close(matrix @ matrix.T, torch.eye(5, dtype=torch.float64))


def test_a_depth_is_at_least_one() -> None:
    with pytest.raises(ValueError, match=r"depth must be greater than zero, got 0"):
        RHNCell(4, 5, depth=0)
