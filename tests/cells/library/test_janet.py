"""JANET: the paper's equations, its initial biases, and torchrecurrent's on the same weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ostinato.cells import JANETCell
from tests.support.equations import assert_follows, scattered, sigmoid


@pytest.mark.parametrize("beta", [0, 1.0, -2.5])
def test_the_papers_equations(beta: float) -> None:
    def step(w, x, h):
        s, c_new = np.split(x @ w["weight_ih"].T + h @ w["weight_hh"].T + w["bias_ih"], 2, axis=-1)
        return sigmoid(s) * h + (1 - sigmoid(s - beta)) * np.tanh(c_new)

    assert_follows(JANETCell(4, 5, beta=beta), step)


def test_the_papers_beta_is_one() -> None:
    assert JANETCell(4, 5).beta == 1


def test_chrono_biases_remember_for_one_to_t_steps() -> None:
    cell = JANETCell(4, 2000, chrono=50, dtype=torch.float64)
    forget, other = cell.bias_ih.detach().chunk(2)
    assert not other.any()
    steps = forget.exp()
    assert 1 <= steps.min() < 1.5
    assert 48.5 < steps.max() <= 49
    assert abs(steps.mean() - 25) < 1.5


def test_chrono_leaves_the_weights_as_a_seed_draws_them() -> None:
    cells = []
    for chrono in (None, 20):
        torch.manual_seed(1)
        cells.append(JANETCell(4, 5, chrono=chrono))
    one, two = cells
    assert torch.equal(one.weight_ih, two.weight_ih)
    assert torch.equal(one.weight_hh, two.weight_hh)
    assert not torch.equal(one.bias_ih, two.bias_ih)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"chrono": 2}, r"chrono must be greater than 2 steps, got 2"),
        ({"chrono": 20.0}, r"chrono must be a whole number of steps or None, got 20\.0"),
        ({"chrono": True}, r"chrono must be a whole number of steps or None, got True"),
        ({"chrono": 20, "bias": False}, r"chrono = 20 needs bias=True"),
        ({"beta": "1"}, r"beta must be a number, got '1'"),
        ({"beta": float("nan")}, r"beta must be finite, got nan"),
    ],
)
def test_wrong_options(options, words: str) -> None:
    with pytest.raises((TypeError, ValueError), match=words):
        JANETCell(4, 5, **options)


@pytest.mark.parametrize("beta", [0.0, 1.0])
def test_torchrecurrents(beta: float) -> None:
    """Its h and c are the same; it reads c, and h for the gates, and learns β."""
    torchrecurrent = pytest.importorskip("torchrecurrent")
    ours = scattered(JANETCell(4, 5, beta=beta))
    theirs = torchrecurrent.JANETCell(4, 5, beta=beta, dtype=torch.float64)
    extra = {"bias_hh": torch.zeros(10), "beta": torch.tensor(beta)}
    theirs.load_state_dict(ours.state_dict() | extra)
    h, state = None, None
    for x in torch.randn(6, 3, 4, dtype=torch.float64):
        h, state = ours(x, h), theirs(x, state)
        torch.testing.assert_close(h, state[0], rtol=0, atol=1e-12)
        torch.testing.assert_close(h, state[1], rtol=0, atol=1e-12)
