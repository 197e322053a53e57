"""A loop without products: columns never meet, and threads run through all steps without waiting."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import pytest
import torch
from torch import Tensor

from ostinato import cells
from ostinato.cells.cell import Cell
from ostinato.compiler.cpu import jit, launch, targets
from ostinato.compiler.cpu.machine import text
from ostinato.compiler.program import Gradients
from ostinato.compiler.trace import trace
from tests.support.kernels import Made, compare, every, seeds_of

I, H = 3, 40

CELLS: dict[str, tuple[type[Cell], dict[str, object], bool]] = {
    "minGRU": (cells.MinGRUCell, {}, True),
    "minLSTM": (cells.MinLSTMCell, {}, True),
    "SRU": (cells.SRUCell, {}, True),
    "QRNN": (cells.QRNNCell, {}, True),
    "QRNN with a window": (cells.QRNNCell, {"window": 3}, False),
    "LRU": (cells.LRUCell, {}, True),
}
"""A window's finished products move by a gate's width at every step: its columns do meet."""


@pytest.fixture(autouse=True)
def threads_are_used(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("OSTINATO_CACHE", "off")
    monkeypatch.setattr(launch, "SHARED_PASS", 0)
    yield
    torch.set_num_threads(1)


@cache
def made(name: str, width: int = H) -> Made:
    torch.manual_seed(0)
    kind, options, _ = CELLS[name]
    return Made(trace(kind(I, width, dtype=torch.float64, **options), I, {}, {}))


def all_of(grads: Gradients) -> list[Tensor]:
    return [g for part in (grads.streams, grads.constants, grads.states, grads.params) for g in part.values()]


@pytest.mark.parametrize("sizes", [None, [1.0, 0.7, 0.7, 0.3, 0.0]], ids=["full", "ragged"])
@pytest.mark.parametrize("rows", [1, 5])
@pytest.mark.parametrize("name", CELLS)
def test_the_same_bits_for_every_number_of_threads(name: str, rows: int, sizes: list[float] | None) -> None:
    own = made(name)
    kernel, lengths = own.kernel(torch.float32), None if sizes is None else [int(rows * s) for s in sizes]
    loops = own.loops(steps=5, rows=rows, sizes=lengths, directions=2, dtype=torch.float32)
    seeds = seeds_of(own.program, loops, torch.float32)
    wanted = every(own.program, loops[0])
    first: list[Tensor] | None = None
    for number in (1, 2, 3, 4):
        torch.set_num_threads(number)
        joint, rans = kernel.forward(loops, save=True)
        found = [joint, *(t for ran in rans for t in (*ran.finals.values(), *ran.trajectories.values()))]
        for grads in kernel.backward(loops, rans, seeds.output, seeds.finals, wanted):
            found += [*grads.streams.values(), *grads.states.values()]
        first = first or found
        assert all(map(torch.equal, first, found)), f"{number} threads"
        compare(own.program, loops, kernel, seeds)
    assert kernel.machine(True).about.apart == CELLS[name][2]


@pytest.mark.parametrize("name", CELLS)
def test_what_runs(name: str) -> None:
    """One pass each way, that reads its streams again and keeps nothing it computes of them."""
    own = made(name)
    assert (own.program.saved == ()) == CELLS[name][2]
    kernel = own.kernel(torch.float32)
    loops = own.loops(steps=3, rows=2, dtype=torch.float32)
    _, rans = kernel.forward(loops, save=True)
    seeds = seeds_of(own.program, loops, torch.float32)
    kernel.backward(loops, rans, seeds.output, seeds.finals, every(own.program, loops[0]))
    said = kernel.schedule_text()
    assert "products:" not in said.replace("no products:", "")
    assert ("one pass over memory" in said) == CELLS[name][2]
    assert "stage 1" not in said


@pytest.mark.parametrize(("family", "triple"), [(f, "aarch64" if f == "neon" else "x86_64") for f in targets.FAMILIES])
def test_every_processor_asks_for_the_next_row(family: str, triple: str) -> None:
    """And calls nothing but the function that gives a processor away, and its own two."""
    kernel = made("QRNN").kernel(torch.float32)
    target = targets.named(family, f"{triple}-unknown-linux-gnu")
    parts = kernel._forward_graph(True), kernel._backward_graph(frozenset(("s0", "c")))[:2]
    for (graph, buffers), backward in zip(parts, (False, True), strict=True):
        code = jit.assembly(text(graph, buffers, torch.float32, backward, target), target)
        asked = {line.split()[0] for line in code.splitlines() if line.split()[:1]}
        assert asked & {"prefetcht0", "prefetchw", "prfm"}, sorted(asked)
        assert family == "neon" or asked & {"vmovntps", "movntps"}, "writing around the caches"
        called = {line.split()[1] for line in code.splitlines() if line.split()[:1] in (["call"], ["callq"], ["bl"])}
        assert not {name for name in called if name.isidentifier() and name not in ("run", "team")}


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("width", [64, 37])
@pytest.mark.parametrize("name", [name for name, (_, _, apart) in CELLS.items() if apart])
def test_writing_around_the_caches_changes_no_bit(monkeypatch, name: str, width: int, rows: int) -> None:
    own, dtype = made(name, width), torch.float32
    kernel = own.kernel(dtype)
    loops = own.loops(steps=5, rows=rows, directions=2, dtype=dtype)
    seeds = seeds_of(own.program, loops, dtype)
    asked: list[bool] = []
    original = launch.Call._past_the_caches
    monkeypatch.setattr(launch.Call, "_past_the_caches", lambda call: asked.append(original(call)) or asked[-1])
    torch.set_num_threads(2)
    found = []
    for bytes_from in (2**60, 0):
        monkeypatch.setattr(launch, "CACHES", bytes_from)
        joint, rans = kernel.forward(loops, save=True)
        made_of = [joint, *(t for ran in rans for t in (*ran.finals.values(), *ran.trajectories.values()))]
        for grads in kernel.backward(loops, rans, seeds.output, seeds.finals, every(own.program, loops[0])):
            made_of += all_of(grads)
        found.append([t.clone() for t in made_of])
    assert all(map(torch.equal, *found))
    aligned = width * dtype.itemsize % launch.ALIGNED == 0
    assert asked[:4] == [False] * 4
    assert asked[4:] == [aligned] * 4, "rows that begin within a cache line are written as ever"


def test_no_row_is_aligned_if_the_first_is_not(monkeypatch) -> None:
    monkeypatch.setattr(launch, "CACHES", 0)
    kernel = made("minGRU", 64).kernel(torch.float32)
    machine = kernel.machine(False)
    memory = torch.empty(6 * 64 + 1)
    for start, goes in ((0, True), (1, False)):
        call = launch.Call(machine, 3, 2, None, 6, descending=False)
        call.streams({"output": memory[start : start + 6 * 64].view(6, 64)})
        assert (memory.data_ptr() % 64 == 0, call._past_the_caches()) == (True, goes)


def test_many_threads_for_few_columns() -> None:
    """More threads than vectors: some have nothing to do."""
    torch.manual_seed(0)
    own = Made(trace(cells.MinGRUCell(3, 5, dtype=torch.float64), 3, {}, {}))
    torch.set_num_threads(4)
    own.check(torch.float32, steps=4, rows=3)
    own.check(torch.float64, steps=4, rows=3, sizes=[3, 2, 1, 1])
