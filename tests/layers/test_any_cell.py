"""Every cell, a user's too, through the whole layer matrix, against a row-by-row reference that shares no code."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import ostinato
from tests.support import reference
from tests.support.own_cells import OWN_CELLS, TimeGapCell

CELLS = (
    *OWN_CELLS,
    ostinato.RNNCell,
    ostinato.ElmanCell,
    ostinato.GRUCell,
    ostinato.ChoGRUCell,
    ostinato.LSTMCell,
)


def randomised(layer: ostinato.Recurrent, seed: int) -> ostinato.Recurrent:
    """Every number drawn anew, so that no submodule stands at ones and zeros."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_(0, 0.5)
    return layer


def gradients(values, wanted) -> list[torch.Tensor]:
    torch.manual_seed(4)
    loss = sum((v * torch.randn_like(v)).sum() for v in values)
    if not loss.requires_grad:
        return [torch.zeros_like(w) for w in wanted]
    found = torch.autograd.grad(loss, wanted, allow_unused=True)
    return [torch.zeros_like(w) if g is None else g for g, w in zip(found, wanted, strict=True)]


@settings(max_examples=120, deadline=None, derandomize=True)
@given(
    cell=st.sampled_from(CELLS),
    layers=st.integers(1, 3),
    bidirectional=st.booleans(),
    batch_first=st.booleans(),
    form=st.sampled_from(["full", "lengths", "packed", "unbatched"]),
    steps=st.integers(0, 6),
    lengths=st.lists(st.integers(0, 6), min_size=0, max_size=4),
    with_hx=st.booleans(),
    engine=st.sampled_from(["loop", "auto", "native"]),
)
def test_layer_matrix(cell, layers, bidirectional, batch_first, form, steps, lengths, with_hx, engine) -> None:
    layer = randomised(
        ostinato.Recurrent(
            cell,
            4,
            5,
            layers,
            bidirectional=bidirectional,
            batch_first=batch_first,
            dtype=torch.float64,
            engine=engine,
        ),
        1,
    )
    lengths = [min(n, steps) for n in lengths]
    if form == "full":
        lengths = [steps] * len(lengths)
    elif form == "packed":
        lengths = [max(n, 1) for n in lengths] or [1]
        steps = max(steps, 1, *lengths)
    elif form == "unbatched":
        lengths = [steps]
    rows = len(lengths)
    x = torch.randn(steps, rows, 4, dtype=torch.float64, requires_grad=True)
    count = layers * (2 if bidirectional else 1)
    sizes = layer.state_shape.sizes[0]
    initial = [torch.randn(count, rows, size, dtype=torch.float64, requires_grad=True) for size in sizes]
    wanted = [*layer.parameters(), x, *(initial if with_hx else [])]
    expected, expected_state = reference.run(layer, x, lengths, initial if with_hx else None) if rows else (None, None)

    given = tuple(s.squeeze(1) for s in initial) if form == "unbatched" else tuple(initial)
    hx = (given if len(given) > 1 else given[0]) if with_hx else None
    input = x.transpose(0, 1) if batch_first else x
    if form == "unbatched":
        output, state = layer(x.squeeze(1), hx)
        output, state = output.unsqueeze(1), tuple(s.unsqueeze(1) for s in _tuple(state))
    elif form == "packed":
        packed = pack_padded_sequence(input, lengths, batch_first=batch_first, enforce_sorted=False)
        output, state = layer(packed, hx)
        output, _ = pad_packed_sequence(output, total_length=steps)
    else:
        output, state = layer(input, hx, lengths=lengths if form == "lengths" else None)
        output = output.transpose(0, 1) if batch_first else output
    state = _tuple(state)
    if rows == 0:
        assert output.shape == (steps, 0, layer.output_size)
        return
    torch.testing.assert_close(output, expected, rtol=0, atol=1e-10)
    for got, want in zip(state, expected_state, strict=True):
        torch.testing.assert_close(got, want, rtol=0, atol=1e-10)
    ours = gradients((output, *state), wanted)
    theirs = gradients((expected, *expected_state), wanted)
    for got, want in zip(ours, theirs, strict=True):
        torch.testing.assert_close(got, want, rtol=0, atol=1e-9)


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


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("engine", ["loop", "auto", "native"])
def test_derivatives_first_and_second(cell, engine: str) -> None:
    layer = randomised(ostinato.Recurrent(cell, 3, 2, 2, bidirectional=True, dtype=torch.float64, engine=engine), 3)
    names = [name for name, _ in layer.named_parameters()]
    values = [p.detach().clone().requires_grad_() for p in layer.parameters()]
    x = torch.randn(3, 2, 3, dtype=torch.float64, requires_grad=True)
    initial = [torch.randn(4, 2, s, dtype=torch.float64, requires_grad=True) for s in layer.state_shape.sizes[0]]

    def run(x, *rest):
        hx = rest[: len(initial)]
        parameters = dict(zip(names, rest[len(initial) :], strict=True))
        output, state = torch.func.functional_call(layer, parameters, (x, hx if len(hx) > 1 else hx[0]))
        return (output, *_tuple(state))

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


def _tuple(state):
    return state if isinstance(state, tuple) else (state,)
