"""A layer as an operator of torch's: what torch.compile and torch.export see, opaque and with its program in a string.

``ostinato::layer`` runs a layer, and ``ostinato::layer_backward`` gives its gradients. Both are functional. All they
need travels in their arguments, so an exported program runs in any process that has imported ostinato. In eager mode
:mod:`ostinato.engines.function` does the same with less overhead.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ostinato.engines import inside
from ostinato.engines.compiled import loads
from ostinato.engines.kept import count_of, kept_of
from ostinato.errors import EngineError

_library = torch.library.Library("ostinato", "DEF")
_library.define(
    "layer(Tensor x, Tensor[] streams, Tensor[] constants, Tensor[] states, Tensor[] tensors, Tensor? lengths, "
    "str program) -> Tensor[]",
    tags=(torch.Tag.pt2_compliant_tag,),
)
_library.define(
    "layer_backward(Tensor?[] grads, Tensor x, Tensor[] streams, Tensor[] constants, Tensor[] states, "
    "Tensor[] tensors, Tensor? lengths, Tensor[] kept, bool[] wanted, str program) -> Tensor[]",
    tags=(torch.Tag.pt2_compliant_tag,),
)


def run(
    x: Tensor,
    streams: Sequence[Tensor],
    constants: Sequence[Tensor],
    states: Sequence[Tensor],
    tensors: Sequence[Tensor],
    lengths: Tensor | None,
    program: str,
    count: int,
) -> tuple[Tensor, list[Tensor]]:
    """Call the operator.

    Args:
        x: (T, B, I); past ``lengths`` anything.
        streams, constants: (T, B, ·) and (B, ·), in the program's order.
        states: (B, ·), of the first direction, then of the second.
        tensors: the cells' own, as the program's ``prepare`` reads them, of the first direction, then of the second.
        lengths: (B,) int64 between 0 and T; None: all rows are full.
        program: :attr:`Plan.text`.
        count: how many states there are.

    Returns:
        (T, B, D·w), zero past a row's length, and the final states in the order of ``states``.
    """
    made = torch.ops.ostinato.layer(x, list(streams), list(constants), list(states), list(tensors), lengths, program)
    return made[0], made[1 : 1 + count]


def _fake_layer(
    x: Tensor,
    streams: Sequence[Tensor],
    constants: Sequence[Tensor],
    states: Sequence[Tensor],
    tensors: Sequence[Tensor],
    lengths: Tensor | None,
    program: str,
) -> list[Tensor]:
    plan = loads(program)
    width = sum(c.program.output_width for c in plan.directions)
    return [
        x.new_empty(x.shape[0], x.shape[1], width),
        *(s.new_empty(s.shape) for s in states),
        *(x.new_empty(count_of(x, kind.by_step), sum(kind.widths)) for kind in kept_of(plan)),
    ]


def _fake_layer_backward(
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
    given = (x, *streams, *constants, *states, *tensors)
    return [t.new_empty(t.shape) for t, flag in zip(given, wanted, strict=True) if flag]


def _setup(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    x, streams, constants, states, tensors, lengths, program = inputs
    plan = loads(program)
    ctx.program, ctx.lengths_given = program, lengths is not None
    ctx.counts = [len(part) for part in (streams, constants, states, tensors)]
    given = [x, *streams, *constants, *states, *tensors]
    ctx.wanted = [t.requires_grad for t in given]
    kept = list(output[1 + len(states) :])
    if plan.reads_output:
        kept.append(output[0])
    ctx.outputs, ctx.states = len(output), len(states)
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*given, *([lengths] if lengths is not None else []), *kept)


def _backward(ctx: Any, grads: list[Tensor | None]) -> tuple[Any, ...]:
    saved, place = list(ctx.saved_tensors), 1
    parts = []
    for count in ctx.counts:
        parts.append(saved[place : place + count])
        place += count
    lengths = saved[place] if ctx.lengths_given else None
    kept = saved[place + ctx.lengths_given :]
    flowing = grads[: 1 + ctx.states]
    found = iter(torch.ops.ostinato.layer_backward(flowing, saved[0], *parts, lengths, kept, ctx.wanted, ctx.program))
    flat = [next(found) if flag else None for flag in ctx.wanted]
    place, lists = 1, []
    for count in ctx.counts:
        lists.append(flat[place : place + count])
        place += count
    return (flat[0], *lists, None, None)


def _no_second(ctx: Any, grads: list[Tensor | None]) -> tuple[Any, ...]:
    raise EngineError(
        "the operator inside torch.compile and torch.export has no second derivative (double backward); call the layer "
        "outside of them, where a backward with create_graph=True is run step by step"
    )


_library.impl("layer", inside.layer, "CompositeExplicitAutograd")
_library.impl("layer_backward", inside.layer_backward, "CompositeExplicitAutograd")
torch.library.register_fake("ostinato::layer", _fake_layer, lib=_library)
torch.library.register_fake("ostinato::layer_backward", _fake_layer_backward, lib=_library)
torch.library.register_autograd("ostinato::layer", _backward, setup_context=_setup, lib=_library)
torch.library.register_autograd("ostinato::layer_backward", _no_second, setup_context=lambda **_: None, lib=_library)
