"""The backward of a layer's call that was prepared for one shape: its loop, and the gradients that are made of it."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence, Set
from typing import NamedTuple

import torch
from torch import Tensor

from ostinato import memory
from ostinato.compiler.cpu.standing import Standing
from ostinato.compiler.kernel import Kernel
from ostinato.compiler.weights import over_parts
from ostinato.engines.compiled import Compiled
from ostinato.engines.places import Block, Shape, Source, write_params

X, OUTPUT, KEPT = range(3)
"""The numbers of the tensors that are read: x, the output, then what the forward kept, then what the loop put out."""


class View(NamedTuple):
    """Columns of one of those tensors; all of them if ``width`` is None."""

    number: int
    column: int = 0
    width: int | None = None

    def of(self, tensors: Sequence[Tensor]) -> Tensor:
        value = tensors[self.number]
        if self.width is None or self.width == value.shape[1]:
            return value
        return value.narrow(1, self.column, self.width)


class Product(NamedTuple):
    """The gradient of a weight: the sum over rows of ``grad`` ⊗ the value ``before`` rows above. The first step's state
    is zero, and adds nothing."""

    grad: View
    value: View
    before: int
    shape: tuple[int, ...]

    def run(self, tensors: Sequence[Tensor], standing: Standing) -> Tensor:
        grad, value = self.grad.of(tensors), self.value.of(tensors)
        if self.before:
            grad, value = grad[self.before :], value[: -self.before]
        return over_parts([(grad, value)], self.shape)


class Sum(NamedTuple):
    """The gradient of what is broadcast to the rows: the loop has added it up."""

    name: str
    shape: tuple[int, ...]

    def run(self, tensors: Sequence[Tensor], standing: Standing) -> Tensor:
        return standing.summed(self.name).view(self.shape)


Terms = dict[str, list[Product | Sum]]
"""Of each param, what its gradient is the sum of."""


class Backward:
    """The backward of one layer on one shape, for one set of what needs a gradient.

    Args:
        blocks: what the forward keeps.
        sources: of each param, what it is made of.
        wanted: whether x, and whether each given tensor needs a gradient.
    """

    def __init__(
        self,
        compiled: Compiled,
        kernel: Kernel,
        shape: Shape,
        blocks: Sequence[Block],
        sources: Sequence[Source],
        wanted: Sequence[bool],
    ) -> None:
        self.again = lambda: Backward(compiled, kernel, shape, blocks, sources, wanted)
        self._total = shape.steps * shape.rows
        pairs = list(zip(compiled.params, sources, strict=True))
        asked = compiled.asked({n for n, s in pairs if wanted[1 + s.tensor]} | ({"x"} if wanted[0] else set()))
        machine, streams = kernel.gradient_machine(asked)
        outs = [(name, b.width) for name, b in machine.layout.buffers.items() if name.startswith("out.")]
        read, widths = {"x": View(X)}, [shape.input, shape.output, *(block.width for block in blocks)]
        for state, at in compiled.outputs_are.items():
            read |= {state: View(OUTPUT, *at), f"new.{state}": View(OUTPUT, *at)}
        for number, block in enumerate(blocks, KEPT):
            read |= {other: View(number, *at) for name, *at in block.parts for other in _as_read(name)}
        strides = {name: widths[view.number] for name, view in read.items()} | dict(outs)
        self._standing = standing = Standing(machine, shape.steps, shape.rows, strides, descending=True)
        index, size = standing.index, kernel.dtype.itemsize
        self._grad = index.get("grad.output")
        self._finals = [index[f"grad.{state}.initial"] for state in compiled.program.states]
        self._params = [(index[n], s.tensor, s.offset) for n, s in pairs if n in index]
        self._reads = [(index[n], view.number, view.column * size) for n, view in read.items() if n in index]
        self._outs = [(index[name], width) for name, width in outs]
        numbers = {name: number for number, (name, _) in enumerate(outs, len(widths))}
        made = {name: View(numbers[held]) for name, held in streams.items() if held in numbers}
        terms = _terms(compiled, shape.rows, asked, streams, read, made)
        self._wanted = tuple(wanted)
        self._x = made["grad.x"].number if "grad.x" in made else None
        parts = sorted(((s.tensor, s.start, s.rows, terms.get(n, [])) for n, s in pairs), key=lambda part: part[:2])
        self._parts = [[part[2:] for part in parts if part[0] == number] for number in range(len(wanted) - 1)]
        self._lock = threading.Lock()

    def run(
        self,
        x: Tensor,
        output: Tensor | None,
        kept: Sequence[Tensor],
        given: Sequence[Tensor],
        grad: Tensor | None,
        grad_finals: Sequence[Tensor | None],
    ) -> list[Tensor | None]:
        """The gradients of x and of each given tensor, None where not wanted.

        Args:
            x: (T, B, I), contiguous.
            output: what the forward put out, if the backward reads it; ``kept``: what it kept.
            grad, grad_finals: None where nothing flows.
        """
        if not self._lock.acquire(blocking=False):  # Another thread is on it.
            return self.again().run(x, output, kept, given, grad, grad_finals)
        try:
            tensors = [x.view(self._total, -1), x if output is None else output.view(self._total, -1), *kept]
            tensors += self._loop(tensors, given, grad, grad_finals)
            grads: list[Tensor | None] = [None] * len(self._wanted)
            if self._wanted[0]:
                grads[0] = torch.zeros_like(x) if self._x is None else tensors[self._x].view(x.shape)
            for n, tensor in enumerate(given):
                if self._wanted[1 + n]:
                    grads[1 + n] = self._joined(n, tensor, tensors)
            return grads
        finally:
            self._lock.release()

    def _loop(
        self,
        tensors: Sequence[Tensor],
        given: Sequence[Tensor],
        grad: Tensor | None,
        grad_finals: Sequence[Tensor | None],
    ) -> list[Tensor]:
        """Run it; what it puts out of all steps."""
        standing = self._standing
        words, zeros = standing.words, standing.zeros
        held = write_params(words, self._params, given)
        addresses = [tensor.data_ptr() for tensor in tensors]
        for at, number, offset in self._reads:
            words[at] = addresses[number] + offset
        if self._grad is not None:
            flowing, stride = (zeros, 0) if grad is None else _rows(grad)
            held.append(flowing)
            words[self._grad], words[self._grad + 1] = flowing.data_ptr(), stride
        for at, final in zip(self._finals, grad_finals, strict=True):
            flowing = zeros if final is None else final.resolve_neg().contiguous()
            held.append(flowing)
            words[at] = flowing.data_ptr()
        outs = [memory.empty(tensors[0], self._total, width) for _, width in self._outs]
        for (at, _), out in zip(self._outs, outs, strict=True):
            words[at] = out.data_ptr()
        standing.clear_sums()
        standing.go()
        return outs

    def _joined(self, number: int, tensor: Tensor, tensors: Sequence[Tensor]) -> Tensor:
        """The gradient of a given tensor: of the params that it is, and of those whose rows lie side by side in it."""
        whole, parts = None, []
        for rows, terms in self._parts[number]:
            grad = None
            for term in terms:
                made = term.run(tensors, self._standing)
                grad = made if grad is None else grad + made
            if rows is not None:
                parts.append(tensor.new_zeros(rows, *tensor.shape[1:]) if grad is None else grad)
            elif grad is not None:
                whole = grad if whole is None else whole + grad
        if parts:
            joined = torch.cat(parts)
            whole = joined if whole is None else whole + joined
        return torch.zeros_like(tensor) if whole is None else whole.view(tensor.shape)


def _terms(
    compiled: Compiled,
    rows: int,
    asked: Set[str],
    streams: Mapping[str, str],
    read: Mapping[str, View],
    made: Mapping[str, View],
) -> Terms:
    """What the gradients of the params are made of.

    Args:
        streams: of each output of the backward graph, the buffer that holds it.
        read, made: where the loop's buffers lie, and the outputs of the backward graph.
    """
    program = compiled.program
    backward, shapes = program.backward, {n: node.shape for n, node in program.prepare.outputs.items()}
    assert backward is not None
    found: Terms = {}
    for total in backward.sums:
        if total.param in asked:
            found.setdefault(total.param, []).append(Sum(streams[f"sum.{total.grad}"], shapes[total.param]))
    for weight in backward.weights:
        if weight.param not in asked:
            continue
        before = rows if weight.where == "state" else 0
        value = (made if weight.where == "backward" else read)[weight.value]
        product = Product(made[weight.grad], value, before, shapes[weight.param])
        found.setdefault(weight.param, []).append(product)
    return found


def _as_read(kept: str) -> tuple[str, ...]:
    """The buffers of the backward that hold what the forward kept under a name."""
    state = kept.removeprefix("traj.")
    return (kept,) if state == kept else (state, f"new.{state}")


def _rows(grad: Tensor) -> tuple[Tensor, int]:
    """A gradient (T, B, w) as rows of contiguous columns, and the distance between them: one row for all may do."""
    if grad.is_neg():
        grad = grad.resolve_neg()
    if grad.stride()[:2] == (0, 0):
        return grad[0, 0].contiguous(), 0
    return grad.contiguous(), grad.shape[-1]
