"""One frame at a time: each cell's step as machine code, on weights packed beforehand and memory made once.

A call of a layer packs its weights, since nothing tells it that they are those of the call before. What is here keeps
them packed, and with T = 1 there is nothing to do for all steps at once: the product with x is part of the kernel.
One thread does it all: a second one is waited for, and beside a busy process a frame of 9 µs took 12 ms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from ostinato.cells.cell import Cell, check_step
from ostinato.compiler.cpu.launch import Call
from ostinato.compiler.cpu.machine import Machine
from ostinato.compiler.guard import Guard, tensors_of
from ostinato.compiler.kernel import Kernel
from ostinato.compiler.refusal import Refused, is_exhaustion
from ostinato.compiler.split import PARAMS
from ostinato.engines import known, native, purity
from ostinato.engines.call import LayerCall, States
from ostinato.engines.compiled import Compiled
from ostinato.engines.known import Kind

Join = Callable[[Tensor, Tensor], Tensor]
"""A layer's input and its output → what the stack puts out there."""

Given = Mapping[str, Tensor]
"""The keywords of one step by name, (B, ·) each."""


class Memory:
    """The states of a stack between two frames: on one side what they are, on the other what they will be.

    Attributes:
        sides: twice [layer][state], (B, ·) each.
        now: the side that holds the states.
    """

    __slots__ = ("now", "sides")

    def __init__(self, states: Sequence[States]) -> None:
        with torch.inference_mode(False):
            own = [tuple(s.detach().clone(memory_format=torch.contiguous_format) for s in layer) for layer in states]
            self.sides = (own, [tuple(torch.zeros_like(s) for s in layer) for layer in own])
        self.now = 0

    def states(self) -> list[States]:
        return self.sides[self.now]

    def write(self, states: Sequence[States], row: int | Tensor | None = None) -> None:
        """Take over these states, or one row of them, or the rows that have a flag."""
        for own, new in zip(self.states(), states, strict=True):
            for into, value in zip(own, new, strict=True):
                with torch.no_grad():
                    if isinstance(row, Tensor):
                        into.copy_(torch.where(row.unsqueeze(-1), value, into))
                    else:
                        into.copy_(value) if row is None else into[row].copy_(value[row])


class Code(NamedTuple):
    """A cell's step as machine code. ``holds``: whether another bound cell is the same to it."""

    compiled: Compiled
    machine: Machine
    holds: Callable[[Cell], bool]


class Signature(NamedTuple):
    """What the code of a step depends on besides the cell."""

    dtype: torch.dtype
    given: tuple[Kind, ...]


_codes: WeakKeyDictionary[Cell, dict[Signature, Code | Refused]] = WeakKeyDictionary()


def code_of(template: Cell, cell: Cell, signature: Signature) -> Code:
    """The code of a bound cell's step, tried against the step itself when it is new.

    Args:
        template: the lasting cell behind it.

    Raises:
        Refused: the step has no native form, or its native form failed its trial.
    """
    by_signature = _codes.setdefault(template, {})
    found = by_signature.get(signature)
    if found is None or (isinstance(found, Code) and not found.holds(cell)):
        with known.undisturbed():
            try:
                found = _make(cell, signature)
            except Refused as refused:
                found = refused
        by_signature[signature] = found
    if isinstance(found, Refused):
        raise found.with_traceback(None)
    return found


def _make(cell: Cell, signature: Signature) -> Code:
    guard = Guard.of(cell)
    for name, tensor in tensors_of(cell).items():
        if tensor.is_floating_point() and tensor.dtype != signature.dtype:
            raise Refused(f"self.{name} is {tensor.dtype} and the input {signature.dtype}")
    widths = {name: (width, dtype) for name, width, dtype in signature.given}
    compiled = known.compiled(cell, cell.input_size, widths, {}, False, hoist=PARAMS)
    impure = guard.change(cell)
    if impure is not None:
        raise impure
    try:
        code = Code(compiled, Kernel(compiled.program, signature.dtype).machine(False), guard.holds)
        differs = _differs(code, cell, signature)
    except Exception as error:  # whatever is wrong with a kernel, plain PyTorch can run the step
        if is_exhaustion(error):
            raise
        raise Refused(f"the compiled step failed its trial: {type(error).__name__}: {error}") from None
    if differs:
        raise Refused("the compiled step failed its trial: its result differs from the step's own")
    return code


