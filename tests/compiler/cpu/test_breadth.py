"""Several vectors at once: how many, and that they compute what one at a time does."""

from __future__ import annotations

from functools import cache
from itertools import product

import pytest
import torch
from torch import nn
from torch.nn.functional import layer_norm, linear

import ostinato
from ostinato.compiler.cpu import breadth as module
from ostinato.compiler.cpu.breadth import breadth
from ostinato.compiler.cpu.flat import flatten
from ostinato.compiler.cpu.schedule import Schedule, Tiles, schedule
from ostinato.compiler.cpu.targets import FAMILIES, host, named
from ostinato.compiler.trace import trace
from tests.compiler.cells import I
from tests.compiler.test_kernel import sized
from tests.support.kernels import Made

WIDE = named("avx512", "x86_64-unknown-linux-gnu")


@pytest.fixture(autouse=True)
def nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSTINATO_CACHE", "off")


class Normalised(ostinato.Cell):
    """Reductions over the row beside elementwise work, and a flag from step to step."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.w = nn.Parameter(torch.empty(hidden_size, input_size))
        self.u = nn.Parameter(torch.empty(hidden_size, hidden_size))
        self.reset_parameters()

    def step(self, x, h):
        new = torch.tanh(layer_norm(linear(x, self.w) + linear(h, self.u), (self.hidden_size,)))
        return torch.where(new > h.mean(-1, keepdim=True), new, torch.sigmoid(h) * new)


class Waving(Normalised):
    def step(self, x, h):
        return torch.sin(linear(x, self.w) + linear(h, self.u))


@cache
def normalised(cell: type[Normalised], size: int) -> Made:
    return Made(trace(cell(I, size).double(), I, {}, {}))


def forward(made: Made) -> Schedule:
    return schedule(flatten(made.program.forward))


def body(plan: Schedule) -> int:
    """How many vectors the first stage's elementwise operations take, of 64 there are."""
    stage = plan.stages[0]
    assert isinstance(stage, Tiles)
    return breadth(plan, stage.body, 64, WIDE)


def test_few_values_that_wait_go_side_by_side_and_many_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = forward(sized("LSTM", 16))
    assert body(plan) == 4
    monkeypatch.setattr(module, "WORKING", 10)
    assert body(plan) == 2
    monkeypatch.setattr(module, "WORKING", 20)
    assert body(plan) == 1


@pytest.mark.parametrize(("count", "expected"), [(1, 1), (2, 2), (3, 1), (4, 4), (6, 2), (12, 4), (40, 4)])
def test_the_number_divides_the_rows_vectors(count: int, expected: int) -> None:
    plan = forward(sized("RNN", 16))
    assert breadth(plan, plan.stages[0].body, count, WIDE) == expected


@pytest.mark.parametrize("family", FAMILIES)
def test_where_registers_are_few_it_is_one_at_a_time(family: str) -> None:
    plan, target = forward(sized("RNN", 16)), named(family, WIDE.triple)
    assert (breadth(plan, plan.stages[0].body, 8, target) > 1) == (target.registers == 32)


def test_what_may_call_a_function_for_a_lane_stays_one_at_a_time() -> None:
    assert body(forward(normalised(Waving, 16))) == 1


@pytest.mark.parametrize("vectors", [1, 2, 3, 4, 6, 8])
@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        *product(["LSTM", "GRU", "RNN", "normalised"], [torch.float64]),
        *product(["LSTM", "normalised"], [torch.float32]),
    ],
)
def test_the_numbers_are_the_references(name: str, dtype: torch.dtype, vectors: int) -> None:
    size = vectors * host().lanes("float" if dtype == torch.float32 else "double")
    own = normalised(Normalised, size) if name == "normalised" else sized(name, size)
    own.check(dtype, steps=2, rows=7)
    own.check(dtype, rows=3, sizes=[3, 2, 0], reverse=True)


def test_one_row_is_the_same_in_any_company() -> None:
    """Rows of a block and a row alone take the same number of vectors at once, so nothing depends on the batch."""
    layer, x = ostinato.Recurrent(Normalised, I, 64), torch.randn(9, 13, I)
    with ostinato.engine("native"), torch.no_grad():
        together, _ = layer(x)
        alone = torch.cat([layer(x[:, n : n + 1].contiguous())[0] for n in range(13)], dim=1)
    assert torch.equal(together, alone)
