"""Values that live while one row is worked on need one row of memory a thread, however many rows there are."""

from __future__ import annotations

import pytest
import torch

from ostinato.compiler.cpu.flat import flatten
from ostinato.compiler.cpu.schedule import (
    LINE,
    TOGETHER,
    Place,
    Rows,
    Schedule,
    Stage,
    Tiles,
    members,
    rows_of_a_thread,
    schedule,
)
from ostinato.compiler.graph import Node
from tests.compiler.test_kernel import made


@pytest.mark.parametrize("name", ["LayerNorm", "heads", "delay"])
@pytest.mark.parametrize("rows", [1, 2, 5])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_numbers_are_right_with_more_threads_than_rows_and_fewer(name: str, rows: int, threads: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        own = made(name)
        own.check(torch.float64, steps=3, rows=rows, directions=2)
        own.check(torch.float32, steps=4, rows=rows, sizes=[rows, rows, max(1, rows - 1), 1])
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("width", [1, 2, 7, 8, 31, 512])
def test_two_threads_never_write_to_one_line(width: int) -> None:
    size = rows_of_a_thread(width) * width
    assert size % LINE == 0, "a thread's part ends where a line does"
    assert size >= 2 * LINE, "and the line beside is no other's either"
    assert rows_of_a_thread(width) >= TOGETHER


@pytest.mark.parametrize("way", ["forward", "backward"])
def test_what_another_stage_reads_has_a_row_for_every_row(way: str) -> None:
    """Of a layer norm: what its passes over a row leave each other is passing, a product's result is not."""
    program = made("LayerNorm").program
    plan = schedule(flatten(program.forward if way == "forward" else program.backward.graph))
    stage = {id(node): n for n, one in enumerate(plan.stages) for node in members(one)}
    kept = {place.buffer for one in plan.stages for node in members(one) for place in _kept(plan, one, node)}
    assert plan.passing
    assert (kept & set(plan.temporaries) != set()) == (way == "forward"), "backward, products read what is put out"
    assert not plan.passing & kept
    for (reader, _), read in plan.reads.items():
        place = plan.place(read)
        if place is not None and place.buffer in plan.passing:
            assert stage[reader] == stage[id(read.node)]
            assert isinstance(plan.stages[stage[reader]], Rows)


def _kept(plan: Schedule, stage: Stage, node: Node) -> list[Place]:
    """Where products are written that are written at all."""
    return plan.stores.get(id(node), []) if isinstance(stage, Tiles) else []
