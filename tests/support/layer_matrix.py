"""One case of the layer matrix: a layer of any cell against the row-by-row reference, values and every gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import ostinato
from tests.support import reference

FORMS = ("full", "lengths", "packed", "unbatched")


@dataclass(frozen=True)
class Case:
    """How a layer is built and called.

    Args:
        form: of the input, out of :data:`FORMS`.
        steps, lengths: T, and the length of each row, cut to what the form allows.
        with_hx: whether initial states are given; they are part of what gradients are compared for.
        input_size, hidden_size: I and H.
        options: of the cell.
    """

    layers: int = 1
    bidirectional: bool = False
    batch_first: bool = False
    form: str = "full"
    steps: int = 5
    lengths: tuple[int, ...] = (5, 5)
    with_hx: bool = True
    engine: str = "loop"
    input_size: int = 4
    hidden_size: int = 5
    options: tuple[tuple[str, Any], ...] = ()


def randomised(layer: ostinato.Recurrent, seed: int) -> ostinato.Recurrent:
    """Every number drawn anew, so that no submodule stands at ones and zeros."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_(0, 0.5)
    return layer


def gradients(values: tuple[Tensor, ...], wanted: list[Tensor]) -> list[Tensor]:
    """Of a random weighting of all values; zeros for what they do not depend on."""
    torch.manual_seed(4)
    loss = sum((v * torch.randn_like(v)).sum() for v in values)
    if not loss.requires_grad:
        return [torch.zeros_like(w) for w in wanted]
    found = torch.autograd.grad(loss, wanted, allow_unused=True)
    return [torch.zeros_like(w) if g is None else g for g, w in zip(found, wanted, strict=True)]


def lengths_of(case: Case) -> tuple[int, list[int]]:
    """T and the lengths, as the form allows them."""
    steps, lengths = case.steps, [min(n, case.steps) for n in case.lengths]
    if case.form == "full":
        lengths = [steps] * len(lengths)
    elif case.form == "packed":
        lengths = [max(n, 1) for n in lengths] or [1]
        steps = max(steps, 1, *lengths)
    elif case.form == "unbatched":
        lengths = [steps]
    return steps, lengths


def compare(cell: type[ostinato.Cell], case: Case) -> None:
    """AssertionError where the layer and the reference differ."""
    layer = randomised(
        ostinato.Recurrent(
            cell,
            case.input_size,
            case.hidden_size,
            case.layers,
            bidirectional=case.bidirectional,
            batch_first=case.batch_first,
            dtype=torch.float64,
            engine=case.engine,
            **dict(case.options),
        ),
        1,
    )
    steps, lengths = lengths_of(case)
    rows = len(lengths)
    x = torch.randn(steps, rows, case.input_size, dtype=torch.float64, requires_grad=True)
    count = case.layers * (2 if case.bidirectional else 1)
    sizes = layer.state_shape.sizes[0]
    initial = [torch.randn(count, rows, size, dtype=torch.float64, requires_grad=True) for size in sizes]
    given = initial if case.with_hx else None
    output, state = call(layer, case, x, given, steps, lengths)
    if rows == 0:
        assert output.shape == (steps, 0, layer.output_size)
        return
    expected, expected_state = reference.run(layer, x, lengths, given)
    torch.testing.assert_close(output, expected, rtol=0, atol=1e-10)
    for got, want in zip(state, expected_state, strict=True):
        torch.testing.assert_close(got, want, rtol=0, atol=1e-10)
    wanted = [*layer.parameters(), x, *(initial if case.with_hx else [])]
    ours = gradients((output, *state), wanted)
    theirs = gradients((expected, *expected_state), wanted)
    for got, want in zip(ours, theirs, strict=True):
        torch.testing.assert_close(got, want, rtol=0, atol=1e-9)


def call(layer, case: Case, x: Tensor, initial, steps: int, lengths: list[int]) -> tuple[Tensor, tuple[Tensor, ...]]:
    """The output (T, B, ·) and the states (D·L, B, ·), whatever form the input takes."""
    hx = None
    if initial is not None:
        given = tuple(s.squeeze(1) for s in initial) if case.form == "unbatched" else tuple(initial)
        hx = given if len(given) > 1 else given[0]
    input = x.transpose(0, 1) if case.batch_first else x
    if case.form == "unbatched":
        output, state = layer(x.squeeze(1), hx)
        return output.unsqueeze(1), tuple(s.unsqueeze(1) for s in as_tuple(state))
    if case.form == "packed":
        packed = pack_padded_sequence(input, lengths, batch_first=case.batch_first, enforce_sorted=False)
        output, state = layer(packed, hx)
        output, _ = pad_packed_sequence(output, total_length=steps)
        return output, as_tuple(state)
    output, state = layer(input, hx, lengths=lengths if case.form == "lengths" else None)
    return output.transpose(0, 1) if case.batch_first else output, as_tuple(state)


def as_tuple(state: Any) -> tuple[Tensor, ...]:
    """The states of a call, one or several."""
    return state if isinstance(state, tuple) else (state,)
