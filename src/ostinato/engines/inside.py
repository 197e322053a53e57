"""What the operators do: lengths become packed rows, the cells' tensors params, and the passes run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ostinato.engines import again, passes
from ostinato.engines.compiled import Plan, loads
from ostinato.engines.geometry import Geometry
from ostinato.engines.kept import count_of, kept_of
from ostinato.engines.ragged import Ragged, check_lengths
from ostinato.engines.recording import recording


class Given:
    """The operator's arguments in the form the passes take: padding gone, params prepared."""

    def __init__(
        self,
        plan: Plan,
        x: Tensor,
        streams: Sequence[Tensor],
        constants: Sequence[Tensor],
        states: Sequence[Tensor],
        tensors: Sequence[Tensor],
        lengths: Tensor | None,
    ) -> None:
        self.plan, self.tensors = plan, list(tensors)
        steps, rows = x.shape[0], x.shape[1]
        self.ragged: Ragged | None = None
        if lengths is not None:
            self.ragged = Ragged.from_lengths(check_lengths(lengths, steps, rows, True), steps, x.device)
        self.steps, self.rows = steps, rows
        self.cells: list[list[Tensor]] = []
        rest = iter(tensors)
        for compiled in plan.directions:
            self.cells.append([next(rest) for _ in compiled.tensors])
        params = [c.prepare(own) for c, own in zip(plan.directions, self.cells, strict=True)]
        pack, order = self.pack, self.sort
        self.flat = [pack(x), *map(pack, streams), *map(order, constants)]
        taken = iter(map(order, states))
        for compiled, own in zip(plan.directions, params, strict=True):
            self.flat += [next(taken) for _ in compiled.program.states]
            self.flat += own
        sizes = None if self.ragged is None else self.ragged.batch_sizes
        self.geometry = Geometry.of(self.flat[0], rows, sizes)

    def pack(self, value: Tensor) -> Tensor:
        return value if self.ragged is None else self.ragged.pack(value)

    def sort(self, value: Tensor) -> Tensor:
        return value if self.ragged is None else self.ragged.sort(value)

    def unpack(self, value: Tensor) -> Tensor:
        """(N, ·) → (T, B, ·), zero in the padding."""
        if self.ragged is None:
            return value.reshape(self.steps, self.rows, *value.shape[1:])
        return self.ragged.unpack(value)

    def unsort(self, value: Tensor) -> Tensor:
        return value if self.ragged is None else self.ragged.unsort(value)

    def full(self, value: Tensor) -> Tensor:
        """A kept (N, ·) with room for the padding behind it, so that its size does not depend on the lengths."""
        short = self.steps * self.rows - value.shape[0]
        return value if short == 0 else torch.cat([value, value.new_zeros(short, *value.shape[1:])])


def layer(
    x: Tensor,
    streams: Sequence[Tensor],
    constants: Sequence[Tensor],
    states: Sequence[Tensor],
    tensors: Sequence[Tensor],
    lengths: Tensor | None,
    program: str,
) -> list[Tensor]:
    plan = loads(program)
    given = Given(plan, x, streams, constants, states, tensors, lengths)
    kinds = kept_of(plan)
    if given.geometry.count == 0:
        output, finals = again.run(plan, given.geometry, given.flat)
        if given.ragged is not None:
            output = given.unpack(output)
        kept = [x.new_zeros(count_of(x, k.by_step), sum(k.widths)) for k in kinds]
        return [output, *(given.unsort(f).clone() for final in finals for f in final), *kept]
    done = passes.forward(plan, given.geometry, given.flat, bool(kinds))
    kept, rest = [], iter(done.kept)
    for kind in kinds:
        value = kind.joined([next(rest).to(x.dtype) for _ in kind.shapes])
        kept.append(given.full(value) if kind.by_step else value)
    finals = [[given.unsort(f) for f in final] for final in done.finals]
    return _apart([given.unpack(done.output).contiguous(), *(f for final in finals for f in final), *kept], given.flat)


def _apart(values: list[Tensor], inputs: list[Tensor]) -> list[Tensor]:
    """The values, none of which shares its memory with another or with an input."""
    seen = {t.untyped_storage().data_ptr() for t in inputs}
    apart = []
    for value in values:
        if (place := value.untyped_storage().data_ptr()) in seen and value.numel():
            value = value.clone()
            place = value.untyped_storage().data_ptr()
        seen.add(place)
        apart.append(value)
    return apart


