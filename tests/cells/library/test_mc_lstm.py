"""The mass-conserving LSTM: the paper's equations, and that nothing is lost."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import ostinato
from ostinato.cells import MCLSTMCell
from tests.support.equations import assert_follows, scattered, sigmoid

H = 5
KINDS = [
    {},
    {"mass_size": 2},
    {"mass_size": None},
    {"redistribution": "time-varying"},
    {"mass_size": 3, "redistribution": "time-varying", "bias": False},
]


def softmax(v, axis):
    e = np.exp(v - v.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def step_of(options):
    def step(w, x, c):
        h = np.zeros_like(c)
        M = options.get("mass_size", 1) or x.shape[1]
        for row in range(len(x)):
            mass, others, old = x[row, :M], x[row, M:], c[row]
            gates = w["weight_ch"] @ (old / np.abs(old).sum()) + w.get("bias_ch", 0)
            if len(others):
                gates = gates + w["weight_ah"] @ others
            o = sigmoid(gates[:H])
            i = softmax(gates[H : (M + 1) * H].reshape(H, M), 0)
            R = w["redistribution_matrix"]
            if options.get("redistribution") == "time-varying":
                R = R + gates[(M + 1) * H :].reshape(H, H)
            m = softmax(R, 0) @ old + i @ mass
            h[row], c[row] = o * m, (1 - o) * m
        return h, c

    return lambda w, x, c: step(w, x, c.copy())


@pytest.mark.parametrize("options", KINDS, ids=str)
def test_the_papers_equations(options) -> None:
    assert_follows(MCLSTMCell(4, H, **options), step_of(options))


@pytest.mark.parametrize("engine", ["loop", "native"])
@pytest.mark.parametrize("options", KINDS, ids=str)
def test_mass_is_conserved(options, engine: str) -> None:
    layer = ostinato.Recurrent("mc-lstm", 4, H, num_layers=2, dtype=torch.float64, engine=engine, **options)
    scattered(layer, 2.0)
    x = torch.rand(9, 3, 4, dtype=torch.float64)
    c_0 = torch.rand(2, 3, H, dtype=torch.float64)
    output, c_n = layer(x, c_0)
    came = x[..., : options.get("mass_size", 1)].sum((0, 2))
    torch.testing.assert_close(output.sum((0, 2)) + c_n.sum((0, 2)), came + c_0.sum((0, 2)))
    assert (output >= 0).all()


def test_without_mass_nothing_happens() -> None:
    """|c| is zero, by which the gates would divide."""
    cell = scattered(MCLSTMCell(4, H))
    x = torch.randn(3, 4, dtype=torch.float64)
    x[:, 0] = 0
    c = torch.zeros(3, H, dtype=torch.float64, requires_grad=True)
    h, c_1 = cell(x, c)
    assert (h == 0).all()
    assert (c_1 == 0).all()
    assert torch.autograd.grad((h + c_1).sum(), c)[0].isfinite().all()


def test_what_it_begins_with() -> None:
    cell = MCLSTMCell(4, H, mass_size=2)
    assert torch.equal(cell.redistribution_matrix, torch.eye(H))
    assert (cell.bias_ch[:H] == -3).all()
    assert (cell.bias_ch[H:].abs() <= H**-0.5).all()


def test_above_the_first_layer_all_is_mass() -> None:
    layer = ostinato.Recurrent("mc-lstm", 4, H, num_layers=2, mass_size=3)
    shapes = {name: tuple(value.shape) for name, value in layer.named_parameters()}
    assert shapes["weight_ah_l0"] == (4 * H, 1)
    assert shapes["weight_ch_l1"] == (6 * H, H)
    assert "weight_ah_l1" not in shapes


def test_bad_options() -> None:
    with pytest.raises(ValueError, match=r"mass_size must be at most input_size = 4, got 5"):
        MCLSTMCell(4, H, mass_size=5)
    with pytest.raises(ValueError, match=r"mass_size must be greater than zero, got 0"):
        MCLSTMCell(4, H, mass_size=0)
    with pytest.raises(ValueError, match=r"redistribution must be one of 'fixed', 'time-varying', got 'none'"):
        MCLSTMCell(4, H, redistribution="none")
