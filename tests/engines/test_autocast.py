"""Under autocast: torch.nn's dtypes for torch's cells in every engine; states that keep theirs for any other cell."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

import ostinato
from ostinato import errors
from tests.support.own_cells import NormalisedCell, PeepholeLSTMCell, TwoWidthsCell


def dtypes(result):
    output, state = result
    output = output.data if isinstance(output, PackedSequence) else output
    return [output.dtype, *(s.dtype for s in (state if isinstance(state, tuple) else (state,)))]


def parts(result):
    output, state = result
    output = output.data if isinstance(output, PackedSequence) else output
    return [output.float(), *(s.float() for s in (state if isinstance(state, tuple) else (state,)))]


@pytest.mark.filterwarnings("ignore:.*oneDNN")
@pytest.mark.parametrize("engine", ["auto", "aten", "loop"])
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN", "LSTM with a projection"])
@pytest.mark.parametrize("form", ["full", "packed", "low", "double"])
def test_torchs_own_cells(kind, form, engine) -> None:
    options = {"proj_size": 3} if kind.endswith("projection") else {}
    options |= {"num_layers": 2, "bidirectional": True} | ({"dtype": torch.float64} if form == "double" else {})
    kind = kind.split()[0]
    theirs = getattr(nn, kind)(4, 5, **options)
    ours = getattr(ostinato, kind)(4, 5, **options, engine=engine)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(6, 3, 4, dtype=torch.float64 if form == "double" else torch.float32)
    x = pack_padded_sequence(x, [6, 4, 1]) if form == "packed" else x.bfloat16() if form == "low" else x
    with torch.autocast("cpu", torch.bfloat16):
        expected, got = theirs(x), ours(x)
    assert dtypes(got) == dtypes(expected)
    for one, two in zip(parts(got), parts(expected), strict=True):
        torch.testing.assert_close(one, two, rtol=0.05, atol=0.03)
    sum(p.sum() for p in parts(got)).backward()
    assert all(p.grad is not None and p.grad.dtype == p.dtype for p in ours.parameters())


@pytest.mark.parametrize("cell", [PeepholeLSTMCell, NormalisedCell, TwoWidthsCell, ostinato.ChoGRUCell])
@pytest.mark.parametrize("lengths", [None, [6, 0, 2]])
def test_other_cells_keep_their_states(cell, lengths) -> None:
    layer = ostinato.Recurrent(cell, 4, 5, 2, bidirectional=True)
    x = torch.randn(6, 3, 4)
    expected = layer(x, lengths=lengths)
    with torch.autocast("cpu", torch.bfloat16):
        got = layer(x, lengths=lengths)
        assert "autocast" in ostinato.explain(layer).why
    assert set(dtypes(got)[1:]) == {torch.float32}
    for one, two in zip(parts(got), parts(expected), strict=True):
        torch.testing.assert_close(one, two, rtol=0.1, atol=0.1)
    sum(p.sum() for p in parts(got)).backward()


def test_native_by_name_says_why_not() -> None:
    layer = ostinato.LSTM(4, 5, engine="native")
    with torch.autocast("cpu", torch.bfloat16), pytest.raises(errors.EngineError, match=r"autocast mixes two"):
        layer(torch.randn(6, 3, 4))


def test_a_backward_inside_autocast_keeps_its_forwards_precision() -> None:
    layer, x = ostinato.Recurrent(PeepholeLSTMCell, 4, 5, engine="native"), torch.randn(6, 3, 4, requires_grad=True)
    (expected,) = torch.autograd.grad(layer(x)[0].sum(), x)
    output, _ = layer(x)
    with torch.autocast("cpu", torch.bfloat16):
        (grad,) = torch.autograd.grad(output.sum(), x)
    assert torch.equal(grad, expected)
