"""What a layer says of itself: who runs it, why, and what it holds."""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import indent
from typing import Any

import torch
from torch.nn.utils import parametrize

from ostinato.engines.compiled import Compiled
from ostinato.errors import InvalidType
from ostinato.inspection.compiled_text import describe
from ostinato.layers.compiling import unknown_streams
from ostinato.layers.recurrent import Recurrent


@dataclass(frozen=True)
class Place:
    """One (layer, direction): its name, its cell, and the shape of each parameter."""

    name: str
    cell: str
    parameters: dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Explanation:
    """What :func:`explain` found; ``str`` of it is the text, a plain line first.

    Attributes:
        engine: who runs a call now.
        why: the reason, in a few words.
        parameters: how many numbers the layer learns.
        places: each (layer, direction) with the shapes of its parameters.
        states: the states and their shapes.
        added: what is added to the cell's step, and when: zoneout, recurrent dropout, clipped gradients.
        compiled: for the native engine with ``detail``: places that share a compiled step, and what it is: the passes
            and their times, the graphs, what is kept for the backward and what a step costs.
    """

    layer: str
    engine: str
    why: str
    parameters: int
    places: tuple[Place, ...]
    states: str
    detail: bool
    compiled: tuple[tuple[str, str], ...] = ()
    added: str = ""

    def __str__(self) -> str:
        line = f"{self.layer} runs in the {self.engine} engine ({self.why}) and has {self.parameters:,} parameters."
        if self.added:
            line += f"\n  added to its step: {self.added}"
        if not self.detail:
            return line
        rows = [
            f"  {p.name:<12}{p.cell:<18}{name:<18}{' × '.join(map(str, shape)):>14}{torch.Size(shape).numel():>12,}"
            for p in self.places
            for name, shape in p.parameters.items()
        ]
        steps = [f"  {places}, compiled:\n" + indent(text, "    ") for places, text in self.compiled]
        return "\n".join([line, f"  states: {self.states}", *rows, *steps])


def explain(layer: Recurrent, *, detail: bool = False, code: bool = False) -> Explanation:
    """Say which engine runs a layer, why, and how many parameters it has.

    Args:
        layer: any recurrent layer of ours.
        detail: also the states, every parameter with its shape and count, and what a compiled step became.
        code: with it the code a compiled step was made of.

    Raises:
        InvalidType: ``layer`` is not a recurrent layer of ours.
        EngineError: the engine asked for by name cannot run the layer.

    Example:
        >>> print(ostinato.explain(ostinato.LSTM(4, 5)))
        LSTM(4, 5) runs in the native engine (the cell's step is compiled; short ...) and has 220 parameters.
        >>> print(ostinato.explain(ostinato.ChoGRU(4, 5, engine="loop"), detail=True))
        ChoGRU(4, 5, engine='loop') runs in the loop engine (asked for) and has 165 parameters.
          states: h, (1, B, 5)
          l0          ChoGRUCell        weight_ih                 15 × 4          60
          l0          ChoGRUCell        weight_hh                 15 × 5          75
          l0          ChoGRUCell        bias_ih                       15          15
          l0          ChoGRUCell        bias_hh                       15          15
    """
    if not isinstance(layer, Recurrent):
        raise InvalidType(f"explain needs a recurrent layer of ours, got {type(layer).__name__}")
    choice = layer.choice()
    places = tuple(
        Place(
            slot.name,
            type(slot.template).__name__,
            {
                own: tuple(value.shape)
                for name, value in layer.named_parameters()
                if (own := _own_name(name, slot.suffix)) is not None
            },
        )
        for slot in layer.slots
    )
    count = sum(p.numel() for p in layer.parameters())
    text = f"{parametrize.type_before_parametrizations(layer).__name__}({layer.extra_repr()})"
    compiled = _compiled(layer, code) if choice.engine == "native" and (detail or code) else ()
    added = str(layer._additions)
    return Explanation(text, choice.engine, choice.why, count, places, _states(layer), detail or code, compiled, added)


def _compiled(layer: Recurrent, code: bool) -> tuple[tuple[str, str], ...]:
    """The compiled steps, each with the places that share it."""
    if unknown_streams(layer) is not None:
        return ()
    shared: dict[int, tuple[Compiled, list[str]]] = {}
    for slot, made in zip(layer.slots, layer.compiled(), strict=True):
        if isinstance(made, Compiled):
            shared.setdefault(id(made), (made, []))[1].append(slot.name)
    dtype = next((p.dtype for p in layer.parameters() if p.is_floating_point()), torch.get_default_dtype())
    return tuple((", ".join(names), describe(made, dtype, code)) for made, names in shared.values())


def _own_name(name: str, suffix: str) -> str | None:
    """The cell's name of one of the layer's parameters: ``ln_l0.weight`` is ``ln.weight`` of ``l0``."""
    head, dot, tail = name.removeprefix("parametrizations.").partition(".")
    return head.removesuffix(suffix) + dot + tail if head.endswith(suffix) else None


def _states(layer: Recurrent) -> str:
    shape: Any = layer.state_shape
    count = shape.layers * shape.directions
    if not shape.per_layer:
        return "; ".join(
            f"{name}, ({count}, B, {size})" for name, size in zip(shape.names, shape.sizes[0], strict=True)
        )
    return "; ".join(
        f"{name}, a tuple of {', '.join(f'({shape.directions}, B, {sizes[n]})' for sizes in shape.sizes)}"
        for n, name in enumerate(shape.names)
    )