def layer_backward(
    grads: Sequence[Tensor | None],
    x: Tensor,
    streams: Sequence[Tensor],
    constants: Sequence[Tensor],
    states: Sequence[Tensor],
    tensors: Sequence[Tensor],
    lengths: Tensor | None,
    kept: Sequence[Tensor],
    wanted: Sequence[bool],
    program: str,
) -> list[Tensor]:
    plan = loads(program)
    given = Given(plan, x, streams, constants, states, tensors, lengths)
    asked = [t for t, flag in zip((x, *streams, *constants, *states, *tensors), wanted, strict=True) if flag]
    if given.geometry.count == 0:
        return _of_nothing(given, grads, states, wanted, asked)
    outside = 1 + len(streams) + len(constants)
    by_state, by_tensor = list(wanted[outside : outside + len(states)]), list(wanted[outside + len(states) :])
    flags = list(wanted[:outside])
    for compiled in plan.directions:
        flags += [by_state.pop(0) for _ in compiled.program.states]
        own = dict(zip(compiled.tensors, [by_tensor.pop(0) for _ in compiled.tensors], strict=True))
        flags += [
            own[passed] if passed is not None else any(own[n] for n in compiled.computed_from[param])
            for param, passed in zip(compiled.params, compiled.passed, strict=True)
        ]
    count = given.geometry.count
    saved: list[Tensor] = []
    for value, kind in zip(kept, kept_of(plan), strict=False):
        saved += kind.apart(value[:count] if kind.by_step else value)
    output = None
    if plan.reads_output:
        output = _rows(given, kept[-1])
    grad = None if grads[0] is None else _rows(given, grads[0])
    finals, place = [], 1
    for compiled in plan.directions:
        own_grads = grads[place : place + len(compiled.program.states)]
        finals.append([None if g is None else given.sort(g).contiguous() for g in own_grads])
        place += len(compiled.program.states)
    found = passes.backward(plan, given.geometry, given.flat, output, saved, grad, finals, flags)
    return _apart(_in_order(given, found, wanted, outside, len(states)), given.flat)


def _rows(given: Given, value: Tensor) -> Tensor:
    """(T, B, ·) as contiguous (N, ·)."""
    return given.geometry.flat(given.pack(value))


def _in_order(
    given: Given, found: list[Tensor | None], wanted: Sequence[bool], outside: int, states: int
) -> list[Tensor]:
    """Gradients of the operator's arguments out of those of what the passes read."""
    plan = given.plan
    grads: list[Tensor | None] = []
    for n in range(outside):
        grad = found[n]
        by_step = n <= len(plan.streams)
        grads.append(
            grad if grad is None or given.ragged is None else (given.unpack if by_step else given.unsort)(grad)
        )
    params: list[Tensor | None] = []
    for compiled, own, (start, middle, end) in zip(plan.directions, given.cells, plan.places, strict=True):
        grads += [None if g is None else given.unsort(g) for g in found[start:middle]]
        flags = wanted[outside + states + len(params) :][: len(own)]
        params += _through_prepare(compiled, own, found[middle:end], flags)
    grads += params
    return [g for g, flag in zip(grads, wanted, strict=True) if flag and g is not None]


def _through_prepare(
    compiled: Any, tensors: list[Tensor], grads: Sequence[Tensor | None], flags: Sequence[bool]
) -> list[Tensor | None]:
    """From the params' gradients to those of the cell's tensors."""
    with recording():
        leaves = [t.detach().requires_grad_(flag) for t, flag in zip(tensors, flags, strict=True)]
        pairs = [
            (p, g) for p, g in zip(compiled.prepare(leaves), grads, strict=True) if g is not None and p.requires_grad
        ]
        asked = [leaf for leaf in leaves if leaf.requires_grad]
        found = iter(
            torch.autograd.grad(
                [p for p, _ in pairs], asked, [g for _, g in pairs], materialize_grads=True, allow_unused=True
            )
            if pairs
            else [torch.zeros_like(leaf) for leaf in asked]
        )
    return [next(found) if flag else None for flag in flags]


def _of_nothing(
    given: Given, grads: Sequence[Tensor | None], states: Sequence[Tensor], wanted: Sequence[bool], asked: list[Tensor]
) -> list[Tensor]:
    """Without a step the final states are the initial ones, and nothing else has a gradient."""
    found = iter(asked)
    first = 1 + len(given.plan.streams) + len(given.plan.constants)
    made = []
    for n, flag in enumerate(wanted):
        if flag:
            like = next(found)
            own = grads[1 + n - first] if first <= n < first + len(states) else None
            made.append(torch.zeros_like(like) if own is None else own.clone())
    return made
