"""Products of the output, moved behind the loop where it has no others."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import linear

import ostinato
from ostinato.compiler import program as programs
from ostinato.compiler.graph import Graph
from ostinato.compiler.interpret import run
from ostinato.compiler.pipeline import compile_graph
from ostinato.compiler.sink import PASSED, held_in_output, sink
from ostinato.compiler.split import Split, split
from ostinato.compiler.trace import trace
from ostinato.compiler.verify import verify
from tests.compiler.whole import check, sequences

I, H, O = 4, 5, 3


class Own(ostinato.Cell):
    """Two states without a product between them; each test has an output of its own."""

    state_names = ("a", "b")
    separate_output = True

    def __init__(self) -> None:
        super().__init__(I, H)
        self.w = nn.Parameter(torch.empty(H, I))
        self.u = nn.Parameter(torch.empty(O, H))
        self.v = nn.Parameter(torch.empty(O, H))
        self.d = nn.Parameter(torch.empty(O, I))
        self.e = nn.Parameter(torch.empty(O))
        self.reset_parameters()

    @property
    def output_size(self) -> int:
        return O

    def step(self, x, a, b):
        new = linear(x, self.w)
        f = torch.sigmoid(new)
        a, b = f * a + new, 0.5 * b + f
        return self.out(x, a, b, new), a, b


class SumOfProducts(Own):
    def out(self, x, a, b, new):
        return linear(a, self.u) - linear(b, self.v) + linear(x, self.d)


class Biased(Own):
    def out(self, x, a, b, new):
        return torch.tanh(linear(b, self.v, self.e)) * self.e


class OfWork(Own):
    """The product reads no state itself but what is made of two; what is hoisted is read on both sides."""

    def out(self, x, a, b, new):
        return linear(torch.tanh(a) * b, self.u) + linear(new, self.v) + linear(torch.exp(x), self.d)


class Before(Own):
    """Of the states before the step, and twice of the same."""

    def __init__(self) -> None:
        super().__init__()

    def step(self, x, a, b):
        new = linear(x, self.w)
        y = linear(a, self.u) + linear(a, self.v) - linear(b, self.v)
        return y, 0.9 * a + new, 0.5 * b + torch.tanh(new)


class LRU(ostinato.cells.LRUCell):
    def __init__(self) -> None:
        super().__init__(I, H, output_size=O)


SUNK = (SumOfProducts, Biased, OfWork, Before, LRU)


class Recurrent(Own):
    """A product of a state that a state reads stays, and all others with it."""

    def step(self, x, a, b):
        a = torch.tanh(linear(x, self.w) + linear(linear(b, self.u), self.u.T))
        return linear(a, self.v), a, 0.5 * b + a


class Flagged(Own):
    """A flag cannot be passed on as a number."""

    def out(self, x, a, b, new):
        return torch.where(a[:, :O] > 0, linear(b, self.v), 0.5)


class NoProduct(Own):
    def out(self, x, a, b, new):
        return (a * b)[:, :O] + linear(x, self.d)


def traced(kind: type[ostinato.Cell]) -> Graph:
    torch.manual_seed(0)
    return trace(kind(), I, {}, {})


def parts(kind: type[ostinato.Cell]) -> Split:
    return sink(split(traced(kind)))


def operations(graph: Graph) -> list[str]:
    return [n.op for n in graph.nodes()]


@pytest.mark.parametrize("kind", SUNK)
def test_the_parts_are_the_step(kind: type[ostinato.Cell]) -> None:
    graph, made = traced(kind), parts(kind)
    for part in (made.prepare, made.hoist, made.step, made.sink):
        verify(part)
    values = sequences(graph, 1, 3).values
    known = values | run(made.prepare, {n: values[n] for n in made.prepare.inputs})
    known |= run(made.hoist, {n: known[n] for n in made.hoist.inputs})
    got = run(made.step, {n: known[n] for n in made.step.inputs})
    known[PASSED] = got["output"]
    got |= run(made.sink, {n: known[n] for n in made.sink.inputs})
    for name, want in run(graph, values).items():
        torch.testing.assert_close(got[name], want)


@pytest.mark.parametrize("kind", SUNK)
def test_no_product_is_left_in_the_loop(kind: type[ostinato.Cell]) -> None:
    made = compile_graph(traced(kind), True).program
    assert "linear" not in operations(made.forward)
    assert not {"linear", "linear_t"} & set(operations(made.backward.graph))
    assert "linear" in operations(made.sink)


@pytest.mark.parametrize("kind", SUNK)
@pytest.mark.parametrize(("sizes", "reverse"), [(None, False), ((3, 2, 2, 1), True)])
def test_the_program_is_the_step_over_time(kind: type[ostinato.Cell], sizes: object, reverse: bool) -> None:
    graph = traced(kind)
    made = programs.loads(programs.dumps(compile_graph(graph, True).program))
    check(graph, made, sequences(graph, 4, 3, sizes, reverse))


@pytest.mark.parametrize("kind", [Recurrent, Flagged, NoProduct])
def test_what_stays(kind: type[ostinato.Cell]) -> None:
    before = split(traced(kind))
    assert sink(before) is before


def test_what_only_the_output_reads_of_x_is_not_hoisted() -> None:
    made = parts(SumOfProducts)
    assert list(made.hoist.outputs) == ["s0"]
    assert set(made.sink.inputs_of("x")) == {"x"}


def test_states_that_the_loop_passes_on_are_kept_once() -> None:
    made = compile_graph(traced(SumOfProducts), True).program
    assert held_in_output(made.forward) == {"a": (0, H), "b": (H, H)}
    assert made.forward.outputs["output"].width == 2 * H


@pytest.mark.parametrize("kind", SUNK)
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("option", [{}, {"recompute": "chunks"}])
def test_layers_agree_with_the_loop(kind: type[ostinato.Cell], bidirectional: bool, option: dict[str, str]) -> None:
    class Sized(kind):
        def __init__(self, input_size: int, hidden_size: int) -> None:
            super().__init__()

    torch.manual_seed(0)
    layer = ostinato.Recurrent(Sized, I, H, bidirectional=bidirectional, engine="native", **option).double()
    x = torch.randn(11, 3, I, dtype=torch.float64, requires_grad=True)
    results = []
    for engine in ("native", "loop"):
        layer.engine = engine
        output, state = layer(x, lengths=[11, 2, 5])
        total = output.square().sum() + sum(s.sin().sum() for s in state)
        results.append([output, *torch.autograd.grad(total, [x, *layer.parameters()], allow_unused=True)])
    for ours, loops in zip(*results, strict=True):
        torch.testing.assert_close(ours, loops)
    layer.engine = "native"
    with torch.no_grad():
        torch.testing.assert_close(layer(x, lengths=[11, 2, 5])[0], results[1][0])


def test_only_a_final_state_has_a_gradient() -> None:
    layer = ostinato.Recurrent("lru", I, H, engine="native", dtype=torch.float64)
    x = torch.randn(6, 2, I, dtype=torch.float64)
    results = []
    for engine in ("native", "loop"):
        layer.engine = engine
        total = layer(x)[1][0].square().sum()
        results.append(torch.autograd.grad(total, [layer.weight_ih_l0, layer.nu_l0, layer.theta_l0]))
    for ours, loops in zip(*results, strict=True):
        torch.testing.assert_close(ours, loops)


def test_second_derivatives_and_torch_compile() -> None:
    layer = ostinato.Recurrent("lru", I, H, engine="native", dtype=torch.float64)
    x = torch.randn(5, 2, I, dtype=torch.float64, requires_grad=True)
    penalties = []
    for engine in ("native", "loop"):
        layer.engine = engine
        (grad,) = torch.autograd.grad(layer(x)[0].square().sum(), x, create_graph=True)
        penalties.append(torch.autograd.grad(grad.square().sum(), layer.weight_ih_l0)[0])
    torch.testing.assert_close(*penalties)
    layer.engine = "native"
    made = torch.compile(layer, backend="aot_eager", fullgraph=True)
    outputs = [module(x)[0] for module in (made, layer)]
    torch.testing.assert_close(*outputs)
    grads = [torch.autograd.grad(y.square().sum(), [x, *layer.parameters()]) for y in outputs]
    for ours, eager in zip(*grads, strict=True):
        torch.testing.assert_close(ours, eager)
