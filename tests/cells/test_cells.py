"""The cells themselves: the papers' equations written anew in NumPy, and calls as torch.nn's cells take them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import ostinato
from tests.support.own_cells import TimeGapCell, TwoWidthsCell


def sigmoid(v):
    return 1 / (1 + np.exp(-v))


def numbers(cell):
    return {name: value.detach().numpy() for name, value in cell.named_parameters()}


def rows(*widths, batch=3):
    return [torch.randn(batch, width, dtype=torch.float64) for width in widths]


def close(ours: torch.Tensor, theirs: np.ndarray) -> None:
    np.testing.assert_allclose(ours.detach().numpy(), theirs, rtol=0, atol=1e-12)


def test_cho_gru() -> None:
    cell = ostinato.ChoGRUCell(4, 5, dtype=torch.float64)
    x, h = rows(4, 5)
    w = numbers(cell)
    x_, h_ = x.numpy(), h.numpy()
    W, U = np.split(w["weight_ih"], 3), np.split(w["weight_hh"], 3)
    b = np.split(w["bias_ih"] + w["bias_hh"], 3)
    r = sigmoid(x_ @ W[0].T + h_ @ U[0].T + b[0])
    z = sigmoid(x_ @ W[1].T + h_ @ U[1].T + b[1])
    n = np.tanh(x_ @ W[2].T + (r * h_) @ U[2].T + b[2])
    close(cell(x, h), z * h_ + (1 - z) * n)


def test_the_two_resets_differ_and_agree_where_r_is_one() -> None:
    after, before = ostinato.GRUCell(4, 5, dtype=torch.float64), ostinato.ChoGRUCell(4, 5, dtype=torch.float64)
    before.load_state_dict(after.state_dict())
    x, h = rows(4, 5)
    assert not torch.allclose(after(x, h), before(x, h))
    for cell in (after, before):
        with torch.no_grad():
            cell.bias_ih[:5] = 1e3
    torch.testing.assert_close(after(x, h), before(x, h))


@pytest.mark.parametrize("g", ["none", "softmax", "sigmoid"])
@pytest.mark.parametrize("output_bias", [True, False])
@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_elman(g: str, output_bias: bool, nonlinearity: str) -> None:
    cell = ostinato.ElmanCell(
        4,
        5,
        nonlinearity=nonlinearity,
        output_size=3,
        output_nonlinearity=g,
        output_bias=output_bias,
        dtype=torch.float64,
    )
    x, h = rows(4, 5)
    w = numbers(cell)
    s = x.numpy() @ w["weight_ih"].T + h.numpy() @ w["weight_hh"].T + w["bias_ih"] + w["bias_hh"]
    h_1 = np.tanh(s) if nonlinearity == "tanh" else np.maximum(s, 0)
    y = h_1 @ w["weight_ho"].T + w.get("bias_ho", 0)
    if g == "softmax":
        y = np.exp(y) / np.exp(y).sum(-1, keepdims=True)
    elif g == "sigmoid":
        y = sigmoid(y)
    out, state = cell(x, h)
    close(out, y)
    close(state, h_1)


def test_lstm_with_a_projection() -> None:
    cell = ostinato.LSTMCell(4, 5, proj_size=3, dtype=torch.float64)
    x, h, c = rows(4, 3, 5)
    w = numbers(cell)
    s = x.numpy() @ w["weight_ih"].T + h.numpy() @ w["weight_hh"].T + w["bias_ih"] + w["bias_hh"]
    i, f, g, o = np.split(s, 4, axis=-1)
    c_1 = sigmoid(f) * c.numpy() + sigmoid(i) * np.tanh(g)
    h_1 = (sigmoid(o) * np.tanh(c_1)) @ w["weight_hr"].T
    for ours, theirs in zip(cell(x, (h, c)), (h_1, c_1), strict=True):
        close(ours, theirs)


@pytest.mark.parametrize(
    "cell",
    [
        ostinato.RNNCell,
        ostinato.ElmanCell,
        ostinato.GRUCell,
        ostinato.ChoGRUCell,
        ostinato.LSTMCell,
        TwoWidthsCell,
    ],
)
def test_unbatched_is_a_batch_of_one(cell) -> None:
    made = cell(4, 5).double()
    x, *states = rows(4, *made.state_sizes, batch=1)
    flat = torch.utils._pytree.tree_leaves
    hx = tuple(states) if len(states) > 1 else states[0]
    alone = tuple(s[0] for s in states) if len(states) > 1 else states[0][0]
    for one, two in zip(flat(made(x, hx)), flat(made(x[0], alone)), strict=True):
        assert torch.equal(one[0], two)
    for one, two in zip(flat(made(x)), flat(made(x[0])), strict=True):
        assert torch.equal(one[0], two)


@pytest.mark.parametrize("kind", ["RNNCell", "GRUCell", "LSTMCell"])
def test_cells_refuse_what_torchs_refuse(kind: str) -> None:
    def cell(module):
        return getattr(module, kind)(4, 5)

    h = torch.zeros(3, 5)
    wide = torch.zeros(3, 6)
    pair = (lambda v: (v, v)) if kind == "LSTMCell" else (lambda v: v)
    for arguments in (
        (torch.zeros(3, 7),),
        (torch.zeros(3, 2, 4),),
        (torch.zeros(3, 4), pair(wide)),
        (torch.zeros(2, 4), pair(h)),
        (torch.zeros(3, 4), pair(torch.zeros(3, 1, 5))),
    ):
        with pytest.raises(Exception) as theirs:  # noqa: PT011 - which one it is is the question
            cell(nn)(*arguments)
        with pytest.raises(type(theirs.value), match=r"got"):
            cell(ostinato)(*arguments)
    with pytest.raises(ValueError, match=r"float64"):
        cell(ostinato)(torch.zeros(3, 4).double())
    with pytest.raises(ValueError, match=r"nonlinearity must be one of .*'tanh', got 'tahn'; did you mean 'tanh'\?"):
        ostinato.RNNCell(4, 5, nonlinearity="tahn")
    with pytest.raises(ValueError, match=r"output_nonlinearity"):
        ostinato.ElmanCell(4, 5, output_nonlinearity="tanh")


def test_a_cell_called_alone_keeps_the_contract_too() -> None:
    class Counts(ostinato.Cell):
        def step(self, x, h):
            self.seen = x
            return h

    cell = Counts(4, 5)
    with pytest.raises(TypeError, match=r"assigns self\.seen"):
        cell(torch.zeros(3, 4))
    cell.seen = None  # outside a step an attribute is one's own


def test_streams_of_a_cell() -> None:
    cell = TimeGapCell(4, 5)
    x, gap = torch.randn(3, 4), torch.rand(3, 1)
    h = cell(x, gap=gap)
    torch.testing.assert_close(cell(x[0], gap=gap[0]), h[0])
    assert TimeGapCell.streams() == {"gap": True, "speaker": False}


def test_a_cell_in_a_loop_is_the_layer() -> None:
    layer, cell = ostinato.LSTM(4, 5), ostinato.LSTMCell(4, 5)
    cell.load_state_dict(ostinato.layouts.cell_weights(layer))
    x, state = torch.randn(6, 3, 4), None
    for x_t in x:
        state = cell(x_t, state)
    output, (_, c_n) = layer(x)
    torch.testing.assert_close(state[0], output[-1])
    torch.testing.assert_close(state[1], c_n[0])


def test_text_of_modules() -> None:
    assert repr(ostinato.GRU(4, 5, 2, bidirectional=True)) == "GRU(4, 5, num_layers=2, bidirectional=True)"
    assert repr(ostinato.LSTM(4, 5, proj_size=3)) == "LSTM(4, 5, proj_size=3)"
    assert repr(ostinato.LSTMCell(4, 5)) == "LSTMCell(4, 5)"
    assert repr(ostinato.Recurrent(TimeGapCell, 4, [5, 6])) == "Recurrent(TimeGapCell, 4, (5, 6), num_layers=2)"
