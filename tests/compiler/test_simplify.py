"""The form the emitters read, and that it means the same."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given as for_all
from hypothesis import settings
from hypothesis import strategies as st

from ostinato.compiler.expand import expand
from ostinato.compiler.gradient import derive
from ostinato.compiler.graph import Builder, Graph, Node
from ostinato.compiler.interpret import POINTWISE, REDUCTIONS, run
from ostinato.compiler.pipeline import build
from ostinato.compiler.program import Program
from ostinato.compiler.simplify import simplify
from ostinato.compiler.split import TIME
from ostinato.compiler.verify import verify
from tests.compiler.cells import CELLS, CONSTANTS, STREAMS, H, I, cell, widths


def program(name: str) -> Program:
    return build(cell(name), I, widths(STREAMS, name), widths(CONSTANTS, name), True, hoist=TIME).program


def same(graph: Graph) -> Graph:
    """The simplified graph, found to mean the same."""
    made = simplify(graph)
    verify(made)
    values = {
        n: torch.randn([*((3,) if node.rows else ()), *node.shape], dtype=torch.float64)
        for n, node in graph.inputs.items()
    }
    want, got = run(graph, values), run(made, {n: values[n] for n in made.inputs})
    assert list(want) == list(got)
    for name in want:
        torch.testing.assert_close(got[name], want[name], rtol=1e-12, atol=1e-12)
    return made


def canonical(graph: Graph) -> None:
    """Slices on leaves only, joins read only by what takes parts side by side."""
    for node in graph.nodes():
        if node.op == "slice":
            assert node.inputs[0].op not in POINTWISE | {"cat": 0, "broadcast": 0, "slice": 0}.keys(), str(graph)
        if node.op in POINTWISE:
            assert all(i.op != "cat" for i in node.inputs), str(graph)


@pytest.mark.parametrize("name", CELLS)
def test_every_cell_is_in_canonical_form(name: str) -> None:
    made = program(name)
    assert made.backward is not None
    canonical(made.forward)
    canonical(made.backward.graph)
    assert simplify(made.forward) is not made.forward
    assert str(simplify(made.forward)) == str(made.forward)
    assert str(simplify(made.backward.graph)) == str(made.backward.graph)


def test_lstm_forward_has_a_product_a_gate() -> None:
    graph = program("LSTM").forward
    products = [n for n in graph.nodes() if n.op == "linear"]
    assert sorted((p["start"], p["stop"]) for p in products) == [(n * H, n * H + H) for n in range(4)]
    assert {n.shape for n in graph.nodes() if n.op in POINTWISE} == {(H,)}
    assert not any(n.op == "cat" for n in graph.nodes())


def test_lstm_backward_has_one_product_of_all_gates() -> None:
    backward = program("LSTM").backward
    assert backward is not None
    graph = backward.graph
    (product,) = (n for n in graph.nodes() if n.op == "linear_t")
    assert product.inputs[0] is graph.outputs["grad.s0"]
    assert (product.inputs[0].op, product.inputs[0].shape) == ("cat", (4 * H,))
    assert {n.shape for n in graph.nodes() if n.op in POINTWISE} == {(H,)}
    assert list(graph.outputs) == ["grad.h", "grad.c", "grad.s0"]
    assert {w.grad for w in backward.weights} == {s.grad for s in backward.sums} == {"grad.s0"}


def test_overlapping_slices_leave_a_product_whole() -> None:
    b = Builder()
    h, w = b.input("state", "h", (4,), True), b.input("param", "w", (6, 4), False)
    y = b.linear(h, w)
    value = b.pointwise("mul", b.slice(y, 0, 0, 4), b.slice(y, 0, 2, 6))
    made = same(Graph({"h": h, "w": w}, {"output": value, "new.h": h}))
    assert [n.attrs for n in made.nodes() if n.op == "linear"] == [()]


def test_a_product_read_in_part_is_made_in_part() -> None:
    b = Builder()
    h, w = b.input("state", "h", (4,), True), b.input("param", "w", (6, 4), False)
    value = b.pointwise("tanh", b.slice(b.pointwise("neg", b.linear(h, w)), 0, 1, 5))
    made = same(Graph({"h": h, "w": w}, {"output": value, "new.h": h}))
    assert [(n["start"], n["stop"]) for n in made.nodes() if n.op == "linear"] == [(1, 5)]


def test_what_is_read_whole_and_in_slices_is_computed_once() -> None:
    graph = program("stacked activations").forward
    assert [n.op for n in graph.nodes()].count("sigmoid") == 3
    products = [n for n in graph.nodes() if n.op == "linear"]
    assert sorted((p["start"], p["stop"]) for p in products) == [(0, H), (H, 2 * H), (2 * H, 3 * H)]
    assert [n.op for n in program("gates on an axis").forward.nodes()].count("exp") == 4


def test_gates_stacked_on_an_axis_of_their_own() -> None:
    b = Builder()
    h, w = b.input("state", "h", (4,), True), b.input("param", "w", (8, 4), False)
    gates = b.reshape(b.linear(h, w), (2, 4))
    one, two = (b.reshape(b.slice(gates, 0, n, n + 1), (4,)) for n in range(2))
    new = b.pointwise("mul", b.pointwise("sigmoid", one), b.pointwise("tanh", two))
    step = Graph({"h": h, "w": w}, {"output": new, "new.h": new})
    assert not any(n.op in ("reshape", "slice") for n in same(step).nodes())
    backward = simplify(expand(derive(step).graph))
    canonical(backward)
    assert not any(n.op in ("reshape", "slice") for n in backward.nodes())


def test_windows_of_a_value_leave_it_whole() -> None:
    b = Builder()
    h = b.input("state", "h", (6,), True)
    y = b.pointwise("tanh", h)
    value = b.pointwise("sub", b.slice(y, 0, 1, 6), b.slice(y, 0, 0, 5))
    made = same(Graph({"h": h}, {"output": value, "new.h": y}))
    assert {n.width for n in made.nodes() if n.op == "tanh"} <= {5, 6}


IDENTITIES = {
    "x + -0.0": (lambda b, x: b.pointwise("add", x, b.const(-0.0)), True),
    "x + 0.0": (lambda b, x: b.pointwise("add", x, b.const(0.0)), False),
    "x - 0.0": (lambda b, x: b.pointwise("sub", x, b.const(0.0)), True),
    "x - -0.0": (lambda b, x: b.pointwise("sub", x, b.const(-0.0)), False),
    "0.0 - x": (lambda b, x: b.pointwise("sub", b.const(0.0), x), False),
    "x * 1": (lambda b, x: b.pointwise("mul", b.const(1.0), x), True),
    "x * 0": (lambda b, x: b.pointwise("mul", b.const(0.0), x), False),
    "x / 1": (lambda b, x: b.pointwise("div", x, b.const(1.0)), True),
    "x - x": (lambda b, x: b.pointwise("sub", x, x), False),
    "--x": (lambda b, x: b.pointwise("neg", b.pointwise("neg", x)), True),
    "x * (3 - 2)": (
        lambda b, x: b.pointwise("mul", x, b.pointwise("sub", b.broadcast(b.const(3.0), (8,)), b.const(2.0))),
        True,
    ),
}


@pytest.mark.parametrize("name", IDENTITIES)
def test_identities_are_exact(name: str) -> None:
    make, gone = IDENTITIES[name]
    b = Builder()
    x = b.input("state", "x", (8,), True)
    graph = Graph({"x": x}, {"output": make(b, x)})
    made = simplify(graph)
    assert (made.outputs["output"].op == "input") == gone
    inf, nan = float("inf"), float("nan")
    value = torch.tensor([[0.0, -0.0, 1.5, -1.5, inf, -inf, nan, 5e-324]], dtype=torch.float64)
    want, got = run(graph, {"x": value})["output"], run(made, {"x": value})["output"]
    assert torch.equal(want.view(torch.int64).where(want == want, 0), got.view(torch.int64).where(got == got, 0))


@st.composite
def graphs(draw) -> Graph:
    """Elementwise work, slices, joins, products and reductions in any order."""
    b = Builder()
    h, c = b.input("state", "h", (6,), True), b.input("state", "c", (6,), True)
    p, w = b.input("param", "p", (6,), False), b.input("param", "w", (6, 6), False)
    known: list[Node] = [h, c, b.broadcast(p, (6,)), b.broadcast(b.const(0.5), (6,))]

    def any_of() -> Node:
        return known[draw(st.integers(0, len(known) - 1))]

    def whole(value: Node) -> Node:
        """Six wide again."""
        while value.width < 6:
            value = b.cat((value, b.slice(any_of(), 0, 0, 1)), 0)
        return b.slice(value, 0, 0, 6)

    for _ in range(draw(st.integers(1, 7))):
        kind = draw(st.sampled_from(("one", "two", "slice", "cat", "linear", "sum", "rows", "number")))
        a = any_of()
        if kind == "one":
            known.append(b.pointwise(draw(st.sampled_from(("tanh", "neg", "sigmoid"))), a))
        elif kind == "two":
            known.append(b.pointwise(draw(st.sampled_from(("add", "sub", "mul"))), a, any_of()))
        elif kind == "number":
            known.append(b.pointwise("mul", a, b.const(draw(st.sampled_from((1.0, -1.0, 2.0))))))
        elif kind == "slice":
            start = draw(st.integers(0, 5))
            step = draw(st.integers(1, 2))
            known.append(whole(b.slice(a, 0, start, draw(st.integers(start + 1, 6)), step)))
        elif kind == "cat":
            at = draw(st.integers(1, 5))
            known.append(b.cat((b.slice(a, 0, 0, at), b.slice(any_of(), 0, at, 6)), 0))
        elif kind == "linear":
            known.append(b.linear(a, w))
        elif kind == "sum":
            known.append(b.broadcast(b.reduce("sum", a, [0]), (6,)))
        else:
            rows = b.slice(b.reshape(a, (2, 3)), draw(st.integers(0, 1)), 0, draw(st.integers(1, 2)))
            known.append(whole(b.reshape(rows, (rows.width,))))
    h2, c2 = b.pointwise("mul", known[-1], b.const(0.3)), any_of()
    return Graph({"h": h, "c": c, "p": p, "w": w}, {"output": h2, "new.h": h2, "new.c": c2})


@for_all(graph=graphs())
@settings(max_examples=80, deadline=None)
def test_any_graph_keeps_its_meaning(graph: Graph) -> None:
    canonical(same(graph))
    both = expand(derive(graph).graph)
    made = same(both)
    canonical(made)
    assert not any(n.op in REDUCTIONS and n.inputs[0].width == 1 for n in made.nodes())
