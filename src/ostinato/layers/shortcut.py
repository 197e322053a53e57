"""The short way through a layer for a call like the last one: a plain tensor and no states, and nothing has changed.

An ordinary call looks at everything a caller may have meant: a fifth of a short sequence's time in torch's own layers,
and more here, where steps are guarded. The short way is taken only where all of that was looked at before, and what
is cheap to look at again still holds: shape and dtype, modes, weights, and the guards of every step.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from operator import is_
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.nn.utils import parametrize

from ostinato.cells import binding
from ostinato.cells.cell import Cell
from ostinato.compiler.cpu import threads
from ostinato.compiler.refusal import Refused
from ostinato.engines import choose, known, native, prepared
from ostinato.engines.compiled import Compiled
from ostinato.engines.prepared import Prepared, RunPrepared
from ostinato.layers import between

if TYPE_CHECKING:
    from ostinato.layers.recurrent import Recurrent

_ways: dict[bool, WeakKeyDictionary[Recurrent, Way]] = {False: WeakKeyDictionary(), True: WeakKeyDictionary()}
"""The way of each layer without and with gradients."""

_seen: dict[bool, WeakKeyDictionary[Recurrent, torch.Size]] = {False: WeakKeyDictionary(), True: WeakKeyDictionary()}

SMALL = 20_000_000_000
"""Multiply-adds of a call, some tenths of a second, beyond which the long way does not show."""

KERNELS = ("auto", "native")
"""What a layer may have asked for where a short way could come of it; the others are not looked at any further."""

FEW = 4_000_000
"""Weights of a layer beyond which it does not show either, and what is kept ready would be much memory."""


Named = tuple[dict[str, Any], tuple[str, ...], tuple[Any, ...]]


@dataclass(slots=True)
class _Layer:
    """One layer of the stack: its step as it was bound, and its prepared call.

    Attributes:
        attributes: of the template, and how many there are.
        own: what the cell was bound to and may be exchanged for another: a dictionary, names, and what they named.
    """

    cell: Cell
    holds: known.Holds
    attributes: tuple[dict[str, Any], int]
    own: list[Named]
    tensors: list[Tensor]
    prepared: Prepared


class Way:
    """What was found when a layer was last called, and what must still hold to go the short way."""

    def __init__(self, layer: Recurrent, input: Tensor, programs: list[Compiled], asked: str, learns: bool) -> None:
        self.shape, self.dtype = input.shape, input.dtype
        self.asked, self.learns = asked, learns
        self.options = _options(layer)
        self.threads = threads.most()
        steps, rows, width = input.transpose(0, 1).shape if layer.batch_first else input.shape
        self.layers = []
        for k, compiled in enumerate(programs):
            ready = Prepared(compiled, input.dtype, steps, rows, width, learns)
            self.layers.append(_prepare(layer, k, compiled, ready, input.dtype, learns))
            width = self.layers[k].prepared.shape.output
        self.taken = threading.Lock()

    def run(self, layer: Recurrent, input: Tensor) -> tuple[Tensor, Any] | None:
        """The layer's output and state; None if anything is not as it was."""
        if (
            type(input) is not Tensor
            or input.shape != self.shape
            or input.dtype is not self.dtype
            or not input.is_cpu
            or not input.is_contiguous()
            or input.is_neg()
            or choose.asked(layer.engine) != self.asked
            or _options(layer) != self.options
            or threads.most() != self.threads
            or _watched()
            or (self.learns and hooked())
        ):
            return None
        for one in self.layers:
            attributes, count = one.attributes
            if len(attributes) != count or not all(map(_same, one.own)) or not one.holds(one.cell):
                return None
        if not self.taken.acquire(blocking=False):  # another thread is on it
            return None
        try:
            return self._run(layer, input)
        finally:
            self.taken.release()

    def _run(self, layer: Recurrent, x: Tensor) -> tuple[Tensor, Any]:
        x = x.transpose(0, 1).contiguous() if layer.batch_first else x
        finals = []
        for k, one in enumerate(self.layers):
            given = one.prepared.given(one.tensors)
            if self.learns:
                output, *final = RunPrepared.apply(one.prepared, x, *given)
            else:
                output, final, _ = one.prepared.forward(x, given)
            finals.append(final)
            x = between.join(layer, k, x, output)
        state = finals[0] if len(finals) == 1 else [torch.cat(own) for own in zip(*finals, strict=True)]
        return x.transpose(0, 1) if layer.batch_first else x, state[0] if len(state) == 1 else tuple(state)


def find(layer: Recurrent) -> Way | None:
    """The way of the last call that had one, of those with gradients or of those without."""
    return _ways[torch.is_grad_enabled()].get(layer)


