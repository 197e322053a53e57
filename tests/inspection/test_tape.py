"""The tape holds what the step computes: by the names in its code, over time, in the graph on request."""

from __future__ import annotations

import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence

import ostinato
from tests.support.own_cells import PeepholeLSTMCell, TimeGapCell, TwoWidthsCell


def lstm_by_hand(layer, x, suffix, reverse=False):
    """All gates of one direction over (T, B, I), from the equations of the paper, in NumPy's way."""
    w_ih, w_hh, b_ih, b_hh = (getattr(layer, f"{n}_{suffix}") for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    h, c = torch.zeros(x.shape[1], 5), torch.zeros(x.shape[1], 5)
    seen = {name: [None] * len(x) for name in "ifgoch"}
    for t in reversed(range(len(x))) if reverse else range(len(x)):
        i, f, g, o = (x[t] @ w_ih.T + b_ih + h @ w_hh.T + b_hh).split(5, dim=-1)
        i, f, g, o = 1 / (1 + (-i).exp()), 1 / (1 + (-f).exp()), g.tanh(), 1 / (1 + (-o).exp())
        c = f * c + i * g
        h = o * c.tanh()
        for name, value in zip("ifgoch", (i, f, g, o, c, h), strict=True):
            seen[name][t] = value
    return {name: torch.stack(values) for name, values in seen.items()}


@pytest.mark.parametrize("batch_first", [False, True])
def test_lstm_in_two_directions(batch_first: bool) -> None:
    layer = ostinato.LSTM(4, 5, 2, bidirectional=True, batch_first=batch_first)
    x = torch.randn(6, 3, 4)
    tape = ostinato.record(layer, x.transpose(0, 1) if batch_first else x)
    assert list(tape) == ["l0", "l0_reverse", "l1", "l1_reverse"]
    below = torch.cat([tape["l0"]["h"], tape["l0_reverse"]["h"]], dim=-1)
    for place, input in (("l0", x), ("l0_reverse", x), ("l1", below), ("l1_reverse", below)):
        expected = lstm_by_hand(layer, input, place, place.endswith("reverse"))
        for name, value in expected.items():
            torch.testing.assert_close(tape[place][name], value, rtol=0, atol=1e-5)
    output, (h_n, c_n) = layer(x.transpose(0, 1) if batch_first else x)
    torch.testing.assert_close(tape.output, output)
    torch.testing.assert_close(tape.state[1], c_n)
    torch.testing.assert_close(tape["l1"]["h"][-1], h_n[2])
    assert not tape["l0"]["f"].requires_grad


@pytest.mark.parametrize("form", ["lengths", "packed"])
def test_lengths(form: str) -> None:
    layer, x = ostinato.GRU(4, 5, bidirectional=True), torch.randn(6, 3, 4)
    lengths = [4, 6, 1]
    if form == "packed":
        tape = ostinato.record(layer, pack_padded_sequence(x, lengths, enforce_sorted=False))
    else:
        tape = ostinato.record(layer, x, lengths=lengths)
    assert tape.lengths.tolist() == lengths
    for b, n in enumerate(lengths):
        alone = ostinato.record(layer, x[:n, b])
        for place, track in tape.items():
            for name, value in track.items():
                assert value.shape == (6, 3, 5 if name != "x" else 4)
                torch.testing.assert_close(value[:n, b], alone[place][name])
                assert not value[n:, b].any()
    assert ostinato.record(layer, x, lengths=[0, 0, 0])["l0"].keys() == set()


def test_the_names_are_those_of_the_users_own_code() -> None:
    layer = ostinato.Recurrent(PeepholeLSTMCell, 4, 5)
    tape = ostinato.record(layer, torch.randn(6, 3, 4))
    assert set(tape["l0"]) == {"x", "h", "c", "i", "f", "g", "o"}
    # This step never names its new h; the state's name holds it all the same.
    torch.testing.assert_close(tape["l0"]["h"], tape.output)
    torch.testing.assert_close(tape["l0"]["h"], tape["l0"]["o"] * tape["l0"]["c"].tanh())

    tape = ostinato.record(ostinato.Recurrent(TimeGapCell, 4, 5), torch.randn(6, 3, 4), gap=torch.rand(6, 3, 1))
    assert {"gap", "decayed", "new", "h", "x"} == set(tape["l0"])
    assert tape["l0"]["gap"].shape == (6, 3, 1)

    tape = ostinato.record(ostinato.Recurrent(TwoWidthsCell, 4, 5), torch.randn(6, 3, 4))
    torch.testing.assert_close(tape["l0"]["output"], tape.output)
    assert tape["l0"]["m"].shape == (6, 3, 2)


def test_inherited_steps_are_seen_too() -> None:
    tape = ostinato.record(ostinato.Elman(4, 5, output_size=3), torch.randn(6, 3, 4))
    torch.testing.assert_close(tape["l0"]["y"], tape.output)
    assert tape["l0"]["h"].shape == (6, 3, 5)


class WeightInStep(ostinato.Cell):
    """Names a weight of H × H in its step, for a batch of H rows the same shape as a value by row."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.weight = torch.nn.Parameter(torch.randn(hidden_size, hidden_size))

    def step(self, x, h):
        antisymmetric = self.weight - self.weight.T
        return torch.tanh(h @ antisymmetric + x)


@pytest.mark.parametrize("rows", [1, 4, 5])
def test_values_without_rows_are_left_out(rows: int) -> None:
    tape = ostinato.record(ostinato.Recurrent(WeightInStep, 4, 4), torch.randn(6, rows, 4))
    assert set(tape["l0"]) == {"x", "h"}


def test_gradients() -> None:
    layer, x = ostinato.RNN(4, 5, dtype=torch.float64), torch.randn(6, 2, 4, dtype=torch.float64)
    tape = ostinato.record(layer, x, grad=True)
    loss = tape.output[-1].pow(2).sum()
    flow = tape.gradient(loss)["l0"]["h"]
    # ∂h_T/∂h_t is the product of the Jacobians diag(1 - h²) W between them.
    h, w = tape["l0"]["h"].detach(), layer.weight_hh_l0.detach()
    expected = 2 * h[-1]
    for t in reversed(range(6)):
        torch.testing.assert_close(flow[t], expected)
        expected = (expected * (1 - h[t] ** 2)) @ w
    tape["l0"]["h"].mean().backward()
    assert layer.weight_hh_l0.grad.abs().sum() > 0
    with pytest.raises(TypeError, match=r"grad=True"):
        ostinato.record(layer, x).gradient(loss)


def test_gradients_with_lengths_lie_where_the_values_do() -> None:
    layer, x = ostinato.LSTM(4, 5), torch.randn(6, 3, 4)
    tape = ostinato.record(layer, x, lengths=[2, 6, 0], grad=True)
    flow = tape.gradient(tape.state[0].sum())["l0"]["h"]
    torch.testing.assert_close(flow[1, 0], torch.ones(5))
    torch.testing.assert_close(flow[5, 1], torch.ones(5))
    assert not flow[2:, 0].any()
    assert not flow[:, 2].any()


def test_a_debuggers_profile_function_is_put_back() -> None:
    import sys

    def watch(*_):
        return None

    sys.setprofile(watch)
    try:
        ostinato.record(ostinato.GRU(4, 5), torch.randn(6, 3, 4))
        assert sys.getprofile() is watch
    finally:
        sys.setprofile(None)


def test_what_is_refused() -> None:
    with pytest.raises(TypeError, match=r"replace_"):
        ostinato.record(torch.nn.LSTM(4, 5), torch.randn(6, 3, 4))
    tape = ostinato.record(ostinato.GRU(4, 5), torch.randn(6, 3, 4))
    with pytest.raises(KeyError, match=r"it has: l0"):
        tape["l1"]
    with pytest.raises(KeyError, match=r"it names: .*z"):
        tape["l0"]["f"]
    with pytest.raises(RuntimeError, match=r"input_size"):
        ostinato.record(ostinato.GRU(4, 5), torch.randn(6, 3, 7))
