"""The code of a loop, for every family of processors: what runs here is right, and none keeps sums on the stack."""

from __future__ import annotations

import re
from functools import cache

import pytest
import torch

import ostinato
from ostinato.cells import library
from ostinato.compiler.cpu import jit, targets
from ostinato.compiler.cpu.machine import ELEMENT, text
from ostinato.compiler.cpu.targets import Target
from ostinato.compiler.trace import trace
from tests.compiler.cells import I
from tests.support.kernels import Made, every
from tests.support.own_cells import NormalisedCell

SIZE = 37

CELLS = {
    "LSTM": lambda: ostinato.LSTMCell(I, SIZE),
    "GRU": lambda: ostinato.GRUCell(I, SIZE),
    "RNN": lambda: ostinato.RNNCell(I, SIZE),
    "LayerNorm": lambda: NormalisedCell(I, SIZE),
}
TRIPLES = {
    "avx512": "x86_64-unknown-linux-gnu",
    "avx2": "x86_64-unknown-linux-gnu",
    "plain": "x86_64-unknown-linux-gnu",
    "neon": "aarch64-unknown-linux-gnu",
}
FUSED = {"avx512": "vfmadd", "avx2": "vfmadd", "neon": "fmla", "plain": "mul"}
JUMP = re.compile(r"^\s+(?:j[a-z]+|b(?:\.[a-z]+)?|cbn?z|tbn?z)\s+(?:.*,\s*)?(\.LBB\w+)")


@pytest.fixture(autouse=True)
def nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSTINATO_CACHE", "off")


@cache
def made(name: str) -> Made:
    return Made(trace(CELLS[name]().double(), I, {}, {}))


def code(name: str, backward: bool, dtype: torch.dtype, target: Target) -> str:
    own = made(name)
    kernel = own.kernel(dtype)
    if not backward:
        graph, buffers = kernel._forward_graph(True)
    else:
        graph, buffers, _ = kernel._backward_graph(every(own.program, own.loops()[0]))
    return text(graph, buffers, dtype, backward, target)


def inner_loops(assembly: str) -> list[list[str]]:
    """The lines of every innermost loop: from a label to the last jump back to it, none in between."""
    lines = assembly.splitlines()
    labels = {line.split(":")[0]: n for n, line in enumerate(lines) if re.match(r"^\.LBB\w+:", line)}
    spans = []
    for n, line in enumerate(lines):
        jump = JUMP.match(line)
        if jump and labels.get(jump[1], n) < n:
            spans.append((labels[jump[1]], n))
    inner = [s for s in spans if not any(s[0] <= o[0] and o[1] <= s[1] and o != s for o in spans)]
    return [lines[a : b + 1] for a, b in inner]


@pytest.mark.parametrize("dtype", ELEMENT)
@pytest.mark.parametrize("family", TRIPLES)
@pytest.mark.parametrize("name", CELLS)
def test_no_sum_is_kept_on_the_stack(name: str, family: str, dtype: torch.dtype) -> None:
    """Nor is anything outside called. (Where whole registers are few, an address may come from the stack.)"""
    target = targets.named(family, TRIPLES[family])
    for backward in (False, True):
        assembly = jit.assembly(code(name, backward, dtype, target), target, comments=True)
        multiplying = [loop for loop in inner_loops(assembly) if re.search(r"(#|//) %k\d+$", loop[0])]
        assert len(multiplying) >= 4, "a loop for every number of rows"
        for loop in multiplying:
            assert any(FUSED[family] in line for line in loop)
            moved = [line for line in loop if re.search(r"Spill|Reload", line)]
            allowed = 2 if family in ("neon", "plain") else 0
            assert sum("8-byte Reload" in line for line in moved) == len(moved) <= allowed, "\n".join(moved)
        called = set(re.findall(r"^\s+(?:callq?|bl|jmp)\s+(\w+)", assembly, re.MULTILINE))
        assert called <= set(re.findall(r"^(\w+):", assembly, re.MULTILINE))


@pytest.mark.parametrize("backward", [False, True])
def test_every_index_has_64_bits(backward: bool) -> None:
    """The only numbers of 32 bits are those of a thread and of a lane: (N, ·) may have more elements than 2³¹."""
    target = targets.named("avx512", TRIPLES["avx512"])
    written = code("LSTM", backward, torch.float32, target)
    run = written[: written.index("define void @team")]
    addresses = [line for line in run.splitlines() if "getelementptr" in line]
    assert addresses
    assert not [line for line in addresses if re.search(r"\bi(8|16|32) %", line)]
    arithmetic = re.findall(r"= (?:add|sub|mul|udiv|urem)(?: n[us]w)* (\S+) ", run)
    assert {kind for kind in arithmetic if not kind.startswith("<")} == {"i64"}
    assert not re.search(r"\btrunc\b.*to i32", run)


@pytest.mark.parametrize("family", targets.possible()[1:])
@pytest.mark.parametrize("name", CELLS)
def test_narrower_families_give_the_same(name: str, family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(targets.VARIABLE, family)
    for dtype in (torch.float64, torch.float32):
        own = Made(made(name).graph)
        own.check(dtype, steps=3, rows=13)
        own.check(dtype, rows=4, sizes=[4, 2, 2, 0], reverse=True, directions=2)
        assert own.kernel(dtype).machine(True).target.name == family


@pytest.mark.parametrize(("width", "written"), [(32, True), (SIZE, False)])
def test_products_that_lie_in_memory_are_written_there_at_once(width: int, written: bool) -> None:
    """And not by way of the stack, unless a tile is not full."""
    own = Made(trace(library.LayerNormLSTMCell(I, width).double(), I, {}, {}))
    graph, buffers = own.kernel(torch.float32)._forward_graph(True)
    loop = text(graph, buffers, torch.float32, False, targets.named("avx512", TRIPLES["avx512"]))
    assert ("ptr %scratch" not in loop) == written
