"""The loop over time in plain PyTorch: what a program means, and what every kernel must agree with.

It is differentiable itself, so the gradient of a gradient goes through it. Rows leave (or, in reverse, enter) as
``batch_sizes`` says: at each step the first n rows take part, and the others keep what they have.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ostinato.compiler.graph import Graph
from ostinato.compiler.interpret import run
from ostinato.compiler.program import Backward, Gradients, Loop, Program, Ran, WeightGradient
from ostinato.compiler.sink import held_in_output


def run_forward(program: Program, loop: Loop, save: bool) -> Ran:
    """Every step of the loop; with ``save``, what the backward reads is kept."""
    spans, states = _spans(loop), dict(loop.states)
    collected: dict[str, list[Tensor]] = {name: [] for name in program.forward.outputs}
    for span in _order(spans, loop.reverse):
        rows = span.stop - span.start
        values = run(program.forward, _given(program.forward, loop, span) | {s: v[:rows] for s, v in states.items()})
        for name, parts in collected.items():
            parts.append(values[name])
        states = {s: _first(values[f"new.{s}"], v) for s, v in states.items()}
    joined = {name: _joined(parts, loop, name, program.forward) for name, parts in collected.items()}
    trajectories = program.backward.trajectories if save and program.backward else ()
    saved, held = program.saved if save else (), held_in_output(program.forward)
    return Ran(
        joined["output"],
        states,
        {name: joined[name] for name in saved},
        {s: joined["output"].narrow(1, *held[s]) if s in held else joined[f"new.{s}"] for s in trajectories},
    )


def run_backward(
    program: Program,
    loop: Loop,
    ran: Ran,
    grad_output: Tensor | None,
    grad_finals: Mapping[str, Tensor | None],
    wanted: Iterable[str],
) -> Gradients:
    """The gradients of what the loop read, for the names in ``wanted``, from those of what it put out."""
    backward = program.backward
    assert backward is not None, "the program was built without a backward"
    wanted = frozenset(wanted)
    kept = {f"new.{s}": v for s, v in ran.trajectories.items()} | ran.saved
    kept |= {s: previous(loop, v, s) for s, v in ran.trajectories.items()}
    like = ran.output
    grads = {s: _or_zeros(grad_finals.get(s), v) for s, v in loop.states.items()}
    constants: dict[str, Tensor] = {
        name: torch.zeros_like(v) for name, v in loop.constants.items() if f"grad.{name}" in backward.graph.outputs
    }
    collected: dict[str, list[Tensor]] = {name: [] for name in backward.graph.outputs}
    for span in _order(_spans(loop), not loop.reverse):
        rows = span.stop - span.start
        values = _given(backward.graph, loop, span)
        values |= {name: v[span] for name, v in kept.items() if name in backward.graph.inputs}
        values |= {f"grad.{s}": g[:rows] for s, g in grads.items()}
        values["grad.output"] = _or_zeros(grad_output, like)[span]
        made = run(backward.graph, {name: values[name] for name in backward.graph.inputs})
        for name, parts in collected.items():
            parts.append(made[name])
        grads = {s: _first(made[f"grad.{s}"], g) for s, g in grads.items()}
        constants = {name: torch.cat((g[:rows] + made[f"grad.{name}"], g[rows:])) for name, g in constants.items()}
    joined = {name: _joined(parts, loop, name, backward.graph, backwards=True) for name, parts in collected.items()}
    return Gradients(
        {n: joined[f"grad.{n}"] for n in loop.streams if n in wanted and f"grad.{n}" in joined},
        {n: g for n, g in constants.items() if n in wanted},
        {s: g for s, g in grads.items() if s in wanted},
        _param_gradients(backward, loop, ran, joined, wanted),
    )


def _param_gradients(
    backward: Backward, loop: Loop, ran: Ran, joined: Mapping[str, Tensor], wanted: frozenset[str]
) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}

    def add(name: str, grad: Tensor) -> None:
        found[name] = found[name] + grad if name in found else grad

    for weight in backward.weights:
        if weight.param in wanted:
            value = _multiplied(weight, loop, ran, joined)
            add(weight.param, outer(joined[weight.grad], value, loop.params[weight.param].dim()))
    for total in backward.sums:
        if total.param in wanted:
            add(total.param, joined[total.grad].sum(0))
    return found


def outer(grad: Tensor, value: Tensor, dims: int) -> Tensor:
    """A weight's gradient from (N, …, n) and (N, …, k): the sum over all but the last axes; (h, n, k) for 3 dims."""
    if dims == 3:
        return torch.einsum("bhn,bhk->hnk", grad, value)
    return grad.reshape(-1, grad.shape[-1]).t() @ value.reshape(-1, value.shape[-1])


