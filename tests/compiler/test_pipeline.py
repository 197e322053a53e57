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


class Repeats(ostinato.Cell):
    """A step of as many operations as one likes."""

    def __init__(self, input_size, hidden_size, *, times):
        super().__init__(input_size, hidden_size)
        self.w = torch.nn.Parameter(torch.eye(hidden_size))
        self.times = times

    def step(self, x, h):
        z = x + h
        for _ in range(self.times):
            z = z + 0.01 * torch.sin(z)
        return z


class Multiplies(Repeats):
    """A step of as many products."""

    def step(self, x, h):
        z = x + h
        for _ in range(self.times):
            z = z @ self.w
        return z


@pytest.mark.parametrize(("kind", "times", "count"), [(Repeats, 300, "901"), (Multiplies, 160, "641")])
def test_a_step_that_would_take_long_to_compile_is_refused(kind: type[ostinato.Cell], times: int, count: str) -> None:
    build(kind(I, I, times=times // 3), I, {}, {}, True, hoist=TIME)
    with pytest.raises(Refused, match=f"{count} operations long.*at most 600.*z = z") as refused:
        build(kind(I, I, times=times), I, {}, {}, True, hoist=TIME)
    assert "test_pipeline.py" in refused.value.source


def test_what_is_done_once_a_call_does_not_count() -> None:
    class Orthogonal(Repeats):
        def step(self, x, h):
            w = self.w
            for _ in range(self.times):
                w = 1.5 * w - 0.5 * w @ w.T @ w
            return torch.tanh(x + h @ w)

    build(Orthogonal(I, I, times=100), I, {}, {}, False)
