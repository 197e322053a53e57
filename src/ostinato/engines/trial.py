"""The first use of a compiled step: it is run against the loop on small random copies before it is believed."""

from __future__ import annotations

from collections.abc import Sequence

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

RAGGED = (2, 1, 1)
"""Rows at each step: lengths are on trial too. One row more has no step at all."""

SMALL = 1e-2
"""A tensor of numbers smaller than this part of the largest in play is as exact as if it were as large."""


def fault(compiled: Compiled, cell: Cell, signature: Signature, learning: frozenset[str]) -> str | None:
    """What a compiled step does differently from the step itself, both ways, on ragged rows; None: nothing.

    Args:
        learning: which of x, the streams and the constants are to have gradients, besides states and parameters.
    """
    with torch.inference_mode(False), torch.set_grad_enabled(signature.wants_grad):
        return _compare(compiled, with_numbers(cell), signature, learning)


def _compare(compiled: Compiled, cell: Cell, signature: Signature, learning: frozenset[str]) -> str | None:
    draw = torch.Generator().manual_seed(0)

    def random(kind: Kind, *lead: int) -> Tensor:
        name, width, dtype = kind
        if not dtype.is_floating_point:
            return torch.randint(0, 2, (*lead, width), generator=draw).to(dtype)
        return torch.randn(*lead, width, generator=draw, dtype=dtype).requires_grad_(name in learning)

    def state(width: int) -> Tensor:
        return random(("", width, signature.dtype), rows).requires_grad_(signature.wants_grad)

    sizes, rows, count = torch.tensor(RAGGED), RAGGED[0] + 1, sum(RAGGED)
    x = random(("x", signature.input_size, signature.dtype), count)
    streams = {kind[0]: random(kind, count) for kind in signature.streams}
    constants = {kind[0]: random(kind, rows) for kind in signature.constants}
    states = [tuple(map(state, cell.state_sizes)) for _ in range(2)]
    call = LayerCall((cell, cell), (cell.step, cell.step), x, tuple(states), streams, constants, sizes)
    plan = plan_of((compiled, compiled), tuple(streams), tuple(constants))
    named = tensors_of(cell)
    own = [named[name] for name in compiled.tensors]
    params = compiled.prepare(own)
    geometry = Geometry.of(x, rows, sizes)
    given = [x, *streams.values(), *constants.values(), *states[0], *params, *states[1], *params]
    expected_output, expected_finals = loop.run(call)
    expected = [expected_output, *(s for final in expected_finals for s in final)]
    if not signature.wants_grad:
        done = passes.forward(plan, geometry, given, False)
        got = [shaped(done.output, x), *(s for final in done.finals for s in final)]
        return None if _close(got, expected) else "its result differs"
    got = list(RunLayer.apply(plan, geometry, *given))
    if not _close(got, expected):
        return "its result differs"
    inputs = (x, *streams.values(), *constants.values(), *states[0], *states[1], *own)
    wanted = [t for t in inputs if t.requires_grad]
    weights = [torch.randn(e.shape, generator=draw, dtype=e.dtype) for e in expected]
    ours, theirs = (_gradients(values, weights, wanted) for values in (got, expected))
    return None if _close(ours, theirs) else "its gradient differs: something in the step has a derivative of its own"


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


def _close(got: Sequence[Tensor], expected: Sequence[Tensor]) -> bool:
    """Equal but for rounding, which grows with the largest number in play: what is nothing but the difference of large
    numbers, as the gradient through a norm of a single element, may be nothing but rounding."""
    scales = [_scale(value) for value in expected]
    for one, two, scale in zip(got, expected, scales, strict=True):
        if one.shape != two.shape:
            return False
        one, two = one.detach(), two.detach()
        relative = 1e-3 if two.dtype == torch.float32 else 1e-7
        absolute = relative * max(scale, min(max(scales) * SMALL, 1.0), 1e-6)
        near = bool(((one - two).abs() <= absolute).all())
        if not near and not torch.allclose(one, two, rtol=relative, atol=absolute, equal_nan=True):
            return False
    return True


def _scale(value: Tensor) -> float:
    return float(value.detach().nan_to_num(0.0, 0.0, 0.0).abs().amax()) if value.numel() else 0.0
