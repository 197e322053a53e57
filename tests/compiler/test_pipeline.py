"""From a cell to a program."""

from __future__ import annotations

import pytest
import torch

import ostinato
from ostinato.compiler import program as programs
from ostinato.compiler.pipeline import build, compile_graph
from ostinato.compiler.refusal import Refused
from ostinato.compiler.split import TIME
from tests.compiler.cells import CELLS, CONSTANTS, STREAMS, I, cell, widths
from tests.compiler.steps import gru
from tests.compiler.whole import check, sequences


def test_every_pass_is_timed() -> None:
    built = build(cell("LSTM"), I, {}, {}, True, hoist=TIME)
    passes = ["trace", "verify", "centre", "thin", "split", "sink", "derive", "expand", "save", "simplify"]
    assert list(built.times) == passes
    assert all(seconds > 0 for seconds in built.times.values())


@pytest.mark.parametrize("name", CELLS)
def test_without_gradients_there_is_no_backward_and_nothing_is_saved(name: str) -> None:
    built = build(cell(name), I, widths(STREAMS, name), widths(CONSTANTS, name), False)
    assert built.program.backward is None
    assert built.program.saved == ()
    assert built.program.states == cell(name).state_names


def test_a_program_goes_through_text() -> None:
    graph = gru()
    made = programs.loads(programs.dumps(compile_graph(graph, True).program))
    check(graph, made, sequences(graph, 3, 2))


def test_a_step_without_a_native_form_is_refused_with_its_line() -> None:
    class Sorting(ostinato.Cell):
        def step(self, x, h):
            return h.sort(-1).values

    with pytest.raises(Refused, match="sort"):
        build(Sorting(I, I), I, {}, {}, True)


def test_two_builds_are_the_same_text() -> None:
    """What a kernel is kept under must not depend on the process or on numbers in the parameters."""
    one = build(cell("peephole"), I, {}, {}, True).program
    other = cell("peephole")
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.fill_(float("nan"))
    assert programs.dumps(one) == programs.dumps(build(other, I, {}, {}, True).program)
