"""A compiled loop held against the reference: what both put out, what is kept, every gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ostinato.compiler.graph import Graph
from ostinato.compiler.kernel import Kernel
from ostinato.compiler.pipeline import compile_graph
from ostinato.compiler.program import Gradients, Loop, Program, Ran
from ostinato.compiler.reference import run_backward, run_forward
from tests.compiler.whole import Sequences, detached, outside, sequences

TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-4}


class Made:
    """A traced step, its program, and the kernels of it that have been asked for."""

    def __init__(self, graph: Graph, wants_grad: bool = True) -> None:
        self.graph = graph
        self.program = compile_graph(graph, wants_grad).program
        self._kernels: dict[torch.dtype, Kernel] = {}

    def kernel(self, dtype: torch.dtype = torch.float64) -> Kernel:
        if dtype not in self._kernels:
            self._kernels[dtype] = Kernel(self.program, dtype)
        return self._kernels[dtype]

    def loops(self, **geometry: Any) -> list[Loop]:
        """Loops on random values, see :func:`case`."""
        return case(self.graph, self.program, **geometry)

    def check(self, dtype: torch.dtype = torch.float64, **geometry: Any) -> None:
        """The kernel is the reference on random values."""
        compare(self.program, self.loops(dtype=dtype, **geometry), self.kernel(dtype))


def loop_of(program: Program, given: Sequences, dtype: torch.dtype = torch.float64) -> Loop:
    """The loop on these values, flags as numbers, everything of one dtype."""
    return cast(detached(outside(program, given)[0]), dtype)


def cast(loop: Loop, dtype: torch.dtype) -> Loop:
    """The same loop with numbers of another dtype."""
    return change(loop, lambda value: value.to(dtype))


def change(loop: Loop, function: Callable[[Tensor], Tensor]) -> Loop:
    """A function on every tensor of numbers of a loop."""

    def each(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: function(value) for name, value in values.items()}

    return replace(
        loop,
        streams=each(loop.streams),
        constants=each(loop.constants),
        states=each(loop.states),
        params=each(loop.params),
    )


def flags(program: Program, loop: Loop) -> Loop:
    """The loop as the reference reads it: in float64, and flags as flags."""
    loop = cast(loop, torch.float64)
    inputs = program.forward.inputs

    def each(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {n: v != 0 if n in inputs and inputs[n].dtype == "bool" else v for n, v in values.items()}

    return replace(loop, streams=each(loop.streams), constants=each(loop.constants), params=each(loop.params))


@dataclass(frozen=True)
class Seeds:
    """What flows into a backward loop, for each direction together and apart."""

    output: Tensor | None
    finals: list[dict[str, Tensor | None]]


def seeds_of(program: Program, loops: Sequence[Loop], dtype: torch.dtype) -> Seeds:
    width = program.forward.outputs["output"].width
    count = total(loops[0])
    finals = [{n: torch.randn(v.shape, dtype=dtype) for n, v in loop.states.items()} for loop in loops]
    return Seeds(torch.randn(count, width * len(loops), dtype=dtype), finals)


def total(loop: Loop) -> int:
    return loop.steps * loop.rows if loop.batch_sizes is None else int(loop.batch_sizes.sum())


def every(program: Program, loop: Loop) -> frozenset[str]:
    """The names of everything a loop reads that has a gradient."""
    assert program.backward is not None
    graph, inputs = program.backward.graph, program.forward.inputs
    names = {n for n in (*loop.streams, *loop.constants) if f"grad.{n}" in graph.outputs}
    weights = {w.param for w in program.backward.weights} | {s.param for s in program.backward.sums}
    return frozenset(n for n in names | set(loop.states) | weights if n in inputs or n in loop.states)


def expected(
    program: Program, loops: Sequence[Loop], seeds: Seeds | None, wanted: Iterable[str] | None = None
) -> tuple[list[Ran], list[Gradients]]:
    """What the reference says of these loops, in float64."""
    width = program.forward.outputs["output"].width
    rans, grads = [], []
    for d, loop in enumerate(loops):
        loop = flags(program, loop)
        ran = run_forward(program, loop, save=program.backward is not None)
        rans.append(ran)
        if seeds is not None:
            output = None if seeds.output is None else seeds.output[:, d * width : (d + 1) * width].double()
            finals = {n: None if g is None else g.double() for n, g in seeds.finals[d].items()}
            names = every(program, loop) if wanted is None else wanted
            grads.append(run_backward(program, loop, ran, output, finals, names))
    return rans, grads


def compare(
    program: Program,
    loops: Sequence[Loop],
    kernel: Kernel,
    seeds: Seeds | None = None,
    wanted: Iterable[str] | None = None,
    tolerance: float | None = None,
    slack: tuple[list[Ran], list[Gradients]] | None = None,
) -> None:
    """Run loops both ways and compare all there is.

    Args:
        slack: the reference's results of inputs that differ in their last bits; where these move, so may the kernel's.
    """
    tolerance = TOLERANCE[kernel.dtype] if tolerance is None else tolerance
    if program.backward is not None and seeds is None:
        seeds = seeds_of(program, loops, kernel.dtype)
    names = None if wanted is None else frozenset(wanted)
    want_rans, want_grads = expected(program, loops, seeds, names)
    _, rans = kernel.forward(loops, save=program.backward is not None)
    # A loop that keeps nothing is code of its own; in float32 it is not compiled just to be compared.
    unsaved = kernel.forward(loops, save=False)[1] if kernel.dtype == torch.float64 else rans
    for d, (ran, want) in enumerate(zip(rans, want_rans, strict=True)):
        moved = None if slack is None else slack[0][d]
        for made in (ran, unsaved[d]):
            shift = moved and {"output": moved.output}
            same_tensors({"output": made.output}, {"output": want.output}, "", tolerance, shift)
        for part in ("finals", "saved", "trajectories"):
            got, true = getattr(ran, part), getattr(want, part)
            same_tensors(got, true, f"{part} ", tolerance, moved and getattr(moved, part))
        same_tensors(unsaved[d].finals, want.finals, "unsaved finals ", tolerance, moved and moved.finals)
    if seeds is None:
        return
    assert program.backward is not None
    used = every(program, loops[0]) if names is None else names
    found = kernel.backward(loops, rans, seeds.output, seeds.finals, used)
    for d, (grads, true_grads) in enumerate(zip(found, want_grads, strict=True)):
        moved_grads = None if slack is None else slack[1][d]
        for part in ("streams", "constants", "states", "params"):
            got, true = getattr(grads, part), getattr(true_grads, part)
            moved_part = moved_grads and getattr(moved_grads, part)
            same_tensors(got, true, f"gradient of {part} ", tolerance, moved_part)


def same_tensors(
    got: Mapping[str, Tensor],
    want: Mapping[str, Tensor],
    what: str,
    tolerance: float,
    moved: Mapping[str, Tensor] | None = None,
) -> None:
    assert got.keys() == want.keys(), f"{what}: {sorted(got)}, not {sorted(want)}"
    for name in got:
        close(got[name], want[name].to(torch.float64), what + name, tolerance, None if moved is None else moved[name])


def close(got: Tensor, want: Tensor, what: str, tolerance: float, moved: Tensor | None = None) -> None:
    """Equal up to a part of the tensor's own size, and not a number at the same places."""
    got = got.detach().to(torch.float64)
    assert got.numel() == want.numel(), f"{what}: {tuple(got.shape)}, not {tuple(want.shape)}"
    got = got.reshape(want.shape)
    odd = ~want.isfinite()
    torch.testing.assert_close(got[odd], want[odd], equal_nan=True, rtol=0, atol=0, msg=lambda m: f"{what}: {m}")
    got, want = got[~odd], want[~odd]
    if not want.numel():
        return
    allowed = tolerance * (0.05 + want.abs().max())
    if moved is not None:
        shift = (moved.to(torch.float64).reshape(odd.shape)[~odd] - want).abs().nan_to_num(float("inf"))
        allowed = allowed + 4 * shift.max()
    error = (got - want).abs().nan_to_num(float("inf")).max()
    assert error <= allowed, f"{what}: off by {error:.3e}, allowed are {allowed:.3e}"


def case(
    graph: Graph,
    program: Program,
    steps: int = 4,
    rows: int = 3,
    sizes: Sequence[int] | None = None,
    directions: int = 1,
    reverse: bool = False,
    dtype: torch.dtype = torch.float64,
    scale: float = 0.5,
) -> list[Loop]:
    """Loops on random values; the second direction has its own and goes the other way."""
    loops = []
    for d in range(directions):
        given = sequences(graph, steps, rows, sizes, reverse != bool(d))
        for name, node in graph.inputs.items():
            if node.dtype == "real":
                given.values[name] = (given.values[name].detach() * scale).requires_grad_()
        loops.append(loop_of(program, given, dtype))
    return loops
