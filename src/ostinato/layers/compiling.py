"""A layer's compiled steps: what each place became, what torch's graphs get of it, what is said where there is none."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import torch

from ostinato.cells import binding
from ostinato.compiler.refusal import Refused
from ostinato.engines import choose, kernels, known, native
from ostinato.engines.compiled import Compiled, plan_of
from ostinato.layers import build

if TYPE_CHECKING:
    from ostinato.layers.recurrent import Recurrent

Text = tuple[str, tuple[tuple[str, ...], ...]]
"""A layer's program, and for each direction the paths of the tensors it reads in the cell."""


def choice(layer: Recurrent) -> choose.Choice:
    """Which engine runs an ordinary call now, and why.

    Raises:
        EngineError: the engine asked for by name cannot run the layer.
    """
    weight = layer._raw_weight()
    found = layer.choose(torch.empty(0) if weight is None else weight.detach().flatten()[:0])
    if found.engine != "native":
        return found
    if (waiting := unknown_streams(layer)) is not None:
        return choose.Choice("native", f"if its step can be compiled: the first call tells, with {waiting}")
    refused = next((made for made in layer.compiled() if isinstance(made, Refused)), None)
    if refused is None:
        return found
    if choose.asked(layer.engine) == "native":
        raise choose.impossible("native", str(refused))
    return choose.Choice("loop", str(refused))


def compiled(layer: Recurrent) -> list[Compiled | Refused]:
    """What each place's step was compiled to, or why it was not; the places in the order of the layer's slots."""
    wants_grad = torch.is_grad_enabled() and any(p.requires_grad for p in layer.parameters())
    with torch.no_grad(), torch.random.fork_rng([]):
        return [_compile(layer, slot, wants_grad) for slot in layer.slots]


def unknown_streams(layer: Recurrent) -> str | None:
    """The keywords a call must give whose width no call has shown yet."""
    needed = [name for name, need in layer._streams.items() if need]
    return " and ".join(needed) if needed and layer.last_streams is None else None


def programs(
    layer: Recurrent, wants_grad: bool, streams: tuple[known.Kind, ...], constants: tuple[known.Kind, ...]
) -> tuple[Text, ...] | str:
    """Every layer's program as text, or why there is none."""
    layer.last_streams = (streams, constants)
    with known.undisturbed():
        found = _programs(layer, wants_grad, streams, constants)
    if isinstance(found, str) and layer.engine == "auto" and layer._operator is None:
        say_why(layer, found)
    return found


def say_why(layer: Recurrent, refused: str) -> None:
    """Warn, once a layer, that the loop runs for want of a compiled step."""
    if not layer.said_why:
        layer.said_why = True
        warnings.warn(
            f"{layer.cell_type.__name__} runs step by step in the loop engine, which is slower: {refused}; "
            "engine='loop' says that it is meant, and ostinato.explain(layer) says more",
            stacklevel=build.caller_level(),
        )


def _programs(
    layer: Recurrent, wants_grad: bool, streams: tuple[known.Kind, ...], constants: tuple[known.Kind, ...]
) -> tuple[Text, ...] | str:
    if (why := kernels.why_not()) is not None:
        return why
    texts: list[Text] = []
    for slots, names in zip(layer._slots, layer._streams_of, strict=True):
        directions = []
        for slot in slots:
            made = _compile(layer, slot, wants_grad)
            if isinstance(made, Refused):
                return str(made)
            directions.append(made)
        own = [tuple(kind[0] for kind in part if kind[0] in names) for part in (streams, constants)]
        plan = plan_of(tuple(directions), own[0], own[1])
        texts.append((plan.text, tuple(d.tensors for d in directions)))
    return tuple(texts)


def _compile(layer: Recurrent, slot: binding.Slot, wants_grad: bool) -> Compiled | Refused:
    cell, given = binding.bind(slot, layer), layer.last_streams or ((), ())
    names = cell.streams()
    streams, constants = (tuple(kind for kind in part if kind[0] in names) for part in given)
    weight = layer._raw_weight()
    dtype = torch.get_default_dtype() if weight is None else weight.dtype
    signature = known.Signature(cell.input_size, dtype, streams, constants, wants_grad)
    try:
        return native.ready(slot.template, cell, signature)
    except Refused as refused:
        return refused
