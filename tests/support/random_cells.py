"""Cells nobody would write: random graphs and random steps, to be held against the plain loop.

``python -m tests.support.random_cells --minutes 10`` looks for one that a kernel gets wrong; ``--seed`` repeats one.

Every choice is drawn from a ``random.Random``; hypothesis has one that it can shrink. Functions get arguments for which
they are well conditioned, and what is added to the pool stays near 1.
"""

from __future__ import annotations

import argparse
import linecache
import os
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from math import prod
from random import Random
from typing import Any

import torch
from torch import nn

import ostinato
from ostinato.compiler.graph import Builder, Graph, Node
from ostinato.compiler.program import Loop
from ostinato.compiler.trace import trace
from ostinato.engines import chunks
from tests.support.kernels import TOLERANCE, Made, change, compare, expected, same_tensors, seeds_of

WIDTHS = (1, 1, 2, 3, 4, 5, 6, 8, 12, 16, 17, 24, 33)

BOUNDED = ("tanh", "sigmoid", "sin", "cos", "erf", "hardsigmoid")
ONE = (*BOUNDED, "neg", "abs", "relu", "softplus", "silu", "gelu", "elu", "leaky_relu", "hardtanh", "hardswish",
       "mish", "logsigmoid", "clamp", "atan", "expm1", "celu", "softshrink", "sinc", "erfc")  # fmt: skip
FLAT = ("sign", "floor", "ceil", "round", "trunc")
POSITIVE = ("log", "log1p", "sqrt", "rsqrt", "reciprocal")
TWO = ("add", "sub", "mul", "maximum", "minimum")
COMPARISONS = ("lt", "le", "gt", "ge", "eq", "ne")
NORMALISING = ("softmax", "log_softmax", "logsumexp", "norm", "largest", "smallest", "layer_norm")
ATTRIBUTES: dict[str, dict[str, Any]] = {
    "softplus": {"beta": 1.0, "threshold": 20.0},
    "gelu": {"approximate": "none"},
    "elu": {"alpha": 1.0, "scale": 1.0, "input_scale": 1.0},
    "celu": {"alpha": 0.7},
    "softshrink": {"lambd": 0.3},
    "leaky_relu": {"negative_slope": 0.01},
    "hardtanh": {"min_val": -1.0, "max_val": 1.0},
    "clamp": {"min": -0.7, "max": 0.9},
    "layer_norm": {"eps": 1e-3},
}


