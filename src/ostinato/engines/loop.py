"""The plain Python loop over time: the definition of every layer, and the reference of every other engine."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ostinato.cells.cell import check_step
from ostinato.engines import aten
from ostinato.engines.call import LayerCall, States
from ostinato.engines.chunks import cut
from ostinato.engines.geometry import Geometry


def run(call: LayerCall) -> tuple[Tensor, tuple[States, ...]]:
    """Run each direction step by step.

    For full sequences one direction is equal to::

        for t in range(T):                       # range(T)[::-1] for the second direction
            output[t], *states = step(input[t], *states)

    Under autocast a step's products run in the lower precision and states keep the dtype they begin with.

    Returns:
        The outputs, (T, B, D·H_out) or packed (N, D·H_out), zero nowhere but where the cell says so, and the final
        states of each direction, every row's at its own last step.
    """
    outputs, finals = [], []
    for direction in range(len(call.cells)):
        output, final = _run_direction(call, direction)
        outputs.append(output)
        finals.append(final)
    return outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=-1), tuple(finals)


def _run_direction(call: LayerCall, direction: int) -> tuple[Tensor, States]:
    if call.recompute and _can_run_again():
        return _in_chunks(call, direction)
    return _steps(call, direction)


def _can_run_again() -> bool:
    """Whether autograd can leave out what it keeps: not under a transform or a tracer, which see no backward."""
    return (
        torch.is_grad_enabled()
        and not torch.compiler.is_compiling()
        and torch._C._functorch.peek_interpreter_stack() is None
        and torch.autograd.forward_ad._current_level < 0
        and torch._C._get_tracing_state() is None
    )


def _in_chunks(call: LayerCall, direction: int) -> tuple[Tensor, States]:
    """A direction chunk by chunk; autograd keeps each chunk's initial states, and runs it again for its backward."""
    cells, steps = (call.cells[direction],) * 2, (call.steps[direction],) * 2
    geometry = Geometry.of(call.input, call.states[direction][0].shape[0], call.batch_sizes)
    states, outputs = call.states[direction], []
    for chunk in cut(geometry, direction == 1, keep=False):
        streams = {name: chunk.of(value) for name, value in call.streams.items()}
        given = (chunk.of(call.input), (states, states), streams, call.constants, chunk.geometry.batch_sizes)
        part = LayerCall(cells, steps, *given)
        # A step is pure: it draws nothing, so that there is no generator to put back.
        output, states = checkpoint(_steps, part, direction, use_reentrant=False, preserve_rng_state=False)
        outputs.append(output)
    if not outputs:
        return _no_steps(call, direction), states
    return torch.cat(outputs[:: -1 if direction else 1]), states


def _steps(call: LayerCall, direction: int) -> tuple[Tensor, States]:
    cell, step = call.cells[direction], call.steps[direction]
    sizes = None if call.batch_sizes is None else call.batch_sizes.tolist()
    inputs = _frames(call.input, sizes)
    streams = {name: _frames(value, sizes) for name, value in call.streams.items()}
    initial = call.states[direction]
    mixed = torch._C._is_any_autocast_enabled() and aten.autocast_is_on(call.input.device.type)
    if mixed:
        kinds = aten.autocast_dtypes(cell, initial, call.batch_sizes is not None)
        initial = tuple(s.to(kind) for s, kind in zip(initial, kinds, strict=True))
    outputs: list[Tensor] = [call.input] * len(inputs)
    rows = _Rows(initial, backward=direction == 1)
    for t in range(len(inputs))[:: -1 if direction else 1]:
        states = rows.at(inputs[t].shape[0])
        given = {name: frames[t] for name, frames in streams.items()}
        given.update((name, value[: inputs[t].shape[0]]) for name, value in call.constants.items())
        outputs[t], new = cell.split(step(inputs[t], *states, **given))
        if mixed:
            new = tuple(s.to(old.dtype) for s, old in zip(new, states, strict=True))
            outputs[t] = outputs[t] if cell.separate_output else new[0]
        rows.states = new
        if t == (len(inputs) - 1 if direction else 0):
            check_step(cell, inputs[t], states, outputs[t], new)
    final = rows.finish()
    if not inputs:
        return _no_steps(call, direction), final
    return torch.stack(outputs) if sizes is None else torch.cat(outputs), final


def _no_steps(call: LayerCall, direction: int) -> Tensor:
    """The empty output, from a step on no rows: it is part of the graph, and every parameter's gradient is zero."""
    cell = call.cells[direction]
    x = call.input.reshape(0, call.input.shape[-1])
    given = {n: v.new_zeros(0, v.shape[-1]) for n, v in (*call.streams.items(), *call.constants.items())}
    output, _ = cell.split(cell.step(x, *(s[:0] for s in call.states[direction]), **given))
    return output.reshape(*call.input.shape[:-1], cell.output_size)


def _frames(value: Tensor, sizes: list[int] | None) -> tuple[Tensor, ...]:
    return value.unbind(0) if sizes is None else value.split(sizes)


class _Rows:
    """The states of the rows that are active now; rows leave (forward) or enter (backward) as lengths say."""

    def __init__(self, initial: States, backward: bool) -> None:
        self.initial = initial
        self.states = tuple(s[:0] for s in initial) if backward else initial
        self.backward = backward
        self.retired: list[States] = []

    def at(self, count: int) -> States:
        """The states of the first ``count`` rows, at the step where that many are active."""
        active = self.states[0].shape[0]
        if count < active:
            self.retired.append(tuple(s[count:] for s in self.states))
            self.states = tuple(s[:count] for s in self.states)
        elif count > active:
            entering = tuple(s[active:count] for s in self.initial)
            self.states = (
                entering if active == 0 else tuple(torch.cat(pair) for pair in zip(self.states, entering, strict=True))
            )
        return self.states

    def finish(self) -> States:
        """Every row's final state, in the order of the initial ones."""
        parts = [self.states, *reversed(self.retired)]
        if self.backward:
            active = self.states[0].shape[0]
            if active < self.initial[0].shape[0]:
                parts.append(tuple(s[active:] for s in self.initial))
        parts = [p for p in parts if p[0].shape[0]] or parts[:1]
        return parts[0] if len(parts) == 1 else tuple(torch.cat(group) for group in zip(*parts, strict=True))
