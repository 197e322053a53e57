"""A whole sequence two ways: autograd through a plain loop of the traced step, and a program run by the reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ostinato.compiler.graph import Graph
from ostinato.compiler.interpret import run
from ostinato.compiler.program import Loop, Program
from ostinato.compiler.rebuild import trimmed
from ostinato.compiler.reference import run_backward, run_forward
from ostinato.compiler.sink import PASSED

OUTSIDE = ("x", "stream", "constant", "state", "tensor")


@dataclass(frozen=True)
class Sequences:
    """Random values for every input of a traced step: (N, ·) for x and streams, (B, ·) for constants and states."""

    values: dict[str, Tensor]
    rows: int
    steps: int
    batch_sizes: Tensor | None
    reverse: bool

    @property
    def spans(self) -> list[slice]:
        sizes = [self.rows] * self.steps if self.batch_sizes is None else self.batch_sizes.tolist()
        ends = [sum(sizes[: n + 1]) for n in range(len(sizes))]
        return [slice(end - size, end) for end, size in zip(ends, sizes, strict=True)]

    def expanded(self, constant: Tensor) -> Tensor:
        """A constant at every row of every step."""
        return torch.cat([constant[:0], *(constant[: s.stop - s.start] for s in self.spans)])


def sequences(
    graph: Graph, steps: int = 4, rows: int = 3, batch_sizes: Sequence[int] | None = None, reverse: bool = False
) -> Sequences:
    steps = steps if batch_sizes is None else len(batch_sizes)
    count = steps * rows if batch_sizes is None else sum(batch_sizes)
    values = {}
    for name, node in graph.inputs.items():
        lead = {"x": (count,), "stream": (count,), "constant": (rows,), "state": (rows,), "tensor": ()}[node["kind"]]
        value = torch.randn([*lead, *node.shape], dtype=torch.float64)
        values[name] = value > 0 if node.dtype == "bool" else value.requires_grad_()
    sizes = None if batch_sizes is None else torch.tensor(batch_sizes, dtype=torch.int64)
    return Sequences(values, rows, steps, sizes, reverse)


def plain(graph: Graph, given: Sequences) -> dict[str, Tensor]:
    """``output`` and each state's final value, by autograd's own operations."""
    states = {n: given.values[n] for n in graph.inputs_of("state")}
    outputs = {}
    for t in range(len(given.spans))[:: -1 if given.reverse else 1]:
        span = given.spans[t]
        n = span.stop - span.start
        values = {name: given.values[name] for name in graph.inputs_of("tensor")}
        values |= {name: given.values[name][span] for name in graph.inputs_of("x", "stream")}
        values |= {name: given.values[name][:n] for name in graph.inputs_of("constant")}
        values |= {s: v[:n] for s, v in states.items()}
        made = run(graph, values)
        outputs[t] = made["output"]
        states = {s: torch.cat((made[f"new.{s}"], v[n:])) for s, v in states.items()}
    width = graph.outputs["output"].shape
    empty = torch.empty(0, *width, dtype=torch.float64)
    return {"output": torch.cat([empty, *(outputs[t] for t in sorted(outputs))])} | states


def outside(program: Program, given: Sequences) -> tuple[Loop, dict[str, Tensor]]:
    """The loop with everything that stands before it done, and the graph-connected values it reads, by name."""
    values = given.values
    params = run(program.prepare, {n: values[n] for n in program.prepare.inputs})
    known = values | params
    streams, constants = _hoisted(program, given, known, False), _hoisted(program, given, known, True)
    forward = program.forward
    direct = {n: values[n] for n in forward.inputs_of("x", "stream") if n in values}
    fixed = {n: values[n] for n in forward.inputs_of("constant") if n in values}
    used = {n: v for n, v in params.items() if n in forward.inputs}
    loop = Loop(
        direct | streams,
        fixed | constants,
        {s: values[s] for s in program.states},
        used,
        given.steps,
        given.rows,
        given.batch_sizes,
        given.reverse,
    )
    return loop, {**loop.streams, **loop.constants, **loop.states, **used}


def _hoisted(program: Program, given: Sequences, known: dict[str, Tensor], constant: bool) -> dict[str, Tensor]:
    names = [n for n in program.hoist.outputs if (n in program.constant_outputs) == constant]
    graph = trimmed(Graph(program.hoist.inputs, {n: program.hoist.outputs[n] for n in names}), ())
    if not names:
        return {}
    expand = graph.inputs_of("constant") if not constant else {}
    return run(graph, {n: given.expanded(known[n]) if n in expand else known[n] for n in graph.inputs})


def sunk(program: Program, given: Sequences, passed: Tensor) -> Tensor:
    """What a layer puts out, from what its loop did."""
    assert program.sink is not None
    known = given.values | run(program.prepare, {n: given.values[n] for n in program.prepare.inputs})
    return run(program.sink, {n: passed if n == PASSED else known[n] for n in program.sink.inputs})["output"]


def detached(loop: Loop) -> Loop:
    def cut(values: dict[str, Tensor]) -> dict[str, Tensor]:
        return {n: v.detach() for n, v in values.items()}

    return Loop(
        cut(loop.streams),
        cut(loop.constants),
        cut(loop.states),
        cut(loop.params),
        loop.steps,
        loop.rows,
        loop.batch_sizes,
        loop.reverse,
    )


def check(graph: Graph, program: Program, given: Sequences, tolerance: float = 1e-10) -> None:
    """Outputs, final states and the gradient of everything agree."""
    expected = plain(graph, given)
    loop, reads = outside(program, given)
    ran = run_forward(program, detached(loop), save=True)
    passed = ran.output.detach().requires_grad_()
    output = passed if program.sink is None else sunk(program, given, passed)
    close(output, expected["output"], "output", tolerance)
    for state, final in ran.finals.items():
        close(final, expected[state], f"final {state}", tolerance)

    seeds = {name: torch.randn_like(value) for name, value in expected.items()}
    leaves = {n: v for n, v in given.values.items() if v.requires_grad}
    reached = [n for n in seeds if expected[n].requires_grad]
    wanted = torch.autograd.grad(
        [expected[n] for n in reached], list(leaves.values()), [seeds[n] for n in reached], allow_unused=True
    )
    finals = {s: seeds[s] for s in program.states}
    inputs = [passed, *leaves.values()]
    flowing, *beside = torch.autograd.grad(output, inputs, seeds["output"], allow_unused=True)
    found = run_backward(program, detached(loop), ran, flowing, finals, tuple(reads))
    flat = {**found.streams, **found.constants, **found.states, **found.params}
    through = [n for n, g in flat.items() if reads[n].requires_grad]
    total = torch.autograd.grad(
        [reads[n] for n in through],
        list(leaves.values()),
        [flat[n] for n in through],
        allow_unused=True,
    )
    for name, want, *got in zip(leaves, wanted, total, beside, strict=True):
        zero = torch.zeros_like(leaves[name])
        added = sum((part for part in got if part is not None), zero)
        close(added, zero if want is None else want, f"gradient of {name}", tolerance)


def close(got: Tensor, want: Tensor, what: str, tolerance: float) -> None:
    assert got.shape == want.shape, f"{what}: {tuple(got.shape)}, not {tuple(want.shape)}"
    torch.testing.assert_close(got, want, rtol=tolerance, atol=tolerance, msg=lambda text: f"{what}: {text}")
