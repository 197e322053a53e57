"""The multiplicative simple network and GRU: their equations, and the tensor that the first one factorises."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import ostinato
from ostinato.cells import MultiplicativeGRUCell, MultiplicativeRNNCell
from tests.support.equations import assert_follows, scattered, sigmoid


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("factors", [None, 3, 8])
def test_the_rnns_equations(factors: int | None, bias: bool) -> None:
    def step(w, x, h):
        m = (x @ w["weight_mx"].T) * (h @ w["weight_mh"].T)
        return np.tanh(m @ w["weight_hh"].T + x @ w["weight_ih"].T + w.get("bias_ih", 0))

    assert_follows(MultiplicativeRNNCell(4, 5, bias, factors=factors), step)


def test_every_input_has_a_matrix_of_its_own() -> None:
    """The tensor of which m is the factorised form, written out: one matrix for every row of x."""
    cell = scattered(MultiplicativeRNNCell(4, 5, factors=7))
    x, h = torch.randn(3, 4, dtype=torch.float64), torch.randn(3, 5, dtype=torch.float64)
    tensor = torch.einsum("hf,fi,fj->hij", cell.weight_hh, cell.weight_mx, cell.weight_mh)
    matrices = torch.einsum("hij,bi->bhj", tensor, x)
    expected = torch.tanh(torch.einsum("bhj,bj->bh", matrices, h) + x @ cell.weight_ih.T + cell.bias_ih)
    torch.testing.assert_close(cell(x, h), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("reads", ["m", "h"])
def test_the_grus_equations(reads: str, bias: bool) -> None:
    def step(w, x, h):
        W, U = np.split(w["weight_ih"], 3), np.split(w["weight_hh"], 3)
        b = np.split(w.get("bias_ih", np.zeros(15)), 3)
        m = (x @ w["weight_mx"].T) * (h @ w["weight_mh"].T)
        r = sigmoid(x @ W[0].T + m @ U[0].T + b[0])
        z = sigmoid(x @ W[1].T + m @ U[1].T + b[1])
        n = np.tanh(x @ W[2].T + (r * (m if reads == "m" else h)) @ U[2].T + b[2])
        return (1 - z) * n + z * h

    assert_follows(MultiplicativeGRUCell(4, 5, bias, candidate_reads=reads), step)


def test_an_m_that_is_h_makes_it_chos_gru() -> None:
    ours, theirs = MultiplicativeGRUCell(4, 5, dtype=torch.float64), ostinato.ChoGRUCell(4, 5, dtype=torch.float64)
    x, h = torch.ones(3, 4, dtype=torch.float64), torch.randn(3, 5, dtype=torch.float64)
    with torch.no_grad():
        ours.weight_mx.fill_(0.25)
        ours.weight_mh.copy_(torch.eye(5))
        theirs.weight_ih.copy_(ours.weight_ih)
        theirs.weight_hh.copy_(ours.weight_hh)
        theirs.bias_ih.copy_(ours.bias_ih)
        theirs.bias_hh.zero_()
    torch.testing.assert_close(ours(x, h), theirs(x, h), rtol=0, atol=1e-12)


def test_orthogonal_matrices_each_by_itself() -> None:
    cell = MultiplicativeGRUCell(4, 5, recurrent_init="orthogonal", dtype=torch.float64)
    for matrix in (*cell.weight_hh.chunk(3), cell.weight_mh):
        torch.testing.assert_close(matrix @ matrix.T, torch.eye(5, dtype=torch.float64))


def test_options_that_are_none() -> None:
    with pytest.raises(ValueError, match=r"factors must be greater than zero, got 0"):
        MultiplicativeRNNCell(4, 5, factors=0)
    with pytest.raises(ValueError, match=r"candidate_reads must be one of 'm', 'h', got 'x'"):
        MultiplicativeGRUCell(4, 5, candidate_reads="x")
