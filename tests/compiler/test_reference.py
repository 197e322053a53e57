"""A program run by the reference is autograd through a plain loop of the step."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given as for_all
from hypothesis import settings
from hypothesis import strategies as st

from ostinato.compiler.pipeline import compile_graph
from ostinato.compiler.reference import previous, run_forward
from ostinato.compiler.trace import trace
from tests.compiler import steps
from tests.compiler.cells import CELLS, CONSTANTS, STREAMS, I, cell, widths
from tests.compiler.whole import check, outside, sequences

HAND = {"lstm by hand": steps.lstm, "gru by hand": steps.gru, "rnn by hand": steps.rnn}
GRAPHS = {name: make() for name, make in HAND.items()}
GRAPHS |= {n: trace(cell(n), I, widths(STREAMS, n), widths(CONSTANTS, n)) for n in CELLS}
PROGRAMS = {name: (graph, compile_graph(graph, True).program) for name, graph in GRAPHS.items()}


@pytest.mark.parametrize("sizes", [None, [3, 2, 2, 0]])
@pytest.mark.parametrize("name", PROGRAMS)
def test_every_cell(name: str, sizes: list[int] | None) -> None:
    graph, program = PROGRAMS[name]
    check(graph, program, sequences(graph, 3, 3, sizes, reverse=sizes is not None))


@pytest.mark.parametrize("name", CELLS)
def test_the_loop_is_the_cells_own_step(name: str) -> None:
    own, (graph, program) = cell(name), PROGRAMS[name]
    given = sequences(graph, 3, 2)
    tensors = dict(own.named_parameters()) | dict(own.named_buffers())
    given.values.update({n: tensors[n] for n in graph.inputs_of("tensor")})
    loop, _ = outside(program, given)
    states = tuple(given.values[n] for n in own.state_names)
    outputs = []
    for span in given.spans:
        keywords = {n: given.values[n][span] for n in graph.inputs_of("stream")}
        keywords |= {n: given.values[n] for n in graph.inputs_of("constant")}
        output, states = own.split(own.step(given.values["x"][span], *states, **keywords))
        outputs.append(output)
    ran = run_forward(program, loop, save=False)
    torch.testing.assert_close(ran.output, torch.cat(outputs))
    for name, state in zip(own.state_names, states, strict=True):
        torch.testing.assert_close(ran.finals[name], state)


@for_all(
    name=st.sampled_from(sorted(PROGRAMS)),
    sizes=st.none() | st.lists(st.integers(0, 3), min_size=0, max_size=4).map(lambda s: sorted(s, reverse=True)),
    steps=st.integers(0, 3),
    reverse=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_outputs_and_gradients(name: str, sizes: list[int] | None, steps: int, reverse: bool) -> None:
    graph, program = PROGRAMS[name]
    check(graph, program, sequences(graph, steps, 3, sizes, reverse))


@pytest.mark.parametrize("sizes", [None, [3, 2, 2, 1]])
@pytest.mark.parametrize("reverse", [False, True])
def test_previous_is_the_state_before_every_step(sizes: list[int] | None, reverse: bool) -> None:
    graph, program = PROGRAMS["LSTM"]
    given = sequences(graph, 4, 3, sizes, reverse)
    loop, _ = outside(program, given)
    ran = run_forward(program, loop, save=True)
    before = previous(loop, ran.trajectories["c"], "c")
    spans = given.spans[::-1] if reverse else given.spans
    state = loop.states["c"]
    for span in spans:
        n = span.stop - span.start
        torch.testing.assert_close(before[span], state[:n])
        state = torch.cat((ran.trajectories["c"][span], state[n:]))


def test_the_loop_is_differentiable_itself() -> None:
    graph, program = PROGRAMS["GRU"]
    given = sequences(graph, 3, 2)
    loop, reads = outside(program, given)
    output = run_forward(program, loop, save=False).output
    grads = torch.autograd.grad(output.square().sum(), list(reads.values()), create_graph=True)
    assert all(g.requires_grad for g in grads)
