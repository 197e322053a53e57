"""A program run by the reference is autograd through a plain loop of the step."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given as for_all
from hypothesis import settings
from hypothesis import strategies as st

from ostinato.compiler.pipeline import compile_graph
from ostinato.compiler.reference import previous, run_forward
from tests.compiler import steps
from tests.compiler.whole import check, outside, sequences

HAND = {"lstm": steps.lstm, "gru": steps.gru, "rnn": steps.rnn}
PROGRAMS = {name: (make(), compile_graph(make(), True).program) for name, make in HAND.items()}


@for_all(
    name=st.sampled_from(sorted(PROGRAMS)),
    sizes=st.none() | st.lists(st.integers(0, 3), min_size=0, max_size=4).map(lambda s: sorted(s, reverse=True)),
    steps=st.integers(0, 3),
    reverse=st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_outputs_and_gradients(name: str, sizes: list[int] | None, steps: int, reverse: bool) -> None:
    graph, program = PROGRAMS[name]
    check(graph, program, sequences(graph, steps, 3, sizes, reverse))


@pytest.mark.parametrize("sizes", [None, [3, 2, 2, 1]])
@pytest.mark.parametrize("reverse", [False, True])
def test_previous_is_the_state_before_every_step(sizes: list[int] | None, reverse: bool) -> None:
    graph, program = PROGRAMS["lstm"]
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
    graph, program = PROGRAMS["gru"]
    given = sequences(graph, 3, 2)
    loop, reads = outside(program, given)
    output = run_forward(program, loop, save=False).output
    grads = torch.autograd.grad(output.square().sum(), list(reads.values()), create_graph=True)
    assert all(g.requires_grad for g in grads)
