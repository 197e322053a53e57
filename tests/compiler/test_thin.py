"""Products of few columns, written out, are the same products."""

from __future__ import annotations

import pytest
import torch

import ostinato
from ostinato.compiler.interpret import run
from ostinato.compiler.pipeline import build
from ostinato.compiler.thin import FEW, thin
from ostinato.compiler.trace import trace
from ostinato.compiler.verify import verify
from tests.compiler.whole import sequences

CELLS = (ostinato.LSTMCell, ostinato.GRUCell, ostinato.RNNCell, ostinato.ChoGRUCell)


def products(graph) -> list[int]:
    return [n.inputs[1].shape[1] for n in graph.nodes() if n.op == "linear"]


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("width", range(1, FEW + 2))
def test_the_graph_means_the_same(cell, width) -> None:
    graph = trace(cell(width, 5), width, {}, {})
    made = thin(graph)
    verify(made)
    values = sequences(graph, 1, 3).values
    for name, want in run(graph, values).items():
        torch.testing.assert_close(run(made, values)[name], want)
    assert (width in products(made)) == (width > FEW)
    assert 5 in products(made)


def test_the_weights_gradient_is_a_sum_and_no_product_over_all_steps() -> None:
    backward = build(ostinato.GRUCell(1, 5), 1, {}, {}, True).program.backward
    assert {w.value for w in backward.weights} == {"h"}
    assert len(backward.sums) > len(build(ostinato.GRUCell(3, 5), 3, {}, {}, True).program.backward.sums)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("width", [1, FEW])
def test_layers_on_one_feature_agree_with_the_loop(cell, width) -> None:
    torch.manual_seed(0)
    layer = ostinato.Recurrent(cell, width, 19, num_layers=2, bidirectional=True, engine="native").double()
    x = torch.randn(7, 3, width, dtype=torch.float64, requires_grad=True)
    results = []
    for engine in ("native", "loop"):
        layer.engine = engine
        output, _ = layer(x, lengths=[7, 2, 5])
        results.append([output, *torch.autograd.grad(output.square().sum(), [x, *layer.parameters()])])
    for ours, loops in zip(*results, strict=True):
        torch.testing.assert_close(ours, loops)
