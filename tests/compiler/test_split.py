"""What is prepared, what is hoisted, what stays in the loop."""

from __future__ import annotations

import pytest
import torch

from ostinato.compiler.graph import Builder, Graph
from ostinato.compiler.interpret import run
from ostinato.compiler.split import PARAMS, split
from ostinato.compiler.trace import trace
from ostinato.compiler.verify import verify
from tests.compiler.cells import CELLS, CONSTANTS, STREAMS, I, cell, widths
from tests.compiler.whole import sequences


def parts(name: str):
    graph = trace(cell(name), I, widths(STREAMS, name), widths(CONSTANTS, name))
    return graph, split(graph)


def ops(graph: Graph) -> list[str]:
    return [n.op for n in graph.nodes() if n.op not in ("input", "const")]


@pytest.mark.parametrize("name", CELLS)
def test_the_three_parts_are_the_step(name: str) -> None:
    graph, made = parts(name)
    for part in (graph, made.prepare, made.hoist, made.step):
        verify(part)
    values = sequences(graph, 1, 3).values
    known = values | run(made.prepare, {n: values[n] for n in made.prepare.inputs})
    known |= run(made.hoist, {n: known[n] for n in made.hoist.inputs})
    got = run(made.step, {n: known[n] for n in made.step.inputs})
    for name, want in run(graph, values).items():
        torch.testing.assert_close(got[name], want)


def test_one_stream_for_all_gates_and_the_bias_with_it() -> None:
    _, made = parts("LSTM")
    assert ops(made.hoist) == ["linear", "broadcast", "add"]
    assert {n: i.shape for n, i in made.step.inputs_of("stream").items()} == {"s0": (16,)}
    assert "x" not in made.step.inputs


def test_parameters_are_worked_on_once() -> None:
    _, made = parts("ChoGRU")
    assert set(ops(made.prepare)) == {"aten"}
    assert {made.step.inputs[n].shape for n in made.step.inputs_of("param")} == {(8, 4), (4, 4), (8,), (4,)}


def test_elementwise_work_on_a_stream_stays_in_the_loop() -> None:
    _, made = parts("time gap and speaker")
    assert {n: i["kind"] for n, i in made.step.inputs.items()} == {
        "h": "state", "gap": "stream", "speaker": "constant", "s0": "stream", "p1": "param",
    }  # fmt: skip


def test_what_depends_on_constants_only_is_computed_once_a_sequence() -> None:
    b = Builder()
    x, h = b.input("x", "x", (2,), True), b.input("state", "h", (2,), True)
    k, w = b.input("constant", "k", (6,), True), b.input("tensor", "w", (2, 2), False)
    moved = b.pointwise("tanh", b.slice(b.pointwise("exp", k), 0, 0, 2))
    read = b.slice(k, 0, 2, 4)
    both = b.pointwise("mul", b.linear(b.pointwise("add", x, read), w), moved)
    new = b.pointwise("add", b.pointwise("mul", both, read), h)
    made = split(Graph({"x": x, "h": h, "k": k, "w": w}, {"output": new, "new.h": new}))
    assert made.constant_outputs == ("k0",)
    assert list(made.hoist.outputs) == ["s0", "k0"]
    assert set(made.step.inputs) == {"h", "k", "s0", "k0"}
    assert ops(Graph(made.hoist.inputs, {"k0": made.hoist.outputs["k0"]})) == ["exp", "slice", "tanh"]


def test_a_gain_and_a_bias_of_parameters_are_hoisted_with_a_normalisation() -> None:
    b = Builder()
    x, h = b.input("x", "x", (4,), True), b.input("state", "h", (4,), True)
    gain, bias = b.input("tensor", "gain", (4,), False), b.input("tensor", "bias", (4,), False)
    value = b.make("layer_norm", (x,), (4,), True, eps=1e-5)
    value = b.pointwise("add", b.pointwise("mul", value, b.broadcast(gain, (4,))), b.broadcast(bias, (4,)))
    new = b.pointwise("tanh", b.pointwise("add", value, h))
    made = split(Graph({"x": x, "h": h, "gain": gain, "bias": bias}, {"output": new, "new.h": new}))
    assert ops(made.step) == ["add", "tanh"]


def test_names_that_the_step_has_already_are_not_taken() -> None:
    b = Builder()
    x, s0 = b.input("x", "x", (2,), True), b.input("state", "s0", (2,), True)
    p0 = b.input("stream", "p0", (2,), True)
    w = b.input("tensor", "w", (2, 2), False)
    new = b.pointwise("add", b.pointwise("add", b.linear(x, w), s0), p0)
    made = split(Graph({"x": x, "s0": s0, "p0": p0, "w": w}, {"output": new, "new.s0": new}))
    assert set(made.step.inputs) == {"s0", "p0", "s1"}
    assert set(made.hoist.inputs) == {"x", "p1"}


@pytest.mark.parametrize("name", CELLS)
def test_a_single_step_may_keep_all_that_reads_a_row(name: str) -> None:
    graph = trace(cell(name), I, widths(STREAMS, name), widths(CONSTANTS, name))
    made = split(graph, hoist=PARAMS)
    assert not made.hoist.outputs
    assert not made.constant_outputs
    values = sequences(graph, 1, 3).values
    known = values | run(made.prepare, {n: values[n] for n in made.prepare.inputs})
    got = run(made.step, {n: known[n] for n in made.step.inputs})
    for name, want in run(graph, values).items():
        torch.testing.assert_close(got[name], want)
