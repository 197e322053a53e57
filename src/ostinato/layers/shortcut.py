"""The short way through a layer for a call like the last one: inference on a plain tensor, and nothing has changed.

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
from ostinato.compiler.cpu.standing import Standing
from ostinato.compiler.guard import Guard
from ostinato.compiler.kernel import Kernel
from ostinato.compiler.refusal import Refused
from ostinato.engines import choose, known, native
from ostinato.engines.compiled import Compiled, Plan, plan_of
from ostinato.layers import between

if TYPE_CHECKING:
    from ostinato.layers.recurrent import Recurrent

_ways: WeakKeyDictionary[Recurrent, Way] = WeakKeyDictionary()
_seen: WeakKeyDictionary[Recurrent, torch.Size] = WeakKeyDictionary()

SMALL = 200_000_000
"""Multiply-adds of a call, some milliseconds, beyond which the long way does not show."""


Named = tuple[dict[str, Any], tuple[str, ...], tuple[Any, ...]]


@dataclass(slots=True)
class _Layer:
    """One layer of the stack: its step as it was bound, and its prepared call.

    Attributes:
        attributes: of the template, and how many there are.
        own: what the cell was bound to and may be exchanged for another: a dictionary, names, and what they named.
    """

    cell: Cell
    guard: Guard
    attributes: tuple[dict[str, Any], int]
    own: list[Named]
    tensors: list[Tensor]
    compiled: Compiled | None
    """What makes the loop's params of the tensors; None where they are the tensors themselves."""
    reads: list[int]
    standing: Standing
    width: int
    states: tuple[int, ...]


class Way:
    """What was found when a layer was last called, and what must still hold to go the short way."""

    def __init__(self, layer: Recurrent, input: Tensor, plans: list[Plan], asked: str) -> None:
        self.shape, self.dtype = input.shape, input.dtype
        self.asked = asked
        self.options = _options(layer)
        self.threads = threads.most()
        self.layers = [_prepare(layer, k, plan, self.shape, self.dtype) for k, plan in enumerate(plans)]
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
        ):
            return None
        for one in self.layers:
            attributes, count = one.attributes
            if len(attributes) != count or not all(map(_same, one.own)) or not one.guard.holds(one.cell):
                return None
        if not self.taken.acquire(blocking=False):  # another thread is on it
            return None
        try:
            return self._run(layer, input)
        finally:
            self.taken.release()

    def _run(self, layer: Recurrent, x: Tensor) -> tuple[Tensor, Any]:
        steps, rows, _ = self.shape
        count = len(self.layers)
        finals = [torch.empty(count, rows, width, dtype=self.dtype) for width in self.layers[0].states]
        for k, one in enumerate(self.layers):
            output = torch.empty(steps, rows, one.width, dtype=self.dtype)
            own = finals if count == 1 else [final[k] for final in finals]
            params = one.tensors if one.compiled is None else one.compiled.prepare(one.tensors)
            one.standing.run(x, output, own, [params[n].contiguous() for n in one.reads])
            x = between.join(layer, k, x, output)
        return x, finals[0] if len(finals) == 1 else tuple(finals)


def find(layer: Recurrent) -> Way | None:
    """The way of the last call that had one."""
    return _ways.get(layer)


def remember(layer: Recurrent, input: Any) -> None:
    """After an ordinary call of a shape that was called before: keep what makes the next one short, if it can be."""
    _ways.pop(layer, None)
    if type(input) is not Tensor or input.dim() != 3 or not input.is_contiguous() or not _plain(layer):
        return
    seen, _seen[layer] = _seen.get(layer), input.shape
    if seen != input.shape or 0 in input.shape or layer.choose(input).engine != "native":
        return
    try:
        plans = [_plan(layer, slots[0], input.dtype) for slots in layer._slots]
    except Refused:
        return
    if not all(_fits(plan) for plan in plans):
        return
    kernels = [plan.directions[0].kernel(input.dtype) for plan in plans]
    if not all(isinstance(kernel, Kernel) for kernel in kernels):
        return
    work = sum(k.machine(False).about.work for k in kernels if isinstance(k, Kernel))
    if work * input.shape[0] * input.shape[1] <= SMALL:
        _ways[layer] = Way(layer, input, plans, choose.asked(layer.engine))


def _plan(layer: Recurrent, slot: binding.Slot, dtype: torch.dtype) -> Plan:
    cell = binding.bind(slot, layer)
    compiled = native.ready(slot.template, cell, known.Signature(cell.input_size, dtype, (), (), False))
    return plan_of((compiled,), (), ())


def _plain(layer: Recurrent) -> bool:
    dropping = layer.dropout > 0 and layer.training and layer.num_layers > 1
    dropping |= bool(layer._weight_drops) and layer.training
    unlike = layer.batch_first or layer.bidirectional or layer.training not in layer._pure_in
    unlike |= layer.acting() is not None
    if unlike or dropping or layer.state_shape.per_layer or layer.initial_state != "zeros":
        return False
    return all(_as_it_is(layer, slots[0]) for slots in layer._slots)


def _fits(plan: Plan) -> bool:
    one = plan.directions[0]
    whole = not one.hoist.reads and one.sink is None
    return not plan.streams and not plan.constants and one.plain and whole


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
    return own["training"], own["_additions"], own["dropout"], own["batch_first"], own.get("initial_state")


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


def _prepare(layer: Recurrent, k: int, plan: Plan, shape: torch.Size, dtype: torch.dtype) -> _Layer:
    compiled: Compiled = plan.directions[0]
    kernel = compiled.kernel(dtype)
    assert isinstance(kernel, Kernel)
    slot = layer._slots[k][0]
    cell = binding.bind(slot, layer)
    tensors, attributes = native.tensors_of_cell(cell, compiled), slot.template.__dict__
    machine = kernel.machine(False)
    width = machine.layout.buffers["output"].width
    sizes = dict(zip(compiled.program.states, cell.state_sizes, strict=True))
    standing = Standing(machine, shape[0], shape[1], cell.input_size, sizes, compiled.params)
    return _Layer(
        cell,
        Guard.of(cell),
        (attributes, len(attributes)),
        _own(layer, slot),
        tensors,
        None if compiled.passed == compiled.tensors else compiled,
        standing.params,
        standing,
        width,
        cell.state_sizes,
    )