def _differs(code: Code, cell: Cell, signature: Signature) -> bool:
    """Whether two frames on random numbers are not those of the step itself, but for rounding."""
    rows = 3
    x, states, given = draw(cell, rows, signature)
    ours, plain = Memory([states]), Memory([states])
    frames = (NativeFrame([code], [cell], ours, rows), LoopFrame([cell], plain))
    tolerance = 1e-3 if signature.dtype == torch.float32 else 1e-7
    for _ in range(2):
        outputs = [frame(x, given) for frame in frames]
        made = [(*outputs[:1], *ours.states()[0]), (*outputs[1:], *plain.states()[0])]
        if not all(torch.allclose(a, b, tolerance, tolerance, equal_nan=True) for a, b in zip(*made, strict=True)):
            return True
    return False


def draw(cell: Cell, rows: int, signature: Signature) -> tuple[Tensor, States, dict[str, Tensor]]:
    """Random x, states and keywords for one step of a cell, without touching torch's own generator."""
    generator = torch.Generator().manual_seed(0)
    device = next((t.device for t in tensors_of(cell).values()), torch.device("cpu"))

    def random(width: int, dtype: torch.dtype) -> Tensor:
        if not (dtype.is_floating_point or dtype.is_complex):
            return torch.randint(0, 2, (rows, width), generator=generator, device="cpu").to(device, dtype)
        return torch.randn(rows, width, generator=generator, device="cpu").to(device, dtype)

    states = tuple(random(size, signature.dtype) for size in cell.state_sizes)
    given = {name: random(width, dtype) for name, width, dtype in signature.given}
    return random(cell.input_size, signature.dtype), states, given


def check_purity(cell: Cell, signature: Signature) -> None:
    """What a layer's first call tries of a user's step: CellError if it is not the pure function it must be."""
    x, states, given = draw(cell, 3, signature)
    constants = {name: value for name, value in given.items() if name in cell.streams()}
    purity.check(LayerCall((cell,), (cell.step,), x.unsqueeze(0), (states,), {}, constants))


class NativeFrame:
    """One frame through a stack as a direct call of machine code a layer; all that a call is told is written once.

    Args:
        codes, cells: one a layer; the cells' tensors are copied and packed here.
        memory: the states.
        rows: B.
        joins: for each layer what joins its input to its output, if anything does; none where none does.
    """

    def __init__(
        self,
        codes: Sequence[Code],
        cells: Sequence[Cell],
        memory: Memory,
        rows: int,
        joins: Sequence[Join | None] = (),
    ) -> None:
        self.memory = memory
        self._joins = tuple(joins) if any(joins) else None
        like = memory.sides[0][0][0]
        with torch.inference_mode(False), torch.no_grad():
            between = [like.new_zeros(rows, c.output_size) for c in cells]
            self.output = between[-1]
            sources = [like.new_zeros(rows, cells[0].input_size), *between[:-1]]
            self.layers = [
                _Layer(code, cell, [side[k] for side in memory.sides], x, y)
                for k, (code, cell, x, y) in enumerate(zip(codes, cells, sources, between, strict=True))
            ]
        self._runs = tuple(tuple(layer.runs[side] for layer in self.layers) for side in (0, 1))
        self._ends = tuple((self.layers[0].words[side], self.layers[-1].words[side]) for side in (0, 1))
        self._x, self._y = self.layers[0].index.get("x"), self.layers[-1].index["output"]
        self._sources = sources

    def __call__(self, x: Tensor, given: Given) -> Tensor:
        """x (B, I), contiguous, of the right dtype; its output, (B, ·), in memory of its own."""
        memory = self.memory
        now = memory.now
        first, last = self._ends[now]
        if given:
            held = self._give(given, now)
        output = torch.empty_like(self.output)
        if self._x is not None:
            first[self._x] = x.data_ptr()
        last[self._y] = output.data_ptr()
        if self._joins is None:
            for run in self._runs[now]:
                run()
        else:
            self._run_joined(now, output)
        memory.now = 1 - now
        if given:
            del held
        return output

    def _run_joined(self, now: int, output: Tensor) -> None:
        """Layer by layer, each with its connection; the first has none."""
        assert self._joins is not None
        made = [*self._sources[1:], output]
        with torch.no_grad():
            for run, join, read, own in zip(self._runs[now], self._joins, self._sources, made, strict=True):
                run()
                if join is not None:
                    own.copy_(join(read, own))

    def _give(self, given: Given, now: int) -> list[Tensor]:
        """Tell each layer where its keywords lie; what is returned must live until the frame is done."""
        held = []
        for name, value in given.items():
            value = value.to(self.output.dtype).contiguous()
            held.append(value)
            for layer in self.layers:
                at = layer.index.get(name)
                if at is not None:
                    words = layer.words[now]
                    words[at], words[at + 1] = value.data_ptr(), value.shape[1]
        return held


