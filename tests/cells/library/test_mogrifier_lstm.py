"""The Mogrifier LSTM: the paper's equations for any number of rounds, full and factorised."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import ostinato
from ostinato.cells import MogrifierLSTMCell
from tests.support.equations import assert_follows, assert_same_over_time, scattered, sigmoid


def matrix(w, letter: str, n: int):
    if f"weight_{letter}" in w:
        return w[f"weight_{letter}"][n]
    return w[f"weight_{letter}_left"][n] @ w[f"weight_{letter}_right"][n]


@pytest.mark.parametrize("rounds", [0, 1, 2, 5, 6])
@pytest.mark.parametrize("rank", [None, 2])
def test_the_papers_equations(rounds: int, rank: int | None) -> None:
    if not rounds and rank:
        pytest.skip("nothing to factorise")

    def step(w, x, h, c):
        xs, hs = {-1: x}, {0: h}
        for j in range(1, rounds + 1):
            if j % 2:
                xs[j] = 2 * sigmoid(hs[j - 1] @ matrix(w, "q", (j - 1) // 2).T) * xs[j - 2]
            else:
                hs[j] = 2 * sigmoid(xs[j - 1] @ matrix(w, "r", j // 2 - 1).T) * hs[j - 2]
        x, h = xs[max(xs)], hs[max(hs)]
        i, f, g, o = np.split(x @ w["weight_ih"].T + h @ w["weight_hh"].T + w["bias_ih"], 4, axis=-1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        return sigmoid(o) * np.tanh(c), c

    assert_follows(MogrifierLSTMCell(4, 5, rounds=rounds, rank=rank), step)


def test_no_rounds_is_the_lstm() -> None:
    ours, lstm = scattered(MogrifierLSTMCell(4, 5, rounds=0)), ostinato.LSTMCell(4, 5, dtype=torch.float64)
    lstm.load_state_dict(ours.state_dict() | {"bias_hh": torch.zeros(20)})
    assert_same_over_time(ours, lstm)


def test_matrices_of_zeros_leave_x_and_h_alone() -> None:
    ours, lstm = scattered(MogrifierLSTMCell(4, 5, rank=3)), ostinato.LSTMCell(4, 5, dtype=torch.float64)
    with torch.no_grad():
        ours.weight_q_left.zero_()
        ours.weight_r_right.zero_()
    own = {name: value for name, value in ours.state_dict().items() if name in dict(lstm.named_parameters())}
    lstm.load_state_dict(own | {"bias_hh": torch.zeros(20)})
    assert_same_over_time(ours, lstm)


def test_the_tape_has_what_the_lstm_was_given() -> None:
    layer = ostinato.Recurrent(MogrifierLSTMCell, 4, 5, rounds=2)
    tape = ostinato.record(layer, torch.randn(6, 3, 4))["l0"]
    assert tape["x_up"].shape == (6, 3, 4)
    assert tape["h_up"].shape == (6, 3, 5)


@pytest.mark.parametrize("options", [{"rounds": 3}, {"rounds": 2, "rank": 2}, {"rounds": 1}, {"rounds": 0}], ids=str)
def test_options_run_native(options) -> None:
    x = torch.randn(6, 3, 4, dtype=torch.float64)
    results = []
    for engine in ("loop", "native"):
        torch.manual_seed(2)
        layer = ostinato.Recurrent(MogrifierLSTMCell, 4, 5, dtype=torch.float64, engine=engine, **options)
        output, _ = layer(x)
        results.append([output, *torch.autograd.grad(output.square().sum(), layer.parameters())])
    for loop, native in zip(*results, strict=True):
        torch.testing.assert_close(native, loop, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rounds": -1}, r"rounds must be 0 \(a plain LSTM\) or greater, got -1"),
        ({"rounds": 2.0}, r"rounds must be a whole number \(int\), got 2\.0"),
        ({"rank": 4}, r"rank must be smaller than input_size and hidden_size, of which the smaller is 4, got 4"),
        ({"rank": 0}, r"rank must be greater than zero, got 0"),
        ({"rank": 2, "rounds": 0}, r"rank = 2 needs rounds"),
    ],
)
def test_wrong_options(options, words: str) -> None:
    with pytest.raises((TypeError, ValueError), match=words):
        MogrifierLSTMCell(4, 5, **options)
