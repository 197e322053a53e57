"""Every cell, a user's too, through the whole layer matrix, against a row-by-row reference that shares no code."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import ostinato
from ostinato.cells import registry
from tests.support import reference
from tests.support.layer_matrix import FORMS, Case, as_tuple, compare, randomised
from tests.support.own_cells import OWN_CELLS, TimeGapCell

CELLS = (
    *OWN_CELLS,
    ostinato.RNNCell,
    ostinato.ElmanCell,
    ostinato.GRUCell,
    ostinato.ChoGRUCell,
    ostinato.LSTMCell,
)
EVERY_CELL = (*OWN_CELLS, *(known.cell for known in registry.everyone().values()))


@settings(max_examples=120, deadline=None, derandomize=True)
@given(
    cell=st.sampled_from(EVERY_CELL),
    layers=st.integers(1, 3),
    bidirectional=st.booleans(),
    batch_first=st.booleans(),
    form=st.sampled_from(FORMS),
    steps=st.integers(0, 6),
    lengths=st.lists(st.integers(0, 6), min_size=0, max_size=4),
    with_hx=st.booleans(),
    engine=st.sampled_from(["loop", "auto", "native"]),
)
def test_layer_matrix(cell, lengths, **case) -> None:
    compare(cell, Case(lengths=tuple(lengths), **case))


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("with_speaker", [False, True])
@pytest.mark.parametrize("lengths", [[5, 5, 5], [3, 0, 5]])
def test_streams_and_constants(bidirectional: bool, with_speaker: bool, lengths: list[int]) -> None:
    layer = ostinato.Recurrent(TimeGapCell, 4, 5, 2, bidirectional=bidirectional, dtype=torch.float64)
    x, gap = torch.randn(5, 3, 4, dtype=torch.float64), torch.rand(5, 3, 1, dtype=torch.float64)
    given = {"gap": gap} | ({"speaker": torch.randn(3, 5, dtype=torch.float64)} if with_speaker else {})
    expected, expected_state = reference.run(layer, x, lengths, **given)
    output, state = layer(x, lengths=lengths, **given)
    torch.testing.assert_close(output, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(state, expected_state[0], rtol=0, atol=1e-12)
    first = ostinato.Recurrent(TimeGapCell, 4, 5, 2, bidirectional=bidirectional, batch_first=True, dtype=torch.float64)
    first.load_state_dict(layer.state_dict())
    turned = {n: v.transpose(0, 1) if v.dim() == 3 else v for n, v in given.items()}
    output, _ = first(x.transpose(0, 1), lengths=torch.tensor(lengths), **turned)
    torch.testing.assert_close(output.transpose(0, 1), expected, rtol=0, atol=1e-12)
    row = {n: v[:, 0] if v.dim() == 3 else v[0] for n, v in given.items()}
    output, _ = layer(x[:, 0], lengths=lengths[0], **row)
    torch.testing.assert_close(output, expected[:, 0], rtol=0, atol=1e-12)
    if min(lengths) > 0:
        packed = {n: _pack(v, lengths) if v.dim() == 3 else v for n, v in given.items()}
        output, _ = layer(_pack(x, lengths), **packed)
        torch.testing.assert_close(pad_packed_sequence(output)[0], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("engine", "cell"),
    [*product(["loop", "native"], CELLS), *product(["auto"], [ostinato.RNNCell, ostinato.GRUCell, ostinato.LSTMCell])],
)
def test_derivatives_first_and_second(engine: str, cell) -> None:
    layers = 1 if cell in (*OWN_CELLS[1:], ostinato.ChoGRUCell) else 2
    options = {"bidirectional": True, "dtype": torch.float64, "engine": engine}
    layer = randomised(ostinato.Recurrent(cell, 3, 2, layers, **options), 3)
    names = [name for name, _ in layer.named_parameters()]
    values = [p.detach().clone().requires_grad_() for p in layer.parameters()]
    x = torch.randn(3, 2, 3, dtype=torch.float64, requires_grad=True)
    initial = [
        torch.randn(2 * layers, 2, s, dtype=torch.float64, requires_grad=True) for s in layer.state_shape.sizes[0]
    ]

    def run(x, *rest):
        hx = rest[: len(initial)]
        parameters = dict(zip(names, rest[len(initial) :], strict=True))
        output, state = torch.func.functional_call(layer, parameters, (x, hx if len(hx) > 1 else hx[0]))
        return (output, *as_tuple(state))

    inputs = (x, *initial, *values)
    assert torch.autograd.gradcheck(run, inputs, fast_mode=True)
    assert torch.autograd.gradgradcheck(run, inputs, fast_mode=True)


def test_widths_a_layer() -> None:
    layer = ostinato.LSTM(4, [6, 3], bidirectional=True, dtype=torch.float64)
    x = torch.randn(5, 2, 4, dtype=torch.float64)
    output, (h, c) = layer(x)
    assert [tuple(s.shape) for s in (*h, *c)] == [(2, 2, 6), (2, 2, 3)] * 2
    first, second = ostinato.LSTM(4, 6, bidirectional=True), ostinato.LSTM(12, 3, bidirectional=True)
    weights = layer.state_dict()
    first.double().load_state_dict({n: v for n, v in weights.items() if "_l0" in n})
    second.double().load_state_dict({n.replace("_l1", "_l0"): v for n, v in weights.items() if "_l1" in n})
    middle, (h_0, c_0) = first(x)
    expected, (h_1, c_1) = second(middle)
    torch.testing.assert_close(output, expected, rtol=0, atol=1e-12)
    for got, want in zip((*h, *c), (h_0, h_1, c_0, c_1), strict=True):
        torch.testing.assert_close(got, want, rtol=0, atol=1e-12)
    again, _ = layer(x, (h, c))
    assert again.shape == output.shape
    assert layer.named_states((h, c))["l1_reverse"]["c"].shape == (2, 3)


def test_elman_output_stands_on_the_last_layer() -> None:
    layer = ostinato.Elman(4, 5, 3, output_size=7, bidirectional=True)
    names = [name for name, _ in layer.named_parameters() if "_ho" in name]
    assert names == ["weight_ho_l2", "bias_ho_l2", "weight_ho_l2_reverse", "bias_ho_l2_reverse"]
    output, h_n = layer(torch.randn(6, 2, 4))
    assert output.shape == (6, 2, 14)
    assert h_n.shape == (6, 2, 5)


def _pack(value, lengths):
    return pack_padded_sequence(value, lengths, enforce_sorted=False)