class _Layer:
    """One layer's code with everything it is told, for both sides of the states."""

    def __init__(self, code: Code, cell: Cell, sides: Sequence[States], x: Tensor, output: Tensor) -> None:
        machine, compiled = code.machine, code.compiled
        self.index = machine.layout.words
        prepared = compiled.prepare(native.tensors_of_cell(cell, compiled))
        # Copies: what is not packed must not follow the layer's weights while what is packed stays.
        own = [p.detach().to(output.dtype, copy=True).contiguous() for p in prepared]
        call = Call(machine, 1, output.shape[0], None, output.shape[0], descending=False)
        call.params(dict(zip(compiled.params, own, strict=True)))
        call.streams({"x": x, "output": output})
        names = compiled.program.states
        call.states(dict(zip(names, sides[0], strict=True)))
        call.prepare(1)
        words = call.words
        assert words is not None
        self._held: tuple[Any, ...] = (call, own, sides)
        self.words = [words, type(words).from_buffer_copy(words)]
        for side, told in enumerate(self.words):
            for n, name in enumerate(names):
                at = self.index.get(f"{name}.initial")
                if at is not None:
                    before, after = sides[side][n].data_ptr(), sides[1 - side][n].data_ptr()
                    told[at], told[at + 1], told[at + 2] = before, after, after
        self.runs = [machine.function.bound(told) for told in self.words]
        self._pack(machine)

    def _pack(self, machine: Machine) -> None:
        """A call of no steps packs the weights and does nothing else."""
        steps, ready = self.index["steps"], self.index["ready"]
        self.words[0][steps] = 0
        machine.function.bound(self.words[0])()
        self.words[0][steps] = 1
        for told in self.words:
            told[ready] = 1


class LoopFrame:
    """One frame through a stack in plain PyTorch, where there is no machine code for it."""

    def __init__(self, cells: Sequence[Cell], memory: Memory, joins: Sequence[Join | None] = ()) -> None:
        self.cells, self.memory = tuple(cells), memory
        self._joins = tuple(joins) or (None,) * len(self.cells)
        self._names = [cell.streams() for cell in cells]
        self._checked = False

    def __call__(self, x: Tensor, given: Given) -> Tensor:
        memory = self.memory
        made = []
        with torch.no_grad():
            layers = zip(self.cells, self._names, memory.states(), self._joins, strict=True)
            for cell, names, states, join in layers:
                own = {name: value for name, value in given.items() if name in names}
                output, new = cell.split(cell.step(x, *states, **own))
                if not self._checked:
                    check_step(cell, x, states, output, new)
                x = output if join is None else join(x, output)
                made.append(new)
            self._checked = True
            for into, new in zip(memory.sides[1 - memory.now], made, strict=True):
                for old, value in zip(into, new, strict=True):
                    old.copy_(value)
            memory.now = 1 - memory.now
            return x.detach().clone()
