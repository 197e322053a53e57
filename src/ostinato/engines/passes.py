"""A layer's forward and backward on plain tensors, without autograd: what the Function and the operator share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ostinato import memory
from ostinato.compiler.program import Gradients, Loop, Ran
from ostinato.engines.compiled import Compiled, Plan
from ostinato.engines.geometry import Geometry
from ostinato.engines.sums import Sums


@dataclass(slots=True, eq=False)
class Done:
    """What a forward put out.

    Attributes:
        output: (N, D·w), packed or not.
        finals: of each direction, in the order of the states.
        kept: what :func:`backward` needs besides the tensors themselves and the output; empty if nothing was saved.
    """

    output: Tensor
    finals: list[list[Tensor]]
    kept: list[Tensor]


def forward(plan: Plan, geometry: Geometry, tensors: Sequence[Tensor], save: bool) -> Done:
    """Run every direction; ``tensors`` in the plan's order."""
    streams, constants = outside_of(plan, geometry, tensors)
    loops: list[Loop] = []
    hoisted: list[dict[str, Tensor]] = []
    products: list[list[Tensor]] = []
    for compiled, place in zip(plan.directions, plan.places, strict=True):
        states, params = own_of(compiled, place, tensors)
        products.append([])
        made = compiled.hoist.run(geometry, streams, constants, params, products[-1] if save else None)
        hoisted.append(made)
        read = {n: made[n] if n in made else streams[n] for n in compiled.streams}
        held = {n: made[n] if n in made else constants[n] for n in compiled.constants}
        loops.append(_loop(geometry, read, held, states, params, plan.reverse[len(loops)]))
    dtype = tensors[0].dtype
    if plan.same:
        output, rans = plan.directions[0].kernel(dtype).forward(loops, save)
    else:
        parts = [c.kernel(dtype).forward([loop], save) for c, loop in zip(plan.directions, loops, strict=True)]
        output, rans = torch.cat([part[0] for part in parts], dim=-1), [part[1][0] for part in parts]
    if any(c.sink is not None for c in plan.directions):
        output = _sunk(plan, rans, streams, [loop.params for loop in loops])
    finals = [[ran.finals[s] for s in c.program.states] for c, ran in zip(plan.directions, rans, strict=True)]
    kept: list[Tensor] = []
    if save:
        for compiled, ran, made, within in zip(plan.directions, rans, hoisted, products, strict=True):
            kept += [ran.output] if compiled.sink is not None else []
            kept += [ran.saved[n] for n in compiled.program.saved]
            kept += [ran.trajectories[s] for s in compiled.kept_states]
            kept += [made[n] for n in (*compiled.kept_streams, *compiled.kept_constants) if n in made]
            kept += within
    return Done(output, finals, kept)


def backward(
    plan: Plan,
    geometry: Geometry,
    tensors: Sequence[Tensor],
    output: Tensor | None,
    kept: Sequence[Tensor],
    grad_output: Tensor | None,
    grad_finals: Sequence[Sequence[Tensor | None]],
    wanted: Sequence[bool],
) -> list[Tensor | None]:
    """Gradients of ``tensors`` where ``wanted``, in their order and shapes.

    Args:
        output: what the forward put out, (N, D·w), if ``plan.reads_output``.
        grad_output, grad_finals: None where nothing flows.
    """
    streams, constants = outside_of(plan, geometry, tensors)
    outer = {n for n, flag in zip(_outer_names(plan), wanted, strict=False) if flag}
    loops: list[Loop] = []
    rans: list[Ran] = []
    wants: list[set[str]] = []
    products: list[list[Tensor]] = []
    rest, column, nothing = iter(kept), 0, tensors[0].new_empty(0)
    for compiled, place in zip(plan.directions, plan.places, strict=True):
        states, params = own_of(compiled, place, tensors)
        passed = next(rest) if compiled.sink is not None else None
        saved = {n: next(rest) for n in compiled.program.saved}
        trajectories = {s: next(rest) for s in compiled.kept_states}
        inner = compiled.hoist.reads
        # What the backward does not read is there by name alone: its gradient may be wanted.
        read = {n: streams.get(n, nothing) for n in compiled.streams}
        read |= {n: next(rest) for n in compiled.kept_streams if n in inner}
        held = {n: next(rest) if n in inner else constants[n] for n in compiled.kept_constants}
        products.append([next(rest) for _ in compiled.hoist.within])
        width = compiled.program.output_width
        if passed is None and output is not None:
            passed = output[:, column : column + width]
        column += width
        if passed is not None:
            trajectories |= {s: passed.narrow(1, *at) for s, at in compiled.outputs_are.items()}
        loops.append(_loop(geometry, read, held, states, params, plan.reverse[len(loops)]))
        rans.append(Ran(tensors[0] if passed is None else passed, {}, saved, trajectories))
        wants.append(outer | _flagged(compiled, place, wanted))
    sums = [Sums(names) for names in wants]
    if grad_output is not None and any(c.sink is not None for c in plan.directions):
        grad_output = _through_sinks(plan, rans, streams, [loop.params for loop in loops], grad_output, sums)
    found = _run_backward(plan, loops, rans, grad_output, grad_finals, wants, tensors[0].dtype)
    total = Sums(outer)
    grads: list[Tensor | None] = [None] * len(tensors)
    parts = zip(plan.directions, plan.places, loops, found, products, sums, strict=True)
    for compiled, place, loop, gradients, within, own in parts:
        own.add_all(gradients.states)
        own.add_all(gradients.params)
        for values in (gradients.streams, gradients.constants):
            own.add_all({n: v for n, v in values.items() if n not in compiled.hoist.reads})
        hoisted = {n: v for n, v in (gradients.streams | gradients.constants).items() if n in compiled.hoist.reads}
        if hoisted:
            given = streams | {n: loop.streams[n] for n in compiled.hoist.given}
            compiled.hoist.add_gradients(geometry, given, constants, loop.params, hoisted, within, own)
        total.add_all(own.values)
        for n, name in enumerate((*compiled.program.states, *compiled.params), place[0]):
            if wanted[n]:
                grads[n] = like(own.values.get(name), tensors[n])
    for n, name in enumerate(_outer_names(plan)):
        if wanted[n]:
            grads[n] = like(total.values.get(name), tensors[n])
    return separate(grads)


