"""A compiled loop is the reference's: what it puts out, what it keeps, and every gradient."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import product

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import linear

import ostinato
from ostinato.compiler.graph import Builder, Graph, Node
from ostinato.compiler.kernel import Kernel
from ostinato.compiler.program import Loop
from ostinato.compiler.trace import trace
from tests.compiler.cells import CELLS, CONSTANTS, STREAMS, I, cell, widths
from tests.support.kernels import Made, Seeds, change, compare, every, seeds_of, total
from tests.support.own_cells import PeepholeLSTMCell, TwoWidthsCell

DTYPES = (torch.float64, torch.float32)
H = 6


@pytest.fixture(autouse=True)
def nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSTINATO_CACHE", "off")


class Own(ostinato.Cell):
    def __init__(self) -> None:
        super().__init__(I, H)
        self.w = nn.Parameter(torch.empty(4 * H, I))
        self.u = nn.Parameter(torch.empty(4 * H, H))
        self.v = nn.Parameter(torch.empty(H))
        self.reset_parameters()


class LowRank(Own):
    """A weight of two factors."""

    def step(self, x, h):
        return torch.tanh(linear(linear(h, self.u[:2]), self.u[:, :2])[:, :H] + linear(x, self.w[:H]))


class Reordered(Own):
    """Slices with steps, axes in another order, joins on inner axes, and everything backwards."""

    def step(self, x, h):
        gates = (linear(x, self.w) + linear(h, self.u)).view(-1, 2, 4, 3)
        a = gates.permute(0, 2, 3, 1).reshape(-1, 4 * H)
        b = torch.cat([gates[:, :1], gates[:, 1:].flip(-1)], dim=1)
        c = torch.cat([b[..., :1], b[..., 1:] * 0.5, b[..., :1]], dim=-1).reshape(-1, 32)
        return torch.tanh(a[:, ::4] + c[:, 1:24:4] * h.flip(-1)) + 0.1 * a.transpose(0, 0)[:, 1::4]


class Reduced(Own):
    """The largest, the smallest, and a mean, over one axis and over two."""

    def step(self, x, h):
        gates = (linear(x, self.w) + linear(h, self.u)).view(-1, 4, 2, 3)
        high, low = gates.amax(dim=2), gates.amin(dim=(1, 3))
        mean = gates.mean(dim=(2, 3), keepdim=True)
        mixed = torch.softmax(gates - mean, dim=1).sum(1).reshape(-1, H)
        return torch.tanh(mixed + high.reshape(-1, 12)[:, ::2] * h + low.sum(-1, keepdim=True))


class Flagged(Own):
    """A flag for every element, numbers for every sequence, and a state of width 1."""

    state_names = ("h", "n")

    @property
    def state_sizes(self):
        return (H, 1)

    def step(self, x, h, n, *, keep, bias):
        new = torch.tanh(linear(x, self.w[:H]) + linear(h, self.u[:H]) + bias * n)
        h = torch.where(keep, h, new)
        return h, torch.sigmoid(n + h.sum(-1, keepdim=True))


OWN = {"low rank": LowRank, "reordered": Reordered, "reduced": Reduced, "flagged": Flagged}


@cache
def made(name: str) -> Made:
    torch.manual_seed(0)
    if name in CELLS:
        return Made(trace(cell(name), I, widths(STREAMS, name), widths(CONSTANTS, name)))
    if name == "flagged":
        return Made(trace(Flagged().double(), I, {"keep": (H, torch.bool)}, {"bias": (H, torch.float64)}))
    return Made(trace(OWN[name]().double(), I, {}, {}))


SIZED = {
    "LSTM": lambda size: ostinato.LSTMCell(I, size),
    "GRU": lambda size: ostinato.GRUCell(I, size),
    "RNN": lambda size: ostinato.RNNCell(I, size),
    "LSTMP": lambda size: ostinato.LSTMCell(I, size + 1, proj_size=size),
    "Elman": lambda size: ostinato.ElmanCell(I, size, output_size=size + 2, output_nonlinearity="softmax"),
    "peephole": lambda size: PeepholeLSTMCell(I, size),
    "two widths": lambda size: TwoWidthsCell(I, size),
}


@cache
def sized(name: str, size: int) -> Made:
    return Made(trace(SIZED[name](size).double(), I, {}, {}))


@pytest.mark.parametrize(
    ("name", "dtype"),
    [*product([*CELLS, *OWN], DTYPES[:1]), *product(["LSTM", "GRU", "LayerNorm", "Elman", *OWN], DTYPES[1:])],
)
def test_every_cell(name: str, dtype: torch.dtype) -> None:
    own = made(name)
    for sizes, reverse in product([None, [4, 3, 3, 1, 0]], [False, True]):
        own.check(steps=4, rows=5, sizes=sizes, reverse=reverse, dtype=dtype)
    own.check(steps=3, rows=2, directions=2, dtype=dtype)
    own.check(rows=2, sizes=[2, 1], directions=2, reverse=True, dtype=dtype)


@pytest.mark.parametrize("size", [1, 3, 16, 17, 33, 65])
@pytest.mark.parametrize("name", ["LSTM", "GRU", "RNN"])
def test_widths_that_do_not_fill_vectors(name: str, size: int) -> None:
    own = sized(name, size)
    for dtype in DTYPES if size == 17 else DTYPES[:1]:
        own.check(steps=3, rows=7, dtype=dtype)
        own.check(rows=3, sizes=[3, 2, 2, 0], reverse=True, dtype=dtype)


@pytest.mark.parametrize("name", ["LSTMP", "Elman", "peephole", "two widths"])
def test_widths_that_differ_within_a_cell(name: str) -> None:
    for size, dtype in product([1, 18], DTYPES):
        sized(name, size).check(steps=2, rows=3, dtype=dtype)


@pytest.mark.parametrize("name", ["LSTM", "GRU"])
def test_every_number_of_rows(name: str) -> None:
    for rows in (*range(1, 20), 24, 25, 31, 40):
        sized(name, 17).check(steps=2, rows=rows)


@pytest.mark.parametrize("name", ["LSTM", "learnt", "delay", "clipped"])
@pytest.mark.parametrize(
    ("steps", "rows", "sizes"),
    [(0, 3, None), (0, 3, []), (3, 0, None), (1, 1, None), (1, 40, None), (2, 3, [0, 0]), (5, 7, [7, 3, 1, 1, 0])],
)
def test_few_steps_few_rows_or_none(name: str, steps: int, rows: int, sizes: list[int] | None) -> None:
    for reverse, directions in product([False, True], [1, 2]):
        made(name).check(steps=steps, rows=rows, sizes=sizes, reverse=reverse, directions=directions)


def test_more_steps_than_sums_are_kept_apart_for() -> None:
    own = made("peephole")
    for steps in (63, 64, 65, 130):
        own.check(steps=steps, rows=2)


@pytest.mark.parametrize("name", ["LSTM", "time gap and speaker", "heads"])
def test_only_what_is_wanted_is_there(name: str) -> None:
    own = made(name)
    program, kernel = own.program, Kernel(own.program, torch.float64)
    loops = own.loops()
    for wanted in ([], *([n] for n in sorted(every(program, loops[0])))):
        compare(program, loops, kernel, wanted=wanted)


@pytest.mark.parametrize("directions", [1, 2])
def test_every_form_of_a_gradient(directions: int) -> None:
    own = made("LSTM")
    program, kernel = own.program, own.kernel()
    loops = own.loops(directions=directions)
    seeds = seeds_of(program, loops, torch.float64)
    assert seeds.output is not None
    count, width = seeds.output.shape
    forms = [
        None,
        torch.ones(1, 1, dtype=torch.float64).expand(count, width),
        torch.randn(1, width, dtype=torch.float64).expand(count, width),
        torch.randn(count, 1, dtype=torch.float64).expand(count, width),
        torch.randn(width, count, dtype=torch.float64).t(),
        torch.randn(count, 2 * width, dtype=torch.float64)[:, ::2],
        torch.randn(count, 2 * width, dtype=torch.float64)[:, :width],
        torch.randn(2 * count, width, dtype=torch.float64)[::2],
    ]
    for form in forms:
        compare(program, loops, kernel, replace(seeds, output=form))
    none: list[dict[str, Tensor | None]] = [dict.fromkeys(loop.states) for loop in loops]
    compare(program, loops, kernel, Seeds(seeds.output, none))
    compare(program, loops, kernel, Seeds(None, none))
    mixed = [{"h": torch.ones(1, 1, dtype=torch.float64).expand_as(loop.states["h"]), "c": None} for loop in loops]
    compare(program, loops, kernel, Seeds(None, mixed))


def spread(value: Tensor) -> Tensor:
    """The same numbers, rows at a distance."""
    wide = torch.full((*value.shape[:-1], value.shape[-1] + 3), float("nan"), dtype=value.dtype)
    wide[..., 1 : value.shape[-1] + 1] = value
    return wide[..., 1 : value.shape[-1] + 1]


def turned(value: Tensor) -> Tensor:
    """The same numbers, the last axis not the innermost."""
    return value if value.dim() < 2 else value.transpose(-1, -2).contiguous().transpose(-1, -2)


def every_other(value: Tensor) -> Tensor:
    """The same numbers, each with a gap behind it."""
    return torch.stack([value, torch.full_like(value, float("nan"))], -1)[..., 0]


@pytest.mark.parametrize("layout", [spread, turned, every_other])
@pytest.mark.parametrize("name", ["LSTM", "time gap and speaker", "heads", "two widths"])
@pytest.mark.parametrize("sizes", [None, [3, 1]])
def test_every_layout_in_memory(name: str, layout, sizes: list[int] | None) -> None:
    own = made(name)
    program = own.program
    loops = [change(loop, layout) for loop in own.loops(sizes=sizes)]
    compare(program, loops, own.kernel())


def test_constants_and_streams_of_one_row_for_all() -> None:
    own = made("time gap and speaker")
    program = own.program
    (loop,) = own.loops()

    def one(values):
        return {n: v[:1].expand_as(v) for n, v in values.items()}

    loop = replace(loop, streams=one(loop.streams), constants=one(loop.constants), states=one(loop.states))
    compare(program, [loop], own.kernel())


def test_what_is_read_is_left_as_it_is() -> None:
    own = made("time gap and speaker")
    program, kernel = own.program, own.kernel()
    (loop,) = own.loops(sizes=[3, 2])

    def copies(loop: Loop) -> list[Tensor]:
        return [v.clone() for part in (loop.streams, loop.constants, loop.states, loop.params) for v in part.values()]

    before, seeds = copies(loop), seeds_of(program, [loop], torch.float64)
    _, (ran,) = kernel.forward([loop], save=True)
    kept = [v.clone() for v in (ran.output, *ran.finals.values(), *ran.saved.values(), *ran.trajectories.values())]
    kernel.backward([loop], [ran], seeds.output, seeds.finals, every(program, loop))
    assert all(map(torch.equal, before, copies(loop)))
    again = [ran.output, *ran.finals.values(), *ran.saved.values(), *ran.trajectories.values()]
    assert all(map(torch.equal, kept, again))


def test_the_joint_output_has_the_directions_side_by_side() -> None:
    own = made("LSTM")
    kernel = own.kernel()
    loops = own.loops(directions=2)
    joint, rans = kernel.forward(loops, save=False)
    assert joint.shape == (total(loops[0]), 2 * rans[0].output.shape[1])
    assert torch.equal(joint, torch.cat([ran.output for ran in rans], 1))
    assert all(not ran.saved and not ran.trajectories for ran in rans)


def step(b: Builder, made: Node) -> Made:
    """A step whose new state is tanh of the sum of a value."""
    h = made
    while h.op != "input" or h["kind"] != "state":
        h = next(i for i in h.inputs if i.op != "const" and i.rows)
    x = b.input("x", "x", (2,), True)
    total = b.reduce("sum", b.reshape(made, (made.width,)), [0])
    new = b.pointwise("tanh", b.pointwise("add", b.broadcast(total, h.shape), h))
    nodes = Graph({}, {"new.h": new}).nodes()
    inputs = {n["name"]: n for n in nodes if n.op == "input"} | {"x": x}
    return Made(Graph(inputs, {"output": new, "new.h": new}))


def test_an_operand_of_one_number_for_all() -> None:
    """What is read at every position lies in memory once; products and other orders of axes read all positions."""
    for lead in ((), (2,)):
        b = Builder()
        h = b.input("state", "h", (3,), True)
        one = b.pointwise("sin", b.reduce("sum", h, [0]))
        weight = b.input("tensor", "w", (*lead, 4, 6), False)
        step(b, b.linear(b.broadcast(one, (*lead, 6)), weight)).check()
        half = b.pointwise("where", b.pointwise("gt", h, b.const(2.0), dtype="bool"), b.const(0.5), b.const(0.5))
        step(b, b.pointwise("mul", half, h)).check()
    b = Builder()
    h = b.input("state", "h", (3,), True)
    one = b.broadcast(b.pointwise("sin", b.reduce("sum", h, [0])), (2, 3))
    scaled = b.pointwise("mul", b.permute(one, (1, 0)), b.broadcast(b.input("tensor", "w", (3, 2), False), (3, 2)))
    step(b, scaled).check()
    step(b, b.reduce("amax", b.permute(one, (1, 0)), [1])).check()


def test_a_product_of_a_number() -> None:
    b = Builder()
    h, x = b.input("state", "h", (3,), True), b.input("x", "x", (2,), True)
    weight = b.input("tensor", "w", (3, 4), False)
    made = b.linear(b.broadcast(b.pointwise("mul", h, b.const(0.0)), (3,)), b.input("tensor", "u", (3, 3), False))
    late = b.linear(b.broadcast(b.const(0.5), (4,)), weight)
    new = b.pointwise("add", b.pointwise("add", made, late), h)
    graph = Graph({"x": x, "h": h, "w": weight, "u": made.inputs[1]}, {"output": new, "new.h": new})
    Made(graph).check()


def test_a_stream_that_only_the_backward_reads() -> None:
    b = Builder()
    h, x = b.input("state", "h", (3,), True), b.input("x", "x", (2,), True)
    flag = b.input("stream", "flag", (3,), True, "bool")
    new = b.pointwise("tanh", b.pointwise("where", flag, h, h))
    own = Made(Graph({"x": x, "h": h, "flag": flag}, {"output": new, "new.h": new}))
    assert own.program.backward is not None
    assert own.program.backward.graph.inputs_of("stream").keys() <= own.program.forward.inputs.keys()
    own.check()


def test_gradients_that_stand_beside_each_other_are_written_once() -> None:
    """An MGU's of both gates: side by side for the weights of x, each by itself for those of h."""
    layer = ostinato.Recurrent("mgu", 5, 7, engine="native")
    output, _ = layer(torch.randn(3, 2, 5))
    output.sum().backward()
    (compiled,) = layer.compiled()
    machine, held = compiled.kernel(torch.float32).gradient_machine(compiled.asked(set(compiled.params)))
    outs = {name: b.width for name, b in machine.layout.buffers.items() if name.startswith("out.")}
    assert sorted(outs.values()) == [7, 14], "both gates, and what the candidate's weights are multiplied with"
    joint = max(outs, key=outs.__getitem__)
    parts = sorted((place.column, place.width) for place in held.values() if place.buffer == joint and place.width)
    assert parts == [(0, 7), (7, 7)]
