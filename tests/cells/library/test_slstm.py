"""The sLSTM: the paper's equations with and without the stabiliser, where it begins, gates beyond exp's range."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import ostinato
from ostinato.cells import SLSTMCell
from tests.support.equations import scattered, sigmoid, values


def dense(w, heads: int):
    """The recurrent weight of each block with its zeros, (4, H, H)."""
    if heads == 1:
        return np.stack(np.split(w["weight_hh"], 4))
    n, _, units = w["weight_hh"].shape
    matrices = np.zeros((4, n * units, n * units))
    for head in range(n):
        part = slice(head * units, (head + 1) * units)
        matrices[:, part, part] = w["weight_hh"][head].reshape(4, units, units)
    return matrices


def pre(w, x, h, heads: int):
    W, b = np.split(w["weight_ih"], 4), np.split(w.get("bias_ih", np.zeros(len(w["weight_ih"]))), 4)
    return (x @ W[k].T + h @ dense(w, heads)[k].T + b[k] for k in range(4))


def stabilised(w, x, h, c, n, m, forget_gate: str, heads: int):
    i, f, z, o = pre(w, x, h, heads)
    log_f = f if forget_gate == "exp" else np.log(sigmoid(f))
    m_1 = np.maximum(log_f + m, i)
    i, f = np.exp(i - m_1), np.exp(log_f + m - m_1)
    c, n = f * c + i * np.tanh(z), f * n + i
    return sigmoid(o) * c / n, c, n, m_1


@pytest.mark.parametrize("forget_gate", ["sigmoid", "exp"])
@pytest.mark.parametrize("heads", [1, 2, 3])
@pytest.mark.parametrize("bias", [True, False])
def test_the_papers_equations_from_a_state(forget_gate: str, heads: int, bias: bool) -> None:
    cell = scattered(SLSTMCell(4, 6, bias=bias, forget_gate=forget_gate, heads=heads))
    w = values(cell)
    h, c, m = (torch.randn(3, 6, dtype=torch.float64) for _ in range(3))
    states = (h, c, 1 + torch.rand(3, 6, dtype=torch.float64), m)
    for _ in range(4):
        x = torch.randn(3, 4, dtype=torch.float64)
        expected = stabilised(w, x.numpy(), *(s.detach().numpy() for s in states), forget_gate, heads)
        states = cell(x, states)
        for ours, theirs in zip(states, expected, strict=True):
            np.testing.assert_allclose(ours.detach().numpy(), theirs, rtol=0, atol=1e-12)


@pytest.mark.parametrize("forget_gate", ["sigmoid", "exp"])
def test_from_the_beginning_it_is_the_cell_without_a_stabiliser(forget_gate: str) -> None:
    """The paper's first form: i = exp(ĩ), and neither m nor what it divides by."""
    cell = scattered(SLSTMCell(4, 6, forget_gate=forget_gate, heads=2))
    w = values(cell)
    h = c = n = np.zeros((3, 6))
    state = None
    for _ in range(8):
        x = torch.randn(3, 4, dtype=torch.float64)
        i, f, z, o = pre(w, x.numpy(), h, 2)
        f = np.exp(f) if forget_gate == "exp" else sigmoid(f)
        c, n = f * c + np.exp(i) * np.tanh(z), f * n + np.exp(i)
        h = sigmoid(o) * c / n
        state = cell(x, state)
        scale = np.exp(state[3].detach().numpy())
        for ours, theirs in zip(state[:3], (h, c / scale, n / scale), strict=True):
            np.testing.assert_allclose(ours.detach().numpy(), theirs, rtol=1e-11)


@pytest.mark.parametrize("engine", ["loop", "native"])
@pytest.mark.parametrize("forget_gate", ["sigmoid", "exp"])
@pytest.mark.parametrize("first", [-1000.0, 1000.0])
def test_gates_beyond_the_range_of_exp(engine: str, forget_gate: str, first: float) -> None:
    layer = ostinato.Recurrent(SLSTMCell, 1, 2, forget_gate=forget_gate, engine=engine)
    with torch.no_grad():
        layer.weight_ih_l0.fill_(1000.0)
        layer.weight_ih_l0[4:] = 1.0
    x = torch.tensor([first, -first, 0.0, 500.0, -2000.0]).view(5, 1, 1) / 1000
    output, (_, c, n, m) = layer(x)
    gradients = torch.autograd.grad(output.sum(), list(layer.parameters()))
    assert all(value.isfinite().all() for value in (output, c, n, m, *gradients))
    assert output.abs().max() <= 1
    assert (n >= 1).all()


@pytest.mark.parametrize("n", [0.0, -2.0])
def test_where_n_is_not_positive_m_does_not_matter(n: float) -> None:
    cell = scattered(SLSTMCell(4, 6))
    x = torch.randn(3, 4, dtype=torch.float64)
    zeros = torch.zeros(3, 6, dtype=torch.float64)
    again = cell(x, (zeros, zeros, n + zeros, 7 + zeros))
    for one, two in zip(cell(x), again, strict=True):
        assert torch.equal(one, two)
    assert torch.equal(again[2], torch.ones_like(zeros))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"forget_gate": "relu"}, r"forget_gate must be one of 'sigmoid', 'exp', got 'relu'"),
        ({"heads": 4}, r"heads must divide hidden_size = 6, got 4"),
    ],
)
def test_wrong_options(options, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        SLSTMCell(4, 6, **options)
