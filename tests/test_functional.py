"""Pure functions against torch.nn's layers on the same weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ostinato import functional


def weights(layer, suffix):
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
    return [getattr(layer, f"{n}_{suffix}", None) for n in names]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM", "LSTMP"])
@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("given", [True, False])
def test_equals_torch(kind, bias, batch_first, bidirectional, given) -> None:
    options = {"proj_size": 3} if kind == "LSTMP" else {}
    layer = getattr(nn, kind[:4])(
        4, 5, bias=bias, batch_first=batch_first, bidirectional=bidirectional, dtype=torch.float64, **options
    )
    x = torch.randn(2, 3, 4, dtype=torch.float64)
    rows, count = (2 if batch_first else 3), 1 + bidirectional
    h = torch.randn(count, rows, 3 if kind == "LSTMP" else 5, dtype=torch.float64)
    c = torch.randn(count, rows, 5, dtype=torch.float64)
    hx = ((h, c) if "LSTM" in kind else h) if given else None
    name = ("bidirectional_" if bidirectional else "") + kind[:4].lower() + "_forward"
    function = getattr(functional, name)
    own = [weights(layer, "l0"), weights(layer, "l0_reverse")]
    if kind != "LSTMP":
        own = [w[:4] for w in own]
    if bidirectional:
        got = function(x, hx, *own, batch_first=batch_first)
    else:
        got = function(x, hx, *own[0], batch_first=batch_first)
    for one, two in zip(*(torch.utils._pytree.tree_leaves(v) for v in (layer(x, hx), got)), strict=True):
        torch.testing.assert_close(two, one, rtol=0, atol=1e-12)


def test_gradients_reach_every_argument() -> None:
    x, h = torch.randn(3, 2, 4, dtype=torch.float64), torch.randn(1, 2, 5, dtype=torch.float64)
    w = [torch.randn(s, dtype=torch.float64) for s in ((15, 4), (15, 5), (15,), (15,))]
    inputs = [v.requires_grad_() for v in (x, h, *w)]
    for after in (True, False):
        assert torch.autograd.gradcheck(
            lambda *v, after=after: functional.gru_forward(*v, reset_after=after), inputs, fast_mode=True
        )
    assert torch.func.vmap(lambda row: functional.gru_forward(row, None, *w)[0])(x.transpose(0, 1)).shape == (2, 3, 5)


def test_one_bias_is_enough() -> None:
    x, w_ih, w_hh, b = torch.randn(3, 2, 4), torch.randn(5, 4), torch.randn(5, 5), torch.randn(5)
    one = functional.rnn_forward(x, None, w_ih, w_hh, b)
    two = functional.rnn_forward(x, None, w_ih, w_hh, b, torch.zeros(5))
    assert torch.equal(one[0], two[0])


def test_no_random_number_is_drawn() -> None:
    state = torch.get_rng_state()
    functional.rnn_forward(torch.ones(3, 2, 4), None, torch.ones(5, 4), torch.ones(5, 5))
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize(
    ("w_ih", "w_hh", "more", "says"),
    [
        ((19, 4), (20, 5), {}, r"multiple of 4, got 19"),
        ((20, 4), (20, 6), {}, r"w_hh must be \(20, 5\)"),
        ((20, 4), (20, 5), {"b_ih": torch.zeros(5)}, r"b_ih must be \(20,\)"),
        ((20, 4), (20, 5), {"w_hr": torch.zeros(3, 5)}, r"w_hh must be \(20, 3\)"),
        ((20, 7), (20, 5), {}, r"input_size = 7, got 4"),
        ((20,), (20, 5), {}, r"must be a matrix"),
    ],
)
def test_bad_weights(w_ih, w_hh, more, says) -> None:
    with pytest.raises(RuntimeError, match=says):
        functional.lstm_forward(torch.zeros(3, 2, 4), None, torch.zeros(w_ih), torch.zeros(w_hh), **more)


def test_directions_need_the_same_weights() -> None:
    one, two = (torch.zeros(5, 4), torch.zeros(5, 5)), (torch.zeros(5, 4), torch.zeros(6, 5))
    with pytest.raises(RuntimeError, match=r"w_hh must be"):
        functional.bidirectional_rnn_forward(torch.zeros(3, 2, 4), None, one, two)