class RandomGraph:
    """A traced step, drawn operation by operation from values that are there already."""

    def __init__(self, draw: Random) -> None:
        self.draw, self.build = draw, Builder()
        self.inputs: dict[str, Node] = {}
        self.pool: list[Node] = []
        self.flags: list[Node] = []

    def make(self) -> Graph:
        draw = self.draw
        states = [self._input("state", f"h{n}", (draw.choice(WIDTHS),)) for n in range(draw.randint(1, 3))]
        self._input("x", "x", (draw.choice(WIDTHS),))
        for n in range(draw.randint(0, 2)):
            self._input("stream", f"g{n}", (draw.choice(WIDTHS),), draw.choice(("real", "bool")))
        for n in range(draw.randint(0, 2)):
            self._input("constant", f"k{n}", (draw.choice(WIDTHS),))
        for _ in range(draw.randint(1, 12)):
            made = draw.choice(self.rules())()
            if made is not None:
                (self.flags if made.dtype == "bool" else self.pool).append(made)
        outputs = {"output": self._flat(self._late())}
        for state in states:
            outputs[f"new.{state['name']}"] = self._of_width(self._late(), state.width)
        if draw.random() < 0.4:
            outputs["output"] = outputs[f"new.{states[0]['name']}"]
        return Graph(self.inputs, outputs)

    def rules(self) -> Sequence[Callable[[], Node | None]]:
        return (self.one, self.one, self.two, self.two, self.two, self.linear, self.linear, self.heads, self.slice,
                self.cat, self.reshape, self.permute, self.reduce, self.normalise, self.compare, self.where,
                self.scaled, self.identity, self.number, self.safe)  # fmt: skip

    # What can be done.

    def one(self) -> Node:
        op, value = self.draw.choice((*ONE, *FLAT)), self.pick()
        if op in FLAT:  # away from the edges, for the last bit must not decide
            value = self._call("add", self._call("mul", self._call("tanh", value), 3.0), 0.377)
        return self._bounded(self._call(op, value))

    def safe(self) -> Node:
        op = self.draw.choice((*POSITIVE, "pow", "div", "remainder", "fmod"))
        positive = self._call("add", self._call("mul", self._call("sigmoid", self.pick()), 1.5), 0.5)
        if op in POSITIVE:
            return self._call(op, positive)
        other = self.pick(positive.shape)
        if op == "pow":
            return self._call("pow", positive, self._call("tanh", other))
        return self._call(op, other, positive)

    def two(self) -> Node:
        a = self.pick()
        op = self.draw.choice(TWO)
        operands = [a, self.pick(a.shape)]
        if self.draw.random() < 0.2:
            operands[self.draw.randint(0, 1)] = self.build.const(self.draw.choice((-2.0, -1.0, -0.0, 0.0, 0.5, 1.0)))
        return self._bounded(self._call(op, *operands))

    def linear(self) -> Node:
        value = self.pick()
        weight = self._tensor((self.draw.choice(WIDTHS), value.shape[-1]))
        made = self.build.linear(value, weight)
        return made if made.shape[-1] > 1 and self.draw.random() < 0.5 else self._bounded(made)

    def heads(self) -> Node | None:
        value = self.pick()
        heads = self.draw.choice((1, 2, 3))
        if value.width % heads:
            return None
        value = self.build.reshape(value, (heads, value.width // heads))
        shared = self.draw.random() < 0.3
        return self.build.linear(
            value, self._tensor((*([] if shared else [heads]), self.draw.choice(WIDTHS[:8]), value.shape[1]))
        )

    def slice(self) -> Node:
        value = self.pick()
        axis = self.draw.randrange(len(value.shape))
        size = value.shape[axis]
        start = self.draw.randrange(size)
        stop = self.draw.randint(start + 1, size)
        return self.build.slice(value, axis, start, stop, self.draw.choice((1, 1, 1, 2, 3)))

    def cat(self) -> Node:
        value = self.pick()
        axis = self.draw.randrange(len(value.shape))
        parts = [value, self.pick(value.shape)]
        if self.draw.random() < 0.5:
            parts.append(self.build.slice(value, axis, 0, max(1, value.shape[axis] // 2)))
        self.draw.shuffle(parts)
        return self.build.cat(parts, axis)

    def reshape(self) -> Node:
        value = self.pick()
        shape, left = [], value.width
        while len(shape) < 3 and self.draw.random() < 0.7:
            sizes = [n for n in range(1, left + 1) if left % n == 0]
            shape.append(self.draw.choice(sizes))
            left //= shape[-1]
        return self.build.reshape(value, (*shape, left))

    def permute(self) -> Node:
        value = self.pick()
        dims = list(range(len(value.shape)))
        self.draw.shuffle(dims)
        return self.build.permute(value, tuple(dims))

    def reduce(self) -> Node:
        value = self.pick()
        axes = [a for a in range(len(value.shape)) if self.draw.random() < 0.6] or [len(value.shape) - 1]
        made = self.build.reduce(self.draw.choice(("sum", "amax", "amin")), value, axes)
        return self._bounded(made)

    def normalise(self) -> Node:
        op, value = self.draw.choice(NORMALISING), self.pick()
        if op in ("layer_norm", "norm"):  # values that differ, none all zero
            steps = self._tensor(value.shape)
            value = self._call("add", self._call("mul", value, 0.3), self.build.broadcast(steps, value.shape))
        shape = (*value.shape[:-1], 1) if op in ("logsumexp", "norm", "largest", "smallest") else value.shape
        return self.build.make(op, (value,), shape, True, **ATTRIBUTES.get(op, {}))

    def compare(self) -> Node:
        a = self.pick()
        b = self.build.const(0.25) if self.draw.random() < 0.5 else self.pick(a.shape)
        flag = self._call(self.draw.choice(COMPARISONS), a, b)
        same = [f for f in self.flags if f.shape == flag.shape]
        if same and self.draw.random() < 0.5:
            flag = self._call(self.draw.choice(("and", "or")), flag, self.draw.choice(same))
        return self._call("not", flag) if self.draw.random() < 0.3 else flag

    def where(self) -> Node | None:
        if not self.flags:
            return None
        flag = self.draw.choice(self.flags)
        a: Node = self.pick(flag.shape)
        b = self.build.const(0.5) if self.draw.random() < 0.3 else self.pick(flag.shape)
        return self._call("where", flag, *((a, b) if self.draw.random() < 0.5 else (b, a)))

    def scaled(self) -> Node:
        value = self.pick()
        shape = self.draw.choice((value.shape, value.shape[-1:], (1,), ()))
        return self._call(self.draw.choice(TWO), value, self.build.broadcast(self._tensor(shape), value.shape))

    def identity(self) -> Node:
        value = self.pick()
        if self.draw.random() < 0.5:
            return self.build.make("detach", (value,), value.shape, True)
        return self.build.make("clip_gradient", (value,), value.shape, True, limit=0.3)

    def number(self) -> Node:
        """The same number everywhere."""
        return self.build.broadcast(self.build.const(self.draw.choice((0.0, 0.5, -1.0))), self.pick().shape)

    # What it is done with.

    def pick(self, shape: tuple[int, ...] | None = None) -> Node:
        """A value, or one made to have this shape."""
        value = self._late()
        if shape is None or value.shape == shape:
            return value
        if len(value.shape) <= len(shape) and all(
            a in (1, b) for a, b in zip(value.shape[::-1], shape[::-1], strict=False)
        ):
            return self.build.broadcast(value, shape)
        same = [v for v in self.pool if v.shape == shape]
        if same and self.draw.random() < 0.7:
            return self.draw.choice(same)
        return self.build.reshape(self._of_width(value, prod(shape)), shape)

    def _late(self) -> Node:
        """New values more often than old ones."""
        at = len(self.pool) - 1 - int(min(self.draw.expovariate(0.4), len(self.pool) - 1))
        return self.pool[at]

    def _flat(self, value: Node) -> Node:
        return self.build.reshape(value, (value.width,))

    def _of_width(self, value: Node, width: int) -> Node:
        value = self._flat(value)
        if value.width > width:
            value = self.build.slice(value, 0, value.width - width, value.width)
        if value.width < width:
            value = self._bounded(self.build.linear(value, self._tensor((width, value.width))))
        return value

    def _bounded(self, value: Node) -> Node:
        """Now and then as it is: long chains stay near 1."""
        return value if self.draw.random() < 0.4 else self._call(self.draw.choice(BOUNDED[:4]), value)

    def _call(self, op: str, *operands: Node | float) -> Node:
        nodes = [o if isinstance(o, Node) else self.build.const(o) for o in operands]
        dtype = "bool" if op in (*COMPARISONS, "and", "or", "not") else "real"
        return self.build.pointwise(op, *nodes, dtype=dtype, **ATTRIBUTES.get(op, {}))

    def _input(self, kind: str, name: str, shape: tuple[int, ...], dtype: str = "real") -> Node:
        node = self.inputs[name] = self.build.input(kind, name, shape, True, dtype)
        (self.flags if dtype == "bool" else self.pool).append(node)
        return node

    def _tensor(self, shape: tuple[int, ...]) -> Node:
        same = [n for n in self.inputs.values() if n["kind"] == "tensor" and n.shape == shape]
        if same and self.draw.random() < 0.3:
            return self.draw.choice(same)
        name = f"w{len(self.inputs)}"
        node = self.inputs[name] = self.build.input("tensor", name, shape, False)
        return node


@dataclass
class RandomStep:
    """A step as text: each line makes a (B, ·) or (B, ·, ·) tensor of those above."""

    draw: Random
    lines: list[str] = field(default_factory=list)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    params: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def make(self) -> ostinato.Cell:
        """A class with this step, and a cell of it."""
        draw = self.draw
        sizes = [draw.choice(WIDTHS) for _ in range(draw.randint(1, 2))]
        x = draw.choice(WIDTHS)
        self.shapes = {"x": (x,)} | {f"h{n}": (size,) for n, size in enumerate(sizes)}
        for _ in range(draw.randint(1, 8)):
            self._line()
        news = [self._fit(size) for size in sizes]
        states = [f"h{n}" for n in range(len(sizes))]
        params = "".join(
            f"        self.{name} = nn.Parameter(torch.empty{shape} + 0.0)\n" for name, shape in self.params.items()
        )
        text = (
            "class Drawn(ostinato.Cell):\n"
            f"    state_names = {tuple(states)}\n"
            f"    state_sizes = {tuple(sizes)}\n"
            f"    def __init__(self, input_size={x}, hidden_size={sizes[0]}):\n"
            f"        super().__init__(input_size, hidden_size)\n{params}"
            f"        for p in self.parameters():\n            nn.init.uniform_(p, -0.7, 0.7)\n"
            f"    def step(self, x, {', '.join(states)}):\n"
            + "".join(f"        {line}\n" for line in self.lines)
            + f"        return {', '.join(news)}\n"
        )
        name = f"<drawn {next(_numbers)}>"
        linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
        space: dict[str, Any] = {"ostinato": ostinato, "nn": nn, "torch": torch, "F": nn.functional}
        exec(compile(text, name, "exec"), space)
        cell: ostinato.Cell = space["Drawn"]().double()
        cell.text = text  # type: ignore[assignment]
        return cell

    def _line(self) -> None:
        a = self.draw.choice(list(self.shapes)[-5:])
        shape = self.shapes[a]
        made = self.draw.choice(self._writers())(a, shape)
        if made is not None:
            text, result = made
            self._name(text, result)

    def _name(self, text: str, shape: tuple[int, ...]) -> str:
        name = f"v{len(self.shapes)}"
        self.lines.append(f"{name} = {text}")
        self.shapes[name] = shape
        return name

    def _writers(self) -> Sequence[Callable[[str, tuple[int, ...]], tuple[str, tuple[int, ...]] | None]]:
        return (self._function, self._function, self._linear, self._linear, self._pair, self._pair, self._view,
                self._slice, self._reduced, self._cat, self._in_place, self._norm, self._where)  # fmt: skip

    def _function(self, a: str, shape: tuple[int, ...]) -> tuple[str, tuple[int, ...]]:
        name = self.draw.choice(
            ("torch.tanh({})", "torch.sigmoid({})", "F.silu({})", "F.softplus({})", "torch.exp(-torch.abs({}))", "-{}",
             "1 - {}", "torch.relu({})", "torch.cos({})", "{}.clamp(-0.5, 0.8)", "torch.log1p({}.abs())", "{} ** 2",
             "torch.sqrt({} ** 2 + 0.1)", "F.gelu({})", "torch.rsqrt({}.square() + 0.5)", "{}.detach() * 0.5")
        )  # fmt: skip
        return name.format(a), shape

    def _linear(self, a: str, shape: tuple[int, ...]) -> tuple[str, tuple[int, ...]]:
        out = self.draw.choice(WIDTHS)
        weight = self._param((out, shape[-1]))
        kind = self.draw.randrange(3)
        if kind == 0:
            return f"torch.tanh(F.linear({a}, {weight}, {self._param((out,))}))", (*shape[:-1], out)
        return (f"F.linear({a}, {weight})" if kind == 1 else f"torch.sigmoid({a} @ {weight}.T)"), (*shape[:-1], out)

    def _pair(self, a: str, shape: tuple[int, ...]) -> tuple[str, tuple[int, ...]]:
        same = [n for n, s in self.shapes.items() if s in (shape, (1,))]
        b = self.draw.choice(same) if same and self.draw.random() < 0.7 else self._param(shape[-1:])
        if len(shape) == 2 and self.shapes.get(b) == (1,):
            b = f"{b}[:, None]"
        op = self.draw.choice(("{} + {}", "{} - {}", "{} * {}", "torch.maximum({}, {})", "{} / (1.5 + torch.tanh({}))"))
        return f"torch.tanh({op.format(a, b)})", shape

    def _view(self, a: str, shape: tuple[int, ...]) -> tuple[str, tuple[int, ...]] | None:
        if len(shape) == 2:
            if self.draw.random() < 0.5:
                return f"{a}.transpose(-1, -2)", shape[::-1]
            return f"{a}.flatten(1)", (shape[0] * shape[1],)
        factors = [n for n in range(2, shape[0]) if shape[0] % n == 0]
        if not factors:
            return None
        n = self.draw.choice(factors)
        return f"{a}.reshape(-1, {n}, {shape[0] // n})", (n, shape[0] // n)

    def _slice(self, a: str, shape: tuple[int, ...]) -> tuple[str, tuple[int, ...]] | None:
        size = shape[-1]
        if size == 1:
            return None
        kind = self.draw.randrange(4)
        if kind == 0:
            return f"{a}.flip(-1)", shape
        if kind == 1 and size % 2 == 0:
            return f"{a}.chunk(2, -1)[{self.draw.randrange(2)}]", (*shape[:-1], size // 2)
        if kind == 2:
            return f"{a}[..., ::2]", (*shape[:-1], (size + 1) // 2)
        start = self.draw.randrange(size)
        return f"{a}[..., {start}:]", (*shape[:-1], size - start)

    def _reduced(self, a: str, shape: tuple[int, ...]) -> tuple[str, tuple[int, ...]]:
        name = self.draw.choice(("mean", "amax", "amin", "sum"))
        axis = self.draw.choice(range(len(shape))) + 1
        kept = tuple(1 if d + 1 == axis else s for d, s in enumerate(shape))
        return f"torch.tanh({a}.{name}({axis}, keepdim=True))", kept

    def _cat(self, a: str, shape: tuple[int, ...]) -> tuple[str, tuple[int, ...]]:
        axis = self.draw.randrange(len(shape)) + 1
        same = [n for n, s in self.shapes.items() if s == shape]
        joined = tuple(2 * s if d + 1 == axis else s for d, s in enumerate(shape))
        return f"torch.cat([{a}, {self.draw.choice(same)}], dim={axis})", joined

    def _in_place(self, a: str, shape: tuple[int, ...]) -> tuple[str, tuple[int, ...]]:
        name = self._name(f"{a}.clone()", shape)
        how = self.draw.choice(("{}.mul_(0.5)", "{}[..., 0] = 0.25", "{}[..., -1:].add_(1.0)", "{}.tanh_()"))
        self.lines.append(how.format(name))
        return f"{name} + 0.0", shape

    def _norm(self, a: str, shape: tuple[int, ...]) -> tuple[str, tuple[int, ...]]:
        weight = self._param(shape[-1:])
        text = self.draw.choice(
            ("torch.softmax({}, -1)", "F.layer_norm({} + {w}, ({n},), {w}, {w}, 0.01)", "F.normalize({} + {w}, dim=-1)")
        )
        return text.format(a, w=weight, n=shape[-1]), shape

    def _where(self, a: str, shape: tuple[int, ...]) -> tuple[str, tuple[int, ...]]:
        return f"torch.where({a} > 0.1, {a} * {a}, 0.5 * {a})", shape

    def _fit(self, size: int) -> str:
        """The last value, brought to a state's width."""
        a = self.draw.choice(list(self.shapes)[-2:])
        shape = self.shapes[a]
        if len(shape) == 2:
            a = self._name(f"{a}.flatten(1)", (prod(shape),))
        width = prod(shape)
        if width == size:
            return a
        return self._name(f"torch.tanh(F.linear({a}, {self._param((size, width))}))", (size,))

    def _param(self, shape: tuple[int, ...]) -> str:
        same = [n for n, s in self.params.items() if s == shape]
        if same and self.draw.random() < 0.3:
            return f"self.{self.draw.choice(same)}"
        name = f"p{len(self.params)}"
        self.params[name] = shape
        return f"self.{name}"


_numbers = count()


@dataclass(frozen=True)
class Geometry:
    """How a cell is run."""

    steps: int
    rows: int
    sizes: list[int] | None
    reverse: bool
    directions: int

    @classmethod
    def drawn(cls, draw: Random) -> Geometry:
        steps, rows = draw.randint(1, 4), draw.choice((1, 2, 3, 5, 8))
        sizes = sorted((draw.randint(0, rows) for _ in range(steps)), reverse=True) if draw.random() < 0.4 else None
        return cls(steps, rows, sizes, draw.random() < 0.5, draw.choice((1, 1, 2)))


def nudged(loop: Loop, by: float) -> Loop:
    """The loop with numbers that differ in their last bits."""
    return change(loop, lambda v: v * (1 + by * torch.randn_like(v)))


def check_graph(graph: Graph, geometry: Geometry) -> None:
    """The kernel is the reference, up to what the last bits of the input do."""
    own = Made(graph)
    loops = own.loops(
        steps=geometry.steps,
        rows=geometry.rows,
        sizes=geometry.sizes,
        reverse=geometry.reverse,
        directions=geometry.directions,
    )
    seeds = seeds_of(own.program, loops, torch.float64)
    slack = expected(own.program, [nudged(loop, 1e-14) for loop in loops], seeds)
    compare(own.program, loops, own.kernel(), seeds, slack=slack)


def check_cell(cell: ostinato.Cell, geometry: Geometry) -> None:
    """A cell's own step, run by Python and derived by autograd, is its traced graph's; and that is the kernel's."""
    from tests.compiler.whole import sequences

    graph = trace(cell, cell.input_size, {}, {})
    given = sequences(graph, 1, geometry.rows)
    values = {n: given.values[n] for n in graph.inputs if graph.inputs[n]["kind"] in ("x", "state")}
    tensors = dict(cell.named_parameters()) | dict(cell.named_buffers())
    from ostinato.compiler.interpret import run

    traced = run(graph, values | {n: tensors[n] for n in graph.inputs_of("tensor")})
    output, states = cell.split(cell.step(values["x"], *(values[n] for n in cell.state_names)))
    torch.testing.assert_close(traced["output"], output, rtol=1e-9, atol=1e-9)
    for name, state in zip(cell.state_names, states, strict=True):
        torch.testing.assert_close(traced[f"new.{name}"], state, rtol=1e-9, atol=1e-9)
    check_graph(graph, geometry)


def check_layer(cell: ostinato.Cell, geometry: Geometry, draw: Random) -> None:
    """A layer of such cells gives what its loop gives, on each way a call can go: the ordinary one, the short ones, and
    in chunks; with gradients of some of what it reads."""
    two = geometry.directions == 2
    layer = ostinato.Recurrent(
        type(cell), cell.input_size, cell.hidden_size, engine="native", dtype=torch.float64, bidirectional=two
    )
    for parameter in layer.parameters():
        parameter.requires_grad_(draw.random() < 0.8)
    steps, rows = 3 * geometry.steps, geometry.rows
    given = [torch.randn(steps, rows, cell.input_size, dtype=torch.float64) for _ in range(2)]
    for x in given:
        x.requires_grad_(draw.random() < 0.5)
    states = None
    if draw.random() < 0.3:
        zeros = layer.state_shape.zeros(rows, given[0])
        states = tuple(torch.randn_like(s).requires_grad_(draw.random() < 0.5) for s in zeros)
    lengths = [steps, *(min(n, steps) for n in range(rows - 1))]
    least, chunks.LEAST = chunks.LEAST, 1
    try:
        for recompute, own in (("none", None), ("chunks", None), (draw.choice(("none", "chunks")), lengths)):
            layer.recompute = recompute
            for x in (given[0], given[0], given[1]):  # The short ways are there from the third call.
                found = of_layer(layer, x, states, own)
                with ostinato.engine("loop"):
                    wanted = of_layer(layer, x, states, own)
                    near = (x.detach() * (1 + 1e-14 * torch.randn_like(x))).requires_grad_(x.requires_grad)
                    moved = of_layer(layer, near, states, own)
                same_tensors(found, wanted, f"{recompute} ", 10 * TOLERANCE[torch.float64], moved)
    finally:
        chunks.LEAST = least


def of_layer(
    layer: ostinato.Recurrent, x: torch.Tensor, states: tuple[torch.Tensor, ...] | None, lengths: list[int] | None
) -> dict[str, torch.Tensor]:
    """What an inference puts out, and a training call and its gradients."""
    hx = states[0] if states is not None and len(states) == 1 else states
    with torch.no_grad():
        inferred, _ = layer(x, hx, lengths=lengths)
    output, state = layer(x, hx, lengths=lengths)
    made = [output, *(state if isinstance(state, tuple) else (state,))]
    loss = sum((torch.cos(m) * m).sum() for m in made)
    leaves = {"x": x, **{f"h{n}": s for n, s in enumerate(states or ())}, **dict(layer.named_parameters())}
    leaves = {name: leaf for name, leaf in leaves.items() if leaf.requires_grad}
    grads = [torch.zeros_like(leaf) for leaf in leaves.values()]
    if leaves and loss.requires_grad:  # Else the step reads none of them.
        grads = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True, materialize_grads=True)
    parts = {str(n): m.detach() for n, m in enumerate(made)}
    return {"inferred": inferred} | parts | dict(zip(leaves, grads, strict=True))


def example(seed: int) -> tuple[str, Callable[[], None]]:
    """A random check, and what it is of."""
    draw = Random(seed)
    torch.manual_seed(seed)
    if seed % 2:
        cell = RandomStep(draw).make()
        geometry = Geometry.drawn(draw)
        if seed % 4 == 3:
            return f"{cell.text}\n{geometry}", lambda: check_layer(cell, geometry, draw)
        return f"{cell.text}\n{geometry}", lambda: check_cell(cell, geometry)
    graph = RandomGraph(draw).make()
    geometry = Geometry.drawn(draw)
    return f"{graph}\n{geometry}", lambda: check_graph(graph, geometry)


def main() -> None:
    """Try random cells until time is up; print those that fail."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, help="only this one, shown")
    parser.add_argument("--start", type=int, default=0, help="the first seed")
    asked = parser.parse_args()
    os.environ["OSTINATO_CACHE"] = "off"
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = True
    end = time.monotonic() + 60 * asked.minutes
    tried = failed = 0
    for seed in count(asked.start) if asked.seed is None else [asked.seed]:
        if time.monotonic() > end:
            break
        tried += 1
        text = "a step that could not be written"
        try:
            text, check = example(seed)
            if asked.seed is not None:
                print(text)
            check()
        except Exception as problem:
            failed += 1
            print(f"seed {seed}: {type(problem).__name__}: {str(problem)[:400]}", flush=True)
            if asked.seed is not None:
                traceback.print_exc()
    print(f"{tried} cells, {failed} failures")


if __name__ == "__main__":
    main()
