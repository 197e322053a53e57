"""A program run by the loop engine, one step after the other, so that autograd sees all of it: second derivatives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ostinato.compiler import interpret
from ostinato.compiler.sink import PASSED
from ostinato.engines import loop
from ostinato.engines.call import LayerCall
from ostinato.engines.compiled import Compiled, Plan
from ostinato.engines.geometry import Geometry
from ostinato.engines.twice import apart


class ProgramCell:
    """What the loop engine asks of a cell, with a program's graphs as its step."""

    def __init__(self, compiled: Compiled, params: Sequence[Tensor]) -> None:
        made = compiled.program
        self.program = made
        self.params = dict(zip(compiled.params, params, strict=True))
        self.state_names = made.states
        self.state_sizes = tuple(made.forward.outputs[f"new.{s}"].width for s in made.states)
        self.output_size = made.output_width
        self.separate_output = True

    def step(self, x: Tensor, *states: Tensor, **given: Tensor) -> Any:
        """output, *states of one step."""
        made = self.program
        values = {**self.params, **given, "x": x, **dict(zip(made.states, states, strict=True))}
        if made.hoist.outputs:
            values |= interpret.run(made.hoist, {n: values[n] for n in made.hoist.inputs})
        done = interpret.run(made.forward, {n: values[n] for n in made.forward.inputs})
        if made.sink is not None:
            own = {n: done["output"] if n == PASSED else values[n] for n in made.sink.inputs}
            done["output"] = interpret.run(made.sink, own)["output"]
        return (done["output"], *(done[f"new.{s}"] for s in made.states))

    def split(self, result: Any) -> tuple[Tensor, tuple[Tensor, ...]]:
        return result[0], result[1:]


def run(plan: Plan, geometry: Geometry, tensors: Sequence[Tensor]) -> tuple[Tensor, list[list[Tensor]]]:
    """The output, in the form of the input, and each direction's final states."""
    count = 1 + len(plan.streams)
    streams = dict(zip(plan.streams, tensors[1:count], strict=True))
    constants = dict(zip(plan.constants, tensors[count : count + len(plan.constants)], strict=True))
    cells: list[Any] = []
    states = []
    for compiled, (start, middle, end) in zip(plan.directions, plan.places, strict=True):
        cells.append(ProgramCell(compiled, tensors[middle:end]))
        states.append(tuple(tensors[start:middle]))
    call = LayerCall(
        tuple(cells),
        tuple(c.step for c in cells),
        tensors[0],
        tuple(states),
        streams,
        constants,
        geometry.batch_sizes,
    )
    output, finals = loop.run(call)
    return output, [list(final) for final in finals]


def gradients(
    plan: Plan,
    geometry: Geometry,
    tensors: Sequence[Tensor],
    grad_output: Tensor | None,
    grad_finals: Sequence[Sequence[Tensor | None]],
    wanted: Sequence[bool],
) -> list[Tensor | None]:
    """What ``passes.backward`` returns, as a function that can be differentiated again."""
    with torch.enable_grad():
        tensors = apart(tensors)
        output, finals = run(plan, geometry, tensors)
        made = [output, *(f for final in finals for f in final)]
        flowing = [grad_output, *(g for grads in grad_finals for g in grads)]
        return differentiate(made, flowing, tensors, wanted)


def differentiate(
    made: Sequence[Tensor], flowing: Sequence[Tensor | None], tensors: Sequence[Tensor], wanted: Sequence[bool]
) -> list[Tensor | None]:
    """The gradients of ``tensors`` where ``wanted``, so that they can be differentiated again.

    Args:
        flowing: the gradient of each of ``made``, of as many elements, or None.
    """
    pairs = [(m, g.reshape(m.shape)) for m, g in zip(made, flowing, strict=True) if g is not None and m.requires_grad]
    asked = [n for n, flag in enumerate(wanted) if flag]
    found = torch.autograd.grad(
        [m for m, _ in pairs],
        [tensors[n] for n in asked],
        [g for _, g in pairs],
        create_graph=True,
        allow_unused=True,
        materialize_grads=True,
    )
    grads: list[Tensor | None] = [None] * len(tensors)
    for n, grad in zip(asked, found, strict=True):
        grads[n] = grad
    return grads