def _multiplied(weight: WeightGradient, loop: Loop, ran: Ran, joined: Mapping[str, Tensor]) -> Tensor:
    name = weight.value
    if weight.where == "state":
        return previous(loop, ran.trajectories[name], name)
    if weight.where == "constant":
        return torch.cat([loop.constants[name][: s.stop - s.start] for s in _spans(loop)])
    return {"stream": loop.streams, "saved": ran.saved, "trajectory": ran.trajectories, "backward": joined}[
        weight.where
    ][name]


@dataclass(frozen=True)
class Part:
    """Rows of (N, ·) and their values."""

    rows: slice
    values: Tensor


def previous_parts(loop: Loop, trajectory: Tensor, state: str) -> list[Part]:
    """The state before every step, (N, ·), as views of the trajectory and of the initial state.

    Two views for full sequences; for packed rows, one copy.
    """
    initial, count = loop.states[state], trajectory.shape[0]
    if loop.batch_sizes is not None:
        return [Part(slice(0, count), _previous_packed(loop, trajectory, initial))]
    rows = loop.rows
    if loop.reverse:
        return [Part(slice(0, count - rows), trajectory[rows:]), Part(slice(count - rows, count), initial)]
    return [Part(slice(0, rows), initial), Part(slice(rows, count), trajectory[: count - rows])]


def previous(loop: Loop, trajectory: Tensor, state: str) -> Tensor:
    """The state before every step, (N, ·)."""
    if trajectory.shape[0] == 0:
        return trajectory
    parts = [p.values for p in previous_parts(loop, trajectory, state) if p.values.shape[0]]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _previous_packed(loop: Loop, trajectory: Tensor, initial: Tensor) -> Tensor:
    """At each step the state of the step before it, and the initial one of rows that enter."""
    spans = _spans(loop)
    parts: list[Tensor] = []
    for t, span in enumerate(spans):
        rows = span.stop - span.start
        at = t + 1 if loop.reverse else t - 1
        before = spans[at] if 0 <= at < len(spans) else slice(0, 0)
        going_on = min(rows, before.stop - before.start)
        parts += [trajectory[before.start : before.start + going_on], initial[going_on:rows]]
    return torch.cat(parts) if parts else trajectory


def _spans(loop: Loop) -> list[slice]:
    """The rows of each step in (N, ·)."""
    sizes = [loop.rows] * loop.steps if loop.batch_sizes is None else loop.batch_sizes.tolist()
    spans, start = [], 0
    for size in sizes:
        spans.append(slice(start, start + size))
        start += size
    return spans


def _order(spans: list[slice], reverse: bool) -> list[slice]:
    return spans[::-1] if reverse else spans


def _given(graph: Graph, loop: Loop, span: slice) -> dict[str, Tensor]:
    """The streams, constants and params that the graph reads at one step."""
    rows = span.stop - span.start
    values = {name: v[span] for name, v in loop.streams.items()}
    values |= {name: v[:rows] for name, v in loop.constants.items()}
    values |= loop.params
    return {name: v for name, v in values.items() if name in graph.inputs}


def _first(new: Tensor, old: Tensor) -> Tensor:
    """The first rows anew, the others as they were."""
    return new if new.shape[0] == old.shape[0] else torch.cat((new, old[new.shape[0] :]))


def _joined(parts: list[Tensor], loop: Loop, name: str, graph: Graph, backwards: bool = False) -> Tensor:
    if not parts:
        like = next(iter((*loop.states.values(), *loop.streams.values(), *loop.params.values())))
        return like.new_zeros(0, *graph.outputs[name].shape)
    return torch.cat(parts[::-1] if loop.reverse != backwards else parts)


def _or_zeros(grad: Tensor | None, like: Tensor) -> Tensor:
    return torch.zeros_like(like) if grad is None else grad
