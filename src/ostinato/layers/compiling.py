"""A layer's compiled steps: what each place became, what torch's graphs get of it, what is said where there is none."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import torch

from ostinato.compiler.lines import caller_level
from ostinato.compiler.refusal import Refused
from ostinato.engines import choose, kernels, known, native
from ostinato.engines.compiled import Compiled, plan_of
from ostinato.layers import masks
from ostinato.layers.additions import Acting

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
    like = torch.empty(0) if weight is None else weight.detach().flatten()[:0]
    found = layer.choose(like, layer.acting())
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
    acting = layer.acting()
    with torch.no_grad(), torch.random.fork_rng([]):
        return [made for k in range(layer.num_layers) for made in _compile(layer, k, acting, wants_grad)]


def unknown_streams(layer: Recurrent) -> str | None:
    """The keywords a call must give whose width no call has shown yet."""
    needed = [name for name, need in layer._streams.items() if need]
    return " and ".join(needed) if needed and layer.last_streams is None else None


def programs(
    layer: Recurrent,
    wants_grad: bool,
    acts: tuple[Any, ...],
    streams: tuple[known.Kind, ...],
    constants: tuple[known.Kind, ...],
) -> tuple[Text, ...] | str:
    """Every layer's program as text, or why there is none.

    Args:
        acts: what ``layer.acting`` is asked with, and what else its answer depends on, for dynamo to see.
    """
    layer.last_streams = (streams, constants)
    acting = layer.acting(*acts[:2])
    with known.undisturbed():
        found = _programs(layer, acting, wants_grad)
    if isinstance(found, str) and layer.engine == "auto" and (layer._operator is None or acting is not None):
        say_why(layer, found)
    return found


def say_why(layer: Recurrent, refused: str) -> None:
    """Warn, once a layer, that the loop runs for want of a compiled step."""
    if not layer.said_why:
        layer.said_why = True
        warnings.warn(
            f"{layer.cell_type.__name__} runs step by step in the loop engine, which is slower: {refused}; "
            "engine='loop' says that it is meant, and ostinato.explain(layer) says more",
            stacklevel=caller_level(),
        )


def _programs(layer: Recurrent, acting: Acting | None, wants_grad: bool) -> tuple[Text, ...] | str:
    if (why := kernels.why_not()) is not None:
        return why
    texts: list[Text] = []
    for k in range(layer.num_layers):
        directions = []
        for made in _compile(layer, k, acting, wants_grad):
            if isinstance(made, Refused):
                return str(made)
            directions.append(made)
        own = [tuple(kind[0] for kind in part) for part in _kinds(layer, k, acting)]
        plan = plan_of(tuple(directions), own[0], own[1])
        texts.append((plan.text, tuple(d.tensors for d in directions)))
    return tuple(texts)


def _compile(layer: Recurrent, k: int, acting: Acting | None, wants_grad: bool) -> list[Compiled | Refused]:
    """What the steps of layer k of the stack became, one a direction."""
    streams, constants = _kinds(layer, k, acting)
    dtype, found = _dtype(layer), list[Compiled | Refused]()
    for slot, cell in zip(layer._slots[k], layer.bind(k, acting), strict=True):
        signature = known.Signature(cell.input_size, dtype, streams, constants, wants_grad)
        try:
            found.append(native.ready(slot.template, cell, signature))
        except Refused as refused:
            found.append(refused)
    return found


def _kinds(layer: Recurrent, k: int, acting: Acting | None) -> tuple[tuple[known.Kind, ...], ...]:
    """The streams and the constants of layer k's steps: their own as the last call gave them, and what is added."""
    given, names = layer.last_streams or ((), ()), layer._streams_of[k]
    own = tuple(tuple(kind for kind in part if kind[0] in names) for part in given)
    if acting is None:
        return own
    return tuple(a + b for a, b in zip(own, masks.kinds(layer, k, acting, _dtype(layer)), strict=True))


def _dtype(layer: Recurrent) -> torch.dtype:
    weight = layer._raw_weight()
    return torch.get_default_dtype() if weight is None else weight.dtype