def remember(layer: Recurrent, input: Any) -> None:
    """After an ordinary call of a shape that was called before: keep what makes the next one short, if it can be."""
    asked = choose.asked(layer.engine)
    if asked not in KERNELS:
        return
    grads = torch.is_grad_enabled()
    _ways[grads].pop(layer, None)
    if type(input) is not Tensor or input.dim() != 3 or not input.is_contiguous():
        return
    seen, _seen[grads][layer] = _seen[grads].get(layer), input.shape
    if seen != input.shape or 0 in input.shape or layer.choose(input).engine != "native" or not _plain(layer):
        return
    learns = grads and (input.requires_grad or any(p.requires_grad for p in layer.parameters()))
    if grads and (not learns or hooked()):
        return
    try:
        programs = [_program(layer, slots[0], input.dtype, learns) for slots in layer._slots]
    except Refused:
        return
    if not all(prepared.fits(compiled, input.dtype, learns) for compiled in programs):
        return
    work = [prepared.work_of(compiled, input.dtype, learns) for compiled in programs]
    if sum(work) * input.shape[0] * input.shape[1] <= SMALL and max(work) <= FEW:
        _ways[grads][layer] = Way(layer, input, programs, asked, learns)


def hooked() -> bool:
    """Whether what is saved for a backward goes through hooks: a checkpoint counts that it is the same every time."""
    return torch._C._autograd._top_saved_tensors_default_hooks(True) is not None


def _program(layer: Recurrent, slot: binding.Slot, dtype: torch.dtype, learns: bool) -> Compiled:
    cell = binding.bind(slot, layer)
    return native.ready(slot.template, cell, _signature(cell, dtype, learns), frozenset())


def _signature(cell: Cell, dtype: torch.dtype, learns: bool) -> known.Signature:
    return known.Signature(cell.input_size, dtype, (), (), learns)


def _plain(layer: Recurrent) -> bool:
    dropping = layer.dropout > 0 and layer.training and layer.num_layers > 1
    dropping |= bool(layer._weight_drops) and layer.training
    unlike = layer.bidirectional or (torch.is_grad_enabled() and layer._recompute != "none")
    unlike |= layer.training not in layer._pure_in or layer.acting() is not None
    if unlike or dropping or layer.state_shape.per_layer or layer.initial_state != "zeros":
        return False
    return all(_as_it_is(layer, slots[0]) for slots in layer._slots)


def _as_it_is(layer: Recurrent, slot: binding.Slot) -> bool:
    """Whether a binding reads the layer's own tensors and modules, and computes none of them."""
    if "parametrizations" in slot.modules or any(
        name + slot.suffix not in layer._parameters for name in slot.parameters
    ):
        return False
    inner = (m for name in slot.modules for m in getattr(layer, name + slot.suffix).modules())
    return not any(parametrize.is_parametrized(m) for m in inner)


def _options(layer: Recurrent) -> tuple[Any, ...]:
    """What of a layer may be assigned to after it was made, and changes what a call does."""
    own = layer.__dict__
    options = own["training"], own["_additions"], own["dropout"], own["batch_first"], own["_recompute"]
    return *options, own.get("initial_state")


def _own(layer: Recurrent, slot: binding.Slot) -> list[Named]:
    """What a binding of this slot reads, and what is there now."""
    parts: list[tuple[dict[str, Any], tuple[str, ...], str]] = [
        (slot.template.__dict__, tuple(slot.template.__dict__), ""),
        (layer._parameters, slot.parameters, slot.suffix),
        (layer._buffers, slot.buffers, slot.suffix),
        (layer._modules, slot.modules, slot.suffix),
    ]
    found = []
    for place, names, suffix in parts:
        named = tuple(name + suffix for name in names)
        if named:
            found.append((place, named, tuple(map(place.get, named))))
    return found


def _same(named: Named) -> bool:
    place, names, objects = named
    return all(map(is_, map(place.get, names), objects))


def _watched() -> bool:
    """Whether a transform, a trace, autocast or a mode wants to see what an ordinary call does."""
    return native.why_not_now() is not None or torch._C._len_torch_function_stack() > 0


def _prepare(layer: Recurrent, k: int, compiled: Compiled, ready: Prepared, dtype: torch.dtype, learns: bool) -> _Layer:
    slot = layer._slots[k][0]
    cell = binding.bind(slot, layer)
    tensors, attributes = native.tensors_of_cell(cell, compiled), slot.template.__dict__
    holds = known.holds(slot.template, cell, _signature(cell, dtype, learns))
    return _Layer(cell, holds, (attributes, len(attributes)), _own(layer, slot), tensors, ready)