def _sunk(
    plan: Plan, rans: Sequence[Ran], streams: dict[str, Tensor], params: Sequence[Mapping[str, Tensor]]
) -> Tensor:
    """What the layer puts out, (N, D·w), from what the loops did."""
    widths = [c.program.output_width for c in plan.directions]
    output = memory.empty(rans[0].output, rans[0].output.shape[0], sum(widths))
    for compiled, ran, own, part in zip(plan.directions, rans, params, output.split(widths, 1), strict=True):
        if compiled.sink is None:
            part.copy_(ran.output)
        else:
            compiled.sink.run(ran.output, {**streams, **own}, part)
    return output


def _through_sinks(
    plan: Plan,
    rans: Sequence[Ran],
    streams: dict[str, Tensor],
    params: Sequence[Mapping[str, Tensor]],
    grad_output: Tensor,
    sums: Sequence[Sums[str]],
) -> Tensor:
    """The gradient of what the loops put out, (N, ·); that of all else goes into ``sums``."""
    parts, widths = [], [c.program.output_width for c in plan.directions]
    outputs = grad_output.split(widths, dim=-1)
    for compiled, ran, own, part, into in zip(plan.directions, rans, params, outputs, sums, strict=True):
        sunk = compiled.sink
        parts.append(part if sunk is None else sunk.gradient(ran.output, {**streams, **own}, part, into))
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)


def _run_backward(
    plan: Plan,
    loops: Sequence[Loop],
    rans: Sequence[Ran],
    grad_output: Tensor | None,
    grad_finals: Sequence[Sequence[Tensor | None]],
    wants: Sequence[set[str]],
    dtype: torch.dtype,
) -> list[Gradients]:
    finals = [
        dict(zip(c.program.states, grads, strict=True)) for c, grads in zip(plan.directions, grad_finals, strict=True)
    ]
    asked = [c.asked(names) for c, names in zip(plan.directions, wants, strict=True)]
    if plan.same:
        return plan.directions[0].kernel(dtype).backward(loops, rans, grad_output, finals, set().union(*asked))
    widths = [c.program.forward.outputs["output"].width for c in plan.directions]
    parts = [None] * len(loops) if grad_output is None else list(grad_output.split(widths, dim=-1))
    return [
        c.kernel(dtype).backward([loop], [ran], part, [final], names)[0]
        for c, loop, ran, part, final, names in zip(plan.directions, loops, rans, parts, finals, asked, strict=True)
    ]


def _flagged(compiled: Compiled, place: tuple[int, int, int], wanted: Sequence[bool]) -> set[str]:
    names = (*compiled.program.states, *compiled.params)
    return {name for name, flag in zip(names, wanted[place[0] : place[2]], strict=True) if flag}


def _outer_names(plan: Plan) -> tuple[str, ...]:
    return ("x", *plan.streams, *plan.constants)


def outside_of(
    plan: Plan, geometry: Geometry, tensors: Sequence[Tensor]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """x and the streams as (N, ·), and the constants as (B, ·), by name."""
    count, dtype = 1 + len(plan.streams), tensors[0].dtype
    streams = {"x": geometry.flat(tensors[0])}
    if count > 1 or plan.constants:
        for name, value in zip(plan.streams, tensors[1:count], strict=True):
            streams[name] = geometry.flat(_real(value, dtype))
        after = tensors[count : count + len(plan.constants)]
        return streams, {n: _real(v, dtype).contiguous() for n, v in zip(plan.constants, after, strict=True)}
    return streams, {}


def own_of(
    compiled: Compiled, place: tuple[int, int, int], tensors: Sequence[Tensor]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """A direction's states and params by name."""
    start, middle, end = place
    states = dict(zip(compiled.program.states, tensors[start:middle], strict=True))
    return states, dict(zip(compiled.params, tensors[middle:end], strict=True))


def _loop(
    geometry: Geometry,
    streams: dict[str, Tensor],
    constants: dict[str, Tensor],
    states: dict[str, Tensor],
    params: dict[str, Tensor],
    reverse: bool,
) -> Loop:
    return Loop(streams, constants, states, params, geometry.steps, geometry.rows, geometry.batch_sizes, reverse)


def _real(value: Tensor, dtype: torch.dtype) -> Tensor:
    """Counts as numbers of the input's dtype; flags stay flags."""
    return value if value.is_floating_point() or value.dtype == torch.bool else value.to(dtype)


def like(grad: Tensor | None, value: Tensor) -> Tensor:
    """A gradient in the shape of what it is of; zeros for none."""
    return torch.zeros_like(value) if grad is None else grad.reshape(value.shape)


def separate(grads: Iterable[Tensor | None]) -> list[Tensor | None]:
    """The same, each in memory of its own: autograd adds to a gradient where it stands, and inputs that a step only
    adds up have one and the same."""
    places: set[int] = set()
    found: list[Tensor | None] = []
    for grad in grads:
        if grad is not None and grad.numel():
            grad = grad.clone() if grad.data_ptr() in places else grad
            places.add(grad.data_ptr())
        found.append(grad)
    return found
