"""The short way through a layer for a call like the last one: inference on a plain tensor, and nothing has changed.

An ordinary call looks at everything a caller may have meant: a fifth of a short sequence's time in torch's own layers,
and more here, where steps are guarded. The short way is taken only where all of that was looked at before, and what
is cheap to look at again still holds: shape and dtype, modes, weights, and the guards of every step.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from ostinato.cells import binding
from ostinato.cells.cell import Cell
from ostinato.compiler.cpu import threads
from ostinato.compiler.cpu.standing import Standing
from ostinato.compiler.guard import Guard
from ostinato.compiler.kernel import Kernel
from ostinato.compiler.refusal import Refused
from ostinato.engines import choose, known, native
from ostinato.engines.compiled import Compiled, Plan, plan_of

if TYPE_CHECKING:
    from ostinato.layers.recurrent import Recurrent

_ways: WeakKeyDictionary[Recurrent, Way] = WeakKeyDictionary()
_seen: WeakKeyDictionary[Recurrent, torch.Size] = WeakKeyDictionary()

SMALL = 4_000_000
"""Multiply-adds of a call beyond which the long way does not show."""


@dataclass(slots=True)
class _Layer:
    """One layer of the stack: its step as it was bound, and its prepared call."""

    cell: Cell
    template: Cell
    attributes: list[Any]
    guard: Guard
    names: tuple[str, ...]
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
        self.asked, self.training = asked, layer.training
        self.threads = threads.most()
        self.layers = [_prepare(layer, k, plan, self.shape) for k, plan in enumerate(plans)]
        self.taken = threading.Lock()

    def run(self, layer: Recurrent, input: Tensor) -> tuple[Tensor, Any] | None:
        """The layer's output and state; None if anything is not as it was."""
        if (
            type(input) is not Tensor
            or input.shape != self.shape
            or input.dtype is not self.dtype
            or not input.is_cpu
            or not input.is_contiguous()
            or choose.asked(layer.engine) != self.asked
            or layer.training is not self.training
            or threads.most() != self.threads
            or _watched()
        ):
            return None
        own = layer._parameters
        for one in self.layers:
            cell = one.cell
            for name, tensor in zip(one.names, one.tensors, strict=True):
                if own.get(name) is not tensor:
                    return None
            if list(one.template.__dict__.values()) != one.attributes or not one.guard.holds(cell):
                return None
        if not self.taken.acquire(blocking=False):  # another thread is on it
            return None
        try:
            return self._run(input)
        finally:
            self.taken.release()

    def _run(self, x: Tensor) -> tuple[Tensor, Any]:
        steps, rows, _ = self.shape
        count = len(self.layers)
        finals = [torch.empty(count, rows, width, dtype=self.dtype) for width in self.layers[0].states]
        for k, one in enumerate(self.layers):
            output = torch.empty(steps, rows, one.width, dtype=self.dtype)
            own = finals if count == 1 else [final[k] for final in finals]
            params = one.tensors if one.compiled is None else one.compiled.prepare(one.tensors)
            one.standing.run(x, output, own, [params[n].contiguous() for n in one.reads])
            x = output
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
    unlike = layer.batch_first or layer.bidirectional or layer.training not in layer._pure_in
    return not (unlike or dropping or layer.state_shape.per_layer or layer.initial_state != "zeros")


def _fits(plan: Plan) -> bool:
    one = plan.directions[0]
    return not plan.streams and not plan.constants and one.plain and not one.hoist.reads


def _watched() -> bool:
    """Whether a transform, a trace, autocast or a mode wants to see what an ordinary call does."""
    return native.why_not_now() is not None or torch._C._len_torch_function_stack() > 0


def _prepare(layer: Recurrent, k: int, plan: Plan, shape: torch.Size) -> _Layer:
    compiled: Compiled = plan.directions[0]
    kernel = compiled.kernel(next(layer.parameters()).dtype)
    assert isinstance(kernel, Kernel)
    slot = layer._slots[k][0]
    cell = binding.bind(slot, layer)
    names = tuple(name + slot.suffix for name in compiled.tensors)
    tensors: list[Tensor] = [layer._parameters[name] for name in names]  # type: ignore[misc]
    machine = kernel.machine(False)
    width = machine.layout.buffers["output"].width
    sizes = dict(zip(compiled.program.states, cell.state_sizes, strict=True))
    standing = Standing(machine, shape[0], shape[1], cell.input_size, sizes, compiled.params)
    return _Layer(
        cell,
        slot.template,
        list(slot.template.__dict__.values()),
        Guard.of(cell),
        names,
        tensors,
        None if compiled.passed == compiled.tensors else compiled,
        standing.params,
        standing,
        width,
        cell.state_sizes,
    )
