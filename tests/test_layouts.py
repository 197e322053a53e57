"""Every layout computes the same function, written out by hand from its own matrices."""

from __future__ import annotations

import pytest
import torch

import ostinato
from ostinato import layouts

CELLS = {
    "lstm": lambda **k: ostinato.LSTMCell(4, 5, dtype=torch.float64, **k),
    "gru": lambda **k: ostinato.GRUCell(4, 5, dtype=torch.float64, **k),
    "cho_gru": lambda **k: ostinato.ChoGRUCell(4, 5, dtype=torch.float64, **k),
}
σ, tanh = torch.sigmoid, torch.tanh


def by_gates(network, w, x, h, c=None):
    def gate(name, state=h):
        return x @ w[f"W_i{name}"] + state @ w[f"W_h{name}"] + w.get(f"b_{name}", 0)

    if network == "lstm":
        c = σ(gate("f")) * c + σ(gate("i")) * tanh(gate("g"))
        h = σ(gate("o")) * tanh(c)
        return (h @ w["W_hr"] if "W_hr" in w else h), c
    r, z = σ(gate("r")), σ(gate("z"))
    if network == "gru":
        n = tanh(x @ w["W_in"] + w.get("b_in", 0) + r * (h @ w["W_hn"] + w.get("b_hn", 0)))
    else:
        n = tanh(gate("n", r * h))
    return ((1 - z) * n + z * h,)


def by_joined(network, w, x, h, c=None):
    def gate(name, state=h):
        return (w[f"W_{name}"] @ torch.cat([x, state], dim=-1).T).T + w.get(f"b_{name}", 0)

    if network == "lstm":
        c = σ(gate("f")) * c + σ(gate("i")) * tanh(gate("g"))
        return σ(gate("o")) * tanh(c), c
    r, z = σ(gate("r")), σ(gate("z"))
    return ((1 - z) * tanh(gate("n", r * h)) + z * h,)


@pytest.mark.parametrize("network", CELLS)
@pytest.mark.parametrize("bias", [True, False])
def test_gates(network: str, bias: bool) -> None:
    cell = CELLS[network](bias=bias)
    x, h, c = (torch.randn(3, n, dtype=torch.float64) for n in (4, 5, 5))
    states = (h, c) if network == "lstm" else (h,)
    weights = layouts.to_gates(cell.state_dict(), network)
    expected = cell(x, states if network == "lstm" else h)
    expected = expected if network == "lstm" else (expected,)
    for one, two in zip(expected, by_gates(network, weights, x, *states), strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=1e-12)
    back = layouts.from_gates(weights, network)
    assert back.keys() == cell.state_dict().keys()
    again = CELLS[network](bias=bias)
    again.load_state_dict(back, strict=True)
    got = again(x, states if network == "lstm" else h)
    for one, two in zip(expected, got if network == "lstm" else (got,), strict=True):
        torch.testing.assert_close(two, one, rtol=0, atol=1e-12)


@pytest.mark.parametrize("network", ["lstm", "cho_gru"])
@pytest.mark.parametrize("bias", [True, False])
def test_joined(network: str, bias: bool) -> None:
    cell = CELLS[network](bias=bias)
    x, h, c = (torch.randn(3, n, dtype=torch.float64) for n in (4, 5, 5))
    states = (h, c) if network == "lstm" else (h,)
    weights = layouts.to_joined(cell.state_dict(), network)
    expected = cell(x, states if network == "lstm" else h)
    expected = expected if network == "lstm" else (expected,)
    for one, two in zip(expected, by_joined(network, weights, x, *states), strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=1e-12)
    back = layouts.from_joined(weights, network, 4)
    for name in ("weight_ih", "weight_hh"):
        assert torch.equal(back[name], cell.state_dict()[name])


def test_uwv() -> None:
    cell = ostinato.ElmanCell(4, 5, output_size=3, dtype=torch.float64)
    x, h = torch.randn(2, 4, dtype=torch.float64), torch.randn(2, 5, dtype=torch.float64)
    w = layouts.to_uwv(cell.state_dict())
    new = tanh(x @ w["U"] + h @ w["W"] + w["b"])
    y, h_1 = cell(x, h)
    torch.testing.assert_close(h_1, new, rtol=0, atol=1e-12)
    torch.testing.assert_close(y, new @ w["V"] + w["b_y"], rtol=0, atol=1e-12)
    again = ostinato.ElmanCell(4, 5, output_size=3, dtype=torch.float64)
    again.load_state_dict(layouts.from_uwv(w), strict=True)
    torch.testing.assert_close(again(x, h)[0], y, rtol=0, atol=1e-12)


@pytest.mark.parametrize("network", CELLS)
def test_exact_where_there_is_one_bias(network: str) -> None:
    cell = CELLS[network]()
    with torch.no_grad():
        cell.bias_hh.zero_()
    back = layouts.from_gates(layouts.to_gates(cell.state_dict(), network), network)
    assert all(torch.equal(back[n], v) for n, v in cell.state_dict().items())


def test_a_projection_goes_along() -> None:
    cell = CELLS["lstm"](proj_size=3)
    x, h, c = (torch.randn(3, n, dtype=torch.float64) for n in (4, 3, 5))
    weights = layouts.to_gates(cell.state_dict(), "lstm")
    assert weights["W_hr"].shape == (5, 3)
    torch.testing.assert_close(by_gates("lstm", weights, x, h, c)[0], cell(x, (h, c))[0], rtol=0, atol=1e-12)
    assert torch.equal(layouts.from_gates(weights, "lstm")["weight_hr"], cell.weight_hr)


def test_training_on_differs_as_the_page_says() -> None:
    """Two biases that receive the same gradient move their sum twice as fast as one."""
    cell = ostinato.RNNCell(4, 5, dtype=torch.float64)
    x = torch.randn(2, 4, dtype=torch.float64)
    one = layouts.to_uwv(cell.state_dict())["b"].requires_grad_()
    w = layouts.to_uwv(cell.state_dict())
    tanh(x @ w["U"] + one).sum().backward()
    cell(x).sum().backward()
    torch.testing.assert_close(cell.bias_ih.grad + cell.bias_hh.grad, 2 * one.grad)


def test_places_of_a_layer() -> None:
    layer = ostinato.LSTM(4, 5, 2, bidirectional=True)
    weights = layouts.cell_weights(layer, "l1_reverse")
    assert torch.equal(weights["weight_ih"], layer.weight_ih_l1_reverse)
    with pytest.raises(ValueError, match=r"did you mean 'l1'"):
        layouts.cell_weights(layer, "l11")


def test_what_is_refused() -> None:
    cell = ostinato.GRUCell(4, 5)
    with pytest.raises(ValueError, match=r"cannot be written as W \[x, h\]"):
        layouts.to_joined(cell.state_dict(), "gru")
    with pytest.raises(ValueError, match=r"network must be one of"):
        layouts.to_gates(cell.state_dict(), "mgu")
    weights = layouts.to_gates(cell.state_dict(), "gru")
    del weights["W_hn"]
    with pytest.raises(ValueError, match=r"need 'W_hn'"):
        layouts.from_gates(weights, "gru")
    with pytest.raises(RuntimeError, match=r"4·H = 20 rows for 4 gates of H = 5, got 15"):
        layouts.to_gates(cell.state_dict(), "lstm")
    with pytest.raises(ValueError, match=r"smaller than I \+ H = 9"):
        layouts.from_joined(layouts.to_joined(ostinato.ChoGRUCell(4, 5).state_dict(), "cho_gru"), "cho_gru", 9)
