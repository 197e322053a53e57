"""Gradients clipped inside time: what flows back from a step to a state is clamped, and nothing else is touched."""

from __future__ import annotations

import pytest
import torch

import ostinato
from ostinato import errors
from tests.support.layer_matrix import as_tuple, gradients, randomised
from tests.support.own_cells import OWN_CELLS

CELLS = (*OWN_CELLS, ostinato.LSTMCell, ostinato.ChoGRUCell)
LIMIT = 0.05


def by_hand(layer, x, hx, weights):
    """The gradients of one layer's call in one direction, step by step backwards, each state's clamped by hand.

    Args:
        weights: the gradients of the output and of the final states.
    """
    cell = layer.bind(0)[0]
    parameters = list(layer.parameters())
    states, records = tuple(s[0] for s in hx), []
    for t in range(len(x)):
        inputs = [v.detach().requires_grad_() for v in (x[t], *states)]
        output, new = cell.split(cell.step(*inputs))
        records.append((inputs, output, new))
        states = tuple(s.detach() for s in new)
    into = [w[0] for w in weights[1:]]
    total, by_step = [torch.zeros_like(p) for p in parameters], []
    for t in range(len(x))[::-1]:
        inputs, output, new = records[t]
        values, grads = [output, *new], [weights[0][t], *into]
        found = torch.autograd.grad(values, [*inputs, *parameters], grads, allow_unused=True, materialize_grads=True)
        by_step.append(found[0])
        into = [g.clamp(-LIMIT, LIMIT) for g in found[1 : len(inputs)]]
        total = [a + b for a, b in zip(total, found[len(inputs) :], strict=True)]
    return [torch.stack(by_step[::-1]), *(g.unsqueeze(0) for g in into), *total]


@pytest.mark.parametrize("cell", CELLS)
def test_each_step_back_is_clamped(cell) -> None:
    layer = randomised(ostinato.Recurrent(cell, 4, 5, clip_gradient=LIMIT, dtype=torch.float64), 1)
    plain = ostinato.Recurrent(cell, 4, 5, dtype=torch.float64)
    plain.load_state_dict(layer.state_dict())
    x = torch.randn(6, 3, 4, dtype=torch.float64, requires_grad=True)
    hx = [torch.randn(1, 3, s, dtype=torch.float64, requires_grad=True) for s in layer.state_shape.sizes[0]]
    state = tuple(hx) if len(hx) > 1 else hx[0]
    expected, expected_state = plain(x, state)
    weights = [torch.randn_like(v) for v in (expected, *as_tuple(expected_state))]
    want = by_hand(layer, x, hx, weights)
    inputs = [x, *hx, *layer.parameters()]
    for engine in ("loop", "native"):
        with ostinato.engine(engine):
            output, final = layer(x, state)
        values = [output, *as_tuple(final)]
        for got, same in zip(values, [expected, *as_tuple(expected_state)], strict=True):
            torch.testing.assert_close(got, same, rtol=0, atol=1e-12)
        found = torch.autograd.grad(values, inputs, weights, allow_unused=True, materialize_grads=True)
        for got, one in zip(found, want, strict=True):
            torch.testing.assert_close(got, one, rtol=0, atol=1e-11)
    free = torch.autograd.grad([expected, *as_tuple(expected_state)], hx, weights)
    assert any((f.abs() > LIMIT).any() for f in free), "nothing was there to be clamped"


def test_with_everything_else() -> None:
    """Engines agree where it stands beside zoneout, recurrent dropout, resets, directions and lengths."""
    layer = randomised(
        ostinato.LSTM(
            4, 5, 2, bidirectional=True, dropout=0.2, zoneout=0.2, recurrent_dropout=0.2, clip_gradient=0.1,
            initial_state="learned", dtype=torch.float64,
        ),
        1,
    )  # fmt: skip
    x = torch.randn(6, 3, 4, dtype=torch.float64, requires_grad=True)
    flags = torch.rand(6, 3) < 0.3
    results = []
    for engine in ("loop", "native"):
        torch.manual_seed(3)
        with ostinato.engine(engine):
            output, state = layer(x, lengths=[6, 0, 4], reset=flags)
        results.append([output, *state, *gradients((output, *state), [x, *layer.parameters()])])
    for one, two in zip(*results, strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=1e-10)


def test_without_gradients_nothing_is_added() -> None:
    layer = ostinato.LSTM(4, 5, clip_gradient=1.0, engine="aten")
    with torch.no_grad():
        assert layer(torch.randn(3, 2, 4))[0].shape == (3, 2, 5)
    with pytest.raises(errors.EngineError, match="LSTMCell with clipped gradients is not one of torch's own cells"):
        layer(torch.randn(3, 2, 4))


def test_bad_input() -> None:
    for wrong in (0, -1.0, float("nan")):
        with pytest.raises(errors.InvalidValue, match="clip_gradient must be greater than zero"):
            ostinato.GRU(4, 5, clip_gradient=wrong)
    for wrong in ("1", True, [1.0]):
        with pytest.raises(errors.InvalidType, match="clip_gradient must be a number or None"):
            ostinato.GRU(4, 5, clip_gradient=wrong)
