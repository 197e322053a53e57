"""A layer norm of products as a root-mean-square norm of centred products is the same norm."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import layer_norm, linear

import ostinato
from ostinato.compiler.centre import centre
from ostinato.compiler.interpret import run
from ostinato.compiler.trace import trace
from ostinato.compiler.verify import verify
from tests.compiler.whole import sequences


class Normalised(ostinato.Cell):
    """A cell whose ``norm`` says what is normalised."""

    def __init__(self, input_size: int, hidden_size: int, norm: str = "product") -> None:
        super().__init__(input_size, hidden_size)
        self.norm = norm
        self.weight_ih = nn.Parameter(torch.empty(2 * hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(2 * hidden_size, hidden_size))
        self.bias = nn.Parameter(torch.empty(2 * hidden_size))
        self.reset_parameters()

    def step(self, x, h):
        from_x, from_h = linear(x, self.weight_ih), linear(h, self.weight_hh)
        if self.norm == "product":
            z = layer_norm(from_h, from_h.shape[-1:]) + from_x + self.bias
        elif self.norm == "sum":
            z = layer_norm(from_x - from_h + self.bias, from_h.shape[-1:], self.bias)
        elif self.norm == "read twice":
            z = layer_norm(from_h, from_h.shape[-1:]) + from_x + 0.1 * from_h + self.bias
        else:
            z = layer_norm(torch.tanh(from_h), from_h.shape[-1:]) + from_x + self.bias
        f, n = z.chunk(2, dim=-1)
        f = torch.sigmoid(f)
        return f * h + (1 - f) * torch.tanh(n)


CENTRED = {"product": 1, "sum": 2, "read twice": 0, "of a tanh": 0}
"""How many products have their weights centred."""


@pytest.mark.parametrize("norm", CENTRED)
def test_the_graph_means_the_same(norm: str) -> None:
    graph = trace(Normalised(3, 5, norm), 3, {}, {})
    made = centre(graph)
    verify(made)
    ops = [n.op for n in made.nodes()]
    assert ops.count("rms_norm") == (CENTRED[norm] > 0)
    assert sum(n.op == "linear" and n.inputs[1].op == "less_mean" for n in made.nodes()) == CENTRED[norm]
    values = sequences(graph, 1, 3).values
    for name, want in run(graph, values).items():
        torch.testing.assert_close(run(made, values)[name], want)


@pytest.mark.parametrize("norm", CENTRED)
def test_layers_agree_with_the_loop(norm: str) -> None:
    torch.manual_seed(0)
    layer = ostinato.Recurrent(Normalised, 3, 19, num_layers=2, bidirectional=True, norm=norm).double()
    x = torch.randn(7, 3, 3, dtype=torch.float64, requires_grad=True)
    results = []
    for engine in ("native", "loop"):
        layer.engine = engine
        output, _ = layer(x, lengths=[7, 2, 5])
        results.append([output, *torch.autograd.grad(output.square().sum(), [x, *layer.parameters()])])
    for ours, loops in zip(*results, strict=True):
        torch.testing.assert_close(ours, loops)


def test_a_common_offset_of_a_weight_is_gone_before_it_can_round() -> None:
    """Rows that share a large number have a product whose mean is all of it: centred, nothing of that is computed."""
    torch.manual_seed(0)
    layer = ostinato.Recurrent(Normalised, 3, 16, norm="product", engine="native")
    with torch.no_grad():
        layer.weight_hh_l0 += 300.0
        x = torch.randn(20, 2, 3)
        exact = ostinato.Recurrent(Normalised, 3, 16, norm="product", engine="loop").double()
        exact.load_state_dict({name: value.double() for name, value in layer.state_dict().items()})
        want = exact(x.double())[0]
        ours = (layer(x)[0] - want).abs().max()
        layer.engine = "loop"
        loops = (layer(x)[0] - want).abs().max()
    assert ours <= loops
