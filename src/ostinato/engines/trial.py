"""The first use of a compiled step: it is run against the loop on small random copies before it is believed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ostinato.cells.cell import Cell
from ostinato.compiler.guard import tensors_of
from ostinato.compiler.seed import seed
from ostinato.engines import loop, passes
from ostinato.engines.call import LayerCall
from ostinato.engines.compiled import Compiled, plan_of
from ostinato.engines.function import RunLayer, shaped
from ostinato.engines.geometry import Geometry
from ostinato.engines.known import Kind, Signature
from ostinato.engines.stand_ins import with_numbers

RAGGED, ROWS = (2, 1, 1), 3
"""Rows at each step: lengths are on trial too. One row more has no step at all."""

SMALL = 1e-2
"""A tensor of numbers smaller than this part of the largest in play is as exact as if it were as large."""

MOVED = 16
"""A kernel may move a result by so many times what the last bits of the inputs do: through saturated gates and large
weights rounding grows, and the loop's as much as the kernel's."""


def fault(compiled: Compiled, cell: Cell, signature: Signature, learning: frozenset[str]) -> str | None:
    """What a compiled step does differently from the step itself, both ways, on ragged rows; None: nothing.

    Args:
        learning: which of x, the streams and the constants are to have gradients, besides states and parameters.
    """
    with torch.inference_mode(False), torch.set_grad_enabled(signature.wants_grad):
        cell, draw = with_numbers(cell), torch.Generator().manual_seed(0)
        return _compare(compiled, cell, _Case.drawn(cell, signature, learning, draw), draw)


@dataclass(frozen=True)
class _Case:
    """What both are run on: packed x and streams, constants, and the states of either direction."""

    x: Tensor
    streams: dict[str, Tensor]
    constants: dict[str, Tensor]
    states: tuple[tuple[Tensor, ...], ...]

    @classmethod
    def drawn(cls, cell: Cell, signature: Signature, learning: frozenset[str], draw: torch.Generator) -> _Case:
        def random(kind: Kind, *lead: int) -> Tensor:
            name, width, dtype = kind
            if not dtype.is_floating_point:
                return torch.randint(0, 2, (*lead, width), generator=draw).to(dtype)
            return torch.randn(*lead, width, generator=draw, dtype=dtype).requires_grad_(name in learning)

        def state(width: int) -> Tensor:
            return random(("", width, signature.dtype), ROWS).requires_grad_(signature.wants_grad)

        x = random(("x", signature.input_size, signature.dtype), sum(RAGGED))
        streams = {kind[0]: random(kind, sum(RAGGED)) for kind in signature.streams}
        constants = {kind[0]: random(kind, ROWS) for kind in signature.constants}
        return cls(x, streams, constants, tuple(tuple(map(state, cell.state_sizes)) for _ in range(2)))

    def nudged(self, draw: torch.Generator) -> _Case:
        """The same but for the last bits of its numbers."""

        def near(value: Tensor) -> Tensor:
            if not value.is_floating_point():
                return value
            by = torch.randn(value.shape, generator=draw, dtype=value.dtype) * torch.finfo(value.dtype).eps
            return (value.detach() * (1 + by)).requires_grad_(value.requires_grad)

        streams, constants = ({n: near(v) for n, v in part.items()} for part in (self.streams, self.constants))
        return _Case(near(self.x), streams, constants, tuple(tuple(map(near, own)) for own in self.states))

    def by_loop(self, cell: Cell) -> list[Tensor]:
        """The output and both directions' final states, from the loop."""
        given = (self.x, self.states, self.streams, self.constants, torch.tensor(RAGGED))
        output, finals = loop.run(LayerCall((cell, cell), (cell.step, cell.step), *given))
        return [output, *(s for final in finals for s in final)]

    def leaves(self, own: Sequence[Tensor]) -> list[Tensor]:
        """What has a gradient, of it and of the cell's own tensors."""
        outer = (self.x, *self.streams.values(), *self.constants.values())
        return [t for t in (*outer, *self.states[0], *self.states[1], *own) if t.requires_grad]


def _compare(compiled: Compiled, cell: Cell, case: _Case, draw: torch.Generator) -> str | None:
    plan = plan_of((compiled, compiled), tuple(case.streams), tuple(case.constants))
    named = tensors_of(cell)
    own = [named[name] for name in compiled.tensors]
    params = compiled.prepare(own)
    geometry = Geometry.of(case.x, ROWS, torch.tensor(RAGGED))
    outer = (case.x, *case.streams.values(), *case.constants.values())
    given = [*outer, *case.states[0], *params, *case.states[1], *params]
    expected = case.by_loop(cell)
    if torch.is_grad_enabled():
        got = list(RunLayer.apply(plan, geometry, *given))
    else:
        done = passes.forward(plan, geometry, given, False)
        got = [shaped(done.output, case.x), *(s for final in done.finals for s in final)]
    if not _close(got, expected) and not _close(got, expected, case.nudged(draw).by_loop(cell)):
        return "its result differs"
    if not torch.is_grad_enabled():
        return None
    weights = [torch.randn(e.shape, generator=draw, dtype=e.dtype) for e in expected]
    ours, theirs = (_gradients(values, weights, case.leaves(own)) for values in (got, expected))
    if _close(ours, theirs):
        return None
    near = case.nudged(draw)
    if _close(ours, theirs, _gradients(near.by_loop(cell), weights, near.leaves(own))):
        return None
    return "its gradient differs: something in the step has a derivative of its own"


def _gradients(values: Sequence[Tensor], weights: Sequence[Tensor], wanted: Sequence[Tensor]) -> list[Tensor]:
    pairs = [(v, w) for v, w in zip(values, weights, strict=True) if v.requires_grad]
    if not pairs or not wanted:
        return [torch.zeros_like(w) for w in wanted]
    return list(
        torch.autograd.grad(
            seed([v for v, _ in pairs], [w for _, w in pairs]),
            wanted,
            retain_graph=True,
            allow_unused=True,
            materialize_grads=True,
        )
    )


def _close(got: Sequence[Tensor], expected: Sequence[Tensor], moved: Sequence[Tensor] | None = None) -> bool:
    """Equal but for rounding, which grows with the largest number in play: what is nothing but the difference of large
    numbers, as the gradient through a norm of a single element, may be nothing but rounding.

    Args:
        moved: what the same inputs but for their last bits give.
    """
    scales = [_scale(value) for value in expected]
    slack = (
        [0.0] * len(scales) if moved is None else [MOVED * _scale(m - e) for m, e in zip(moved, expected, strict=True)]
    )
    for one, two, scale, more in zip(got, expected, scales, slack, strict=True):
        if one.shape != two.shape:
            return False
        one, two = one.detach(), two.detach()
        relative = 1e-3 if two.dtype == torch.float32 else 1e-7
        absolute = relative * max(scale, min(max(scales) * SMALL, 1.0), 1e-6) + more
        near = bool(((one - two).abs() <= absolute).all())
        if not near and not torch.allclose(one, two, rtol=relative, atol=absolute, equal_nan=True):
            return False
    return True


def _scale(value: Tensor) -> float:
    return float(value.detach().nan_to_num(0.0, 0.0, 0.0).abs().amax()) if value.numel() else 0.0
