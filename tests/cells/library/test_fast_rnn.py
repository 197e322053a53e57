"""FastRNN and FastGRNN: the paper's equations, their ranks and numbers, and torchrecurrent's on the same weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ostinato.cells import FastGRNNCell, FastRNNCell
from tests.support.equations import assert_follows, assert_same_over_time, relu, scattered, sigmoid

RANKS = [{}, {"input_rank": 2}, {"recurrent_rank": 3}, {"input_rank": 3, "recurrent_rank": 2}]


def matrix(w, name: str):
    whole = f"weight_{name}"
    return w[whole] if whole in w else w[f"{whole}_u"] @ w[f"{whole}_v"]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("ranks", RANKS)
def test_fast_rnn(ranks: dict[str, int], bias: bool) -> None:
    def step(w, x, h):
        n = np.tanh(x @ matrix(w, "ih").T + h @ matrix(w, "hh").T + w.get("bias_ih", 0))
        return sigmoid(w["alpha"]) * n + sigmoid(w["beta"]) * h

    assert_follows(FastRNNCell(4, 5, bias, **ranks), step)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("ranks", RANKS)
def test_fast_grnn(ranks: dict[str, int], bias: bool) -> None:
    def step(w, x, h):
        both = x @ matrix(w, "ih").T + h @ matrix(w, "hh").T
        b_z, b_h = np.split(w.get("bias_ih", np.zeros(10)), 2)
        z, n = sigmoid(both + b_z), np.tanh(both + b_h)
        return (sigmoid(w["zeta"]) * (1 - z) + sigmoid(w["nu"])) * n + z * h

    assert_follows(FastGRNNCell(4, 5, bias, **ranks), step)


def test_another_activation() -> None:
    def step(w, x, h):
        n = relu(x @ w["weight_ih"].T + h @ w["weight_hh"].T + w["bias_ih"])
        return sigmoid(w["alpha"]) * n + sigmoid(w["beta"]) * h

    assert_follows(FastRNNCell(4, 5, activation="relu"), step)


def test_where_the_numbers_begin() -> None:
    rnn, grnn = FastRNNCell(4, 5), FastGRNNCell(4, 5, nu_init=-2.5)
    assert [p.item() for p in (rnn.alpha, rnn.beta, grnn.zeta, grnn.nu)] == [-3.0, 3.0, 1.0, -2.5]
    with pytest.raises(TypeError, match=r"zeta_init must be a number, got 'one'"):
        FastGRNNCell(4, 5, zeta_init="one")


def test_a_product_of_thin_matrices_begins_as_spread_as_a_whole_one() -> None:
    cell = FastRNNCell(300, 400, input_rank=16, recurrent_rank=16)
    for name in ("ih", "hh"):
        product = getattr(cell, f"weight_{name}_u") @ getattr(cell, f"weight_{name}_v")
        assert product.std().item() == pytest.approx((1 / 3 / 400) ** 0.5, rel=0.1)


def test_a_rank_that_saves_nothing() -> None:
    with pytest.raises(ValueError, match=r"input_rank must be smaller than .* the smaller is 4, got 4"):
        FastRNNCell(4, 5, input_rank=4)
    with pytest.raises(ValueError, match=r"recurrent_rank must be smaller than hidden_size = 5, got 5"):
        FastGRNNCell(4, 5, recurrent_rank=5)


def test_torchrecurrents_fast_rnn() -> None:
    torchrecurrent = pytest.importorskip("torchrecurrent")
    ours = scattered(FastRNNCell(4, 5))
    theirs = torchrecurrent.FastRNNCell(4, 5, recurrent_bias=False).double()
    theirs.load_state_dict(ours.state_dict() | {"bias_hh": torch.zeros(5)})
    assert_same_over_time(ours, theirs)


def test_torchrecurrents_fast_grnn_with_the_papers_gate() -> None:
    torchrecurrent = pytest.importorskip("torchrecurrent")
    ours = scattered(FastGRNNCell(4, 5))
    theirs = torchrecurrent.FastGRNNCell(4, 5, recurrent_bias=False, nonlinearity="sigmoid").double()
    theirs.load_state_dict(ours.state_dict() | {"bias_hh": torch.zeros(10)})
    assert_same_over_time(ours, theirs)
