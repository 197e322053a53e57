"""The layer-normalised LSTM: the paper's equations in each form of normalising c, and what the norms do."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import ostinato
from ostinato.cells import LayerNormLSTMCell
from tests.support.equations import assert_follows, layer_norm, scattered, sigmoid


def step_with(form: str, eps: float):
    def step(w, x, h, c):
        from_h = layer_norm(h @ w["weight_hh"].T, eps) * w["gain_h"]
        from_x = layer_norm(x @ w["weight_ih"].T, eps) * w["gain_x"]
        i, f, g, o = np.split(from_h + from_x + w.get("bias_ih", 0), 4, axis=-1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        normalised = c if form == "none" else layer_norm(c, eps) * w["gain_c"] + w.get("bias_c", 0)
        return sigmoid(o) * np.tanh(normalised), normalised if form == "state" else c

    return step


@pytest.mark.parametrize("form", ["output", "state", "none"])
@pytest.mark.parametrize("bias", [True, False])
def test_the_equations_of_each_form(form: str, bias: bool) -> None:
    assert_follows(LayerNormLSTMCell(4, 5, bias=bias, normalise_cell=form), step_with(form, 1e-5))


def test_eps() -> None:
    assert_follows(LayerNormLSTMCell(4, 5, eps=0.1), step_with("output", 0.1))


def test_the_paper_normalises_c_on_its_way_out() -> None:
    assert LayerNormLSTMCell(4, 5).normalise_cell == "output"


def test_with_torchs_modules_for_norms() -> None:
    """The same formula as a user would write it, with submodules."""
    ours = scattered(LayerNormLSTMCell(4, 5))
    norms = {"x": nn.LayerNorm(20, bias=False), "h": nn.LayerNorm(20, bias=False), "c": nn.LayerNorm(5)}
    norms = {name: norm.double() for name, norm in norms.items()}
    for name, norm in norms.items():
        norm.weight = getattr(ours, f"gain_{name}")
    norms["c"].bias = ours.bias_c
    x, h, c = (torch.randn(3, n, dtype=torch.float64) for n in (4, 5, 5))
    gates = norms["x"](x @ ours.weight_ih.T) + norms["h"](h @ ours.weight_hh.T) + ours.bias_ih
    i, f, g, o = gates.chunk(4, -1)
    c_1 = f.sigmoid() * c + i.sigmoid() * g.tanh()
    h_1 = o.sigmoid() * norms["c"](c_1).tanh()
    for got, want in zip(ours(x, (h, c)), (h_1, c_1), strict=True):
        torch.testing.assert_close(got, want)


def test_gains_begin_at_one_and_their_biases_at_zero() -> None:
    cell = LayerNormLSTMCell(4, 5)
    assert all((gain == 1).all() for gain in (cell.gain_x, cell.gain_h, cell.gain_c))
    assert not cell.bias_c.any()
    assert cell.bias_ih.any()


def test_the_scale_of_a_weight_does_not_matter() -> None:
    """What layer normalisation is for: W and 100 · W are the same function (but for ε)."""
    cell = LayerNormLSTMCell(4, 5, eps=1e-12, dtype=torch.float64)
    x = torch.randn(6, 3, 4, dtype=torch.float64)
    layer = ostinato.Recurrent(LayerNormLSTMCell, 4, 5, eps=1e-12, dtype=torch.float64)
    layer.load_state_dict({f"{name}_l0": value for name, value in cell.state_dict().items()})
    before, _ = layer(x)
    with torch.no_grad():
        layer.weight_ih_l0.mul_(100)
        layer.weight_hh_l0.mul_(100)
    torch.testing.assert_close(layer(x)[0], before, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"normalise_cell": True}, r"normalise_cell must be one of 'output', 'state', 'none', got True"),
        ({"eps": 0}, r"eps must be greater than 0, got 0"),
        ({"eps": "small"}, r"eps must be a number, got 'small'"),
    ],
)
def test_wrong_options(options, words: str) -> None:
    with pytest.raises((TypeError, ValueError), match=words):
        LayerNormLSTMCell(4, 5, **options)
