"""How much is kept for the backward: exactly."""

from __future__ import annotations

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from ostinato.compiler.cut import Flow
from ostinato.compiler.pipeline import build
from ostinato.compiler.program import Program
from ostinato.compiler.split import TIME
from ostinato.compiler.verify import verify
from tests.compiler.cells import CELLS, CONSTANTS, STREAMS, H, I, cell, widths


def program(name: str) -> Program:
    return build(cell(name), I, widths(STREAMS, name), widths(CONSTANTS, name), True, hoist=TIME).program


def kept(p: Program) -> list[int]:
    return [p.forward.outputs[name].width for name in p.saved]


def op(p: Program, name: str) -> str:
    return p.forward.outputs[name].op


def test_lstm_keeps_its_gates_and_the_cell_state() -> None:
    p = program("LSTM")
    assert kept(p) == [H] * 4
    assert sorted(op(p, n) for n in p.saved) == ["sigmoid", "sigmoid", "sigmoid", "tanh"]
    assert p.backward is not None
    assert p.backward.trajectories == ("h", "c")
    assert [n.op for n in p.backward.graph.nodes()].count("tanh") == 1


def test_gru_keeps_its_gates_and_one_product() -> None:
    p = program("GRU")
    assert kept(p) == [H] * 4
    assert sorted(op(p, n) for n in p.saved) == ["add", "sigmoid", "sigmoid", "tanh"]


@pytest.mark.parametrize("name", ["RNN", "RNN relu"])
def test_rnn_keeps_nothing_but_its_output(name: str) -> None:
    p = program(name)
    assert p.saved == ()
    assert p.backward is not None
    assert p.backward.trajectories == ("h",)


@pytest.mark.parametrize(
    ("name", "widths"),
    [
        ("LSTMP", [H] * 4),
        ("ChoGRU", [H] * 3),
        ("Elman", [2]),
        ("peephole", [H] * 4),
        ("LayerNorm", [H, 1]),
        ("two widths", []),
        ("time gap", [1]),
    ],
)
def test_what_other_cells_keep(name: str, widths: list[int]) -> None:
    assert sorted(kept(program(name)), reverse=True) == widths


def test_what_a_weight_multiplied_comes_from_where_it_is() -> None:
    def wheres(name: str) -> set[tuple[str, str]]:
        backward = program(name).backward
        assert backward is not None
        return {(w.value, w.where) for w in backward.weights}

    assert wheres("LSTM") == {("h", "state")}
    assert wheres("ChoGRU") == {("h", "state"), ("value.0", "backward")}
    assert wheres("Elman") == {("h", "state"), ("h", "trajectory")}


@pytest.mark.parametrize("name", CELLS)
def test_every_part_is_legal(name: str) -> None:
    p = program(name)
    assert p.backward is not None
    for part in (p.prepare, p.hoist, p.forward, p.backward.graph):
        verify(part)
    outputs = p.backward.graph.outputs
    assert all(w.grad in outputs for w in p.backward.weights)
    assert all(w.value in outputs for w in p.backward.weights if w.where == "backward")
    assert all(s.grad in outputs for s in p.backward.sums)
    read = {n for n, i in p.backward.graph.inputs.items() if i["kind"] == "saved"}
    assert read == set(p.saved)


@for_all(edges=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 4)), max_size=14))
def test_the_cut_is_the_cheapest(edges: list[tuple[int, int, int]]) -> None:
    """Against every one of the 16 ways to part four points."""
    edges = [(a, b, c) for a, b, c in edges if a != b]
    flow = Flow()
    flow.edge(0, 5, 0.0)
    for a, b, c in edges:
        flow.edge(a, b, c)

    def price(late: set[int]) -> int:
        return sum(c for a, b, c in edges if a not in late and b in late)

    ways = [{5} | {n for n in range(1, 5) if bits >> n & 1} for bits in range(0, 32, 2)]
    cost, late = flow.cut(0, 5)
    assert cost == price(set(late)) == min(map(price, ways))
    assert len(late) == min(len(w) for w in ways if price(w) == cost)
