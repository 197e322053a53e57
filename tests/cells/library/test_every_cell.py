"""Every cell of the library, by itself and as a layer: what holds of one holds of all."""

from __future__ import annotations

import copy
import dataclasses

import pytest
import torch

import ostinato
from ostinato.cells import registry
from ostinato.cells.registry import Known
from tests.support.layer_matrix import Case, as_tuple, compare, randomised

I, H = 3, 4

EVERYONE = tuple(registry.everyone().values())
every_cell = pytest.mark.parametrize("known", EVERYONE, ids=lambda known: known.name)

ONLY_THE_LOOP: dict[str, str] = {}
"""Name → words of the docstring that say why the cell's mathematics keeps its step from being compiled."""

MATRIX = (
    Case(engine="native", batch_first=True, form="lengths", steps=5, lengths=(3, 0, 5, 2)),
    Case(engine="native", bidirectional=True, form="packed", steps=4, lengths=(2, 4, 1), with_hx=False),
    Case(engine="native", form="unbatched", steps=3, with_hx=False),
    Case(engine="loop", layers=2, bidirectional=True, form="lengths", steps=3, lengths=(1, 3)),
    Case(engine="auto", form="full", steps=3, lengths=(3, 3), with_hx=False),
)
"""Few, so that the whole library takes little; the rest is drawn at random in tests/layers."""


def layers_apart(known: Known) -> int:
    """How many layers show all that the cell can be: 2 if its parameters depend on the layer, or on I being H.

    A second layer's x has another width, and so a program of its own to be compiled.
    """
    layer = ostinato.Recurrent(known.cell, I, H, 2, device="meta")
    rows = [(name, len(value)) for name, value in layer.named_parameters()]
    first, second = ({(n.replace(f"_l{k}", ""), count) for n, count in rows if f"_l{k}" in n} for k in range(2))
    return 1 if first == second else 2


def a_layer(known: Known, engine: str, **options) -> ostinato.Recurrent:
    return randomised(ostinato.Recurrent(known.cell, I, H, dtype=torch.float64, engine=engine, **options), 3)


@every_cell
@pytest.mark.parametrize("case", MATRIX, ids=lambda case: f"{case.engine}-{case.form}")
def test_the_layer_is_the_step_row_by_row(known: Known, case: Case) -> None:
    layers = case.layers if case.engine == "loop" else layers_apart(known)
    compare(known.cell, dataclasses.replace(case, layers=layers, input_size=I, hidden_size=H))


@every_cell
@pytest.mark.parametrize("engine", ["loop", "native"])
def test_derivatives(known: Known, engine: str) -> None:
    layer = a_layer(known, engine)
    names, values = zip(*((n, p.detach().clone().requires_grad_()) for n, p in layer.named_parameters()), strict=True)
    x = torch.randn(3, 2, I, dtype=torch.float64, requires_grad=True)
    initial = [torch.randn(1, 2, s, dtype=torch.float64, requires_grad=True) for s in layer.state_shape.sizes[0]]

    def run(x, *rest):
        hx = rest[: len(initial)]
        parameters = dict(zip(names, rest[len(initial) :], strict=True))
        output, state = torch.func.functional_call(layer, parameters, (x, hx if len(hx) > 1 else hx[0]))
        return (output, *as_tuple(state))

    assert torch.autograd.gradcheck(run, (x, *initial, *values), fast_mode=True)


@every_cell
def test_nothing_is_found_by_check(known: Known) -> None:
    report = ostinato.check(known.cell, I, H)
    assert report.ok, str(report)


@every_cell
def test_it_is_compiled(known: Known) -> None:
    layer = ostinato.Recurrent(known.cell, I, H)
    if known.name in ONLY_THE_LOOP:
        assert ONLY_THE_LOOP[known.name] in " ".join(known.cell.__doc__.split())
        assert ostinato.explain(layer).engine == "loop"
    else:
        layer.engine = "native"
        assert ostinato.explain(layer).engine == "native"


@every_cell
def test_a_stream_is_the_layer(known: Known) -> None:
    layer = a_layer(known, "auto", num_layers=layers_apart(known)).eval()
    frames = torch.randn(5, 2, I, dtype=torch.float64)
    live = ostinato.stream(layer, batch_size=2)
    with torch.no_grad():
        outputs = torch.stack([live.step(x) for x in frames])
        expected, state = layer(frames)
    torch.testing.assert_close(outputs, expected, rtol=0, atol=1e-12)
    for got, want in zip(as_tuple(live.state), as_tuple(state), strict=True):
        torch.testing.assert_close(got, want, rtol=0, atol=1e-12)


@every_cell
def test_the_name_makes_the_layer(known: Known) -> None:
    assert ostinato.Recurrent(known.name, I, H).cell_type is known.cell
    assert getattr(ostinato.cells, known.cell.__name__) is known.cell


@every_cell
def test_a_seed_repeats_and_every_number_is_drawn(known: Known) -> None:
    def drawn() -> ostinato.Recurrent:
        torch.manual_seed(5)
        return ostinato.Recurrent(known.cell, I, H, 2)

    first, second = drawn(), drawn()
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    with torch.no_grad():
        for parameter in second.parameters():
            parameter.fill_(torch.nan)
    torch.manual_seed(5)
    second.reset_parameters()
    for (name, a), b in zip(first.named_parameters(), second.parameters(), strict=True):
        assert not b.isnan().any(), f"reset_parameters leaves {name} as it was"
        assert a.shape == b.shape


@every_cell
def test_copies_and_weights_travel(known: Known) -> None:
    layer = a_layer(known, "loop")
    x = torch.randn(3, 2, I, dtype=torch.float64)
    expected, _ = layer(x)
    other = ostinato.Recurrent(known.cell, I, H, dtype=torch.float64, engine="loop")
    other.load_state_dict(layer.state_dict())
    twin = copy.deepcopy(layer)
    for again in (other, twin):
        assert torch.equal(again(x)[0], expected)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
    assert torch.equal(layer(x)[0], expected)
