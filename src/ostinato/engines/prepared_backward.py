"""The backward of a layer's call that was prepared for one shape: its loop, and the gradients that are made of it."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import torch
from torch import Tensor

from ostinato import memory
from ostinato.compiler.cpu.standing import Standing
from ostinato.compiler.kernel import Kernel, outputs_of
from ostinato.compiler.less_mean import take_mean
from ostinato.engines.compiled import Compiled
from ostinato.engines.function import in_memory
from ostinato.engines.places import Block, Shape, Source, centred_of, params_in, write_params
from ostinato.engines.prepared_weights import KEPT, OUTPUT, Lie, Product, Sum, View, X, are_written, shaped, terms_of


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
        pairs = list(zip(compiled.params, sources, strict=True))
        asked = compiled.asked({n for n, s in pairs if wanted[1 + s.tensor]} | ({"x"} if wanted[0] else set()))
        machine, streams = kernel.gradient_machine(asked)
        outs = outputs_of(machine)
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
        self._centred = len(centred_of(sources))
        self._params = params_in(compiled, sources, index)
        self._reads = [(index[n], view.number, view.column * size) for n, view in read.items() if n in index]
        self._outs = [index[name] for name, _ in outs]
        numbers = {name: number for number, (name, _) in enumerate(outs, len(widths))}
        made = {n: View(numbers[held.buffer], *held[1:]) for n, held in streams.items() if held.buffer in numbers}
        lie = Lie([*widths, *(width for _, width in outs)], shape, kernel.dtype)
        terms = terms_of(compiled, asked, streams, read, made, lie)
        self._wanted = tuple(wanted)
        self._x = made["grad.x"].number if "grad.x" in made else None
        self._shapes = [
            (shape.steps, shape.rows, shape.input) if number == self._x else (shape.steps * shape.rows, width)
            for number, (_, width) in enumerate(outs, KEPT + len(blocks))
        ]
        self._parts: list[list[tuple[Source, list[Product | Sum]]]] = [[] for _ in wanted[1:]]
        for name, source in sorted(pairs, key=lambda pair: pair[1][:2]):
            self._parts[source.tensor].append((source, terms.get(name, [])))
        self._written = [are_written(parts) for parts in self._parts]
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
            output: what the forward put out, if the backward reads it.
            kept: what it kept; first come the given tensors that it took less their mean.
            grad, grad_finals: None where nothing flows.
        """
        if not self._lock.acquire(blocking=False):  # Another thread is on it.
            return self.again().run(x, output, kept, given, grad, grad_finals)
        try:
            params, kept = (*given, *kept[: self._centred]), kept[self._centred :]
            tensors = [x, x if output is None else output, *kept]
            addresses = [t.data_ptr() for t in tensors]
            outs = self._loop(x, addresses, params, grad, grad_finals)
            tensors += outs
            addresses += [out.data_ptr() for out in outs]
            grads: list[Tensor | None] = [None] * len(self._wanted)
            if self._wanted[0]:
                grads[0] = torch.zeros_like(x) if self._x is None else tensors[self._x]
            for n, tensor in enumerate(given):
                if self._wanted[1 + n]:
                    written = self._written[n]
                    grads[1 + n] = self._write(n, tensor, addresses) if written else self._joined(n, tensor, tensors)
            return grads
        finally:
            self._lock.release()

    def _loop(
        self,
        like: Tensor,
        addresses: Sequence[int],
        params: Sequence[Tensor],
        grad: Tensor | None,
        grad_finals: Sequence[Tensor | None],
    ) -> list[Tensor]:
        """Run it; what it puts out of all steps. ``addresses``: of what it reads."""
        standing = self._standing
        words, zeros = standing.words, standing.zeros
        held = write_params(words, self._params, params)
        for at, number, offset in self._reads:
            words[at] = addresses[number] + offset
        if self._grad is not None:
            flowing, stride = (zeros, 0) if grad is None else _rows(grad)
            held.append(flowing)
            words[self._grad], words[self._grad + 1] = flowing.data_ptr(), stride
        for at, final in zip(self._finals, grad_finals, strict=True):
            flowing = zeros if final is None else in_memory(final).contiguous()
            held.append(flowing)
            words[at] = flowing.data_ptr()
        outs = [memory.empty(like, *shape) for shape in self._shapes]
        for at, out in zip(self._outs, outs, strict=True):
            words[at] = out.data_ptr()
        standing.clear_sums()
        standing.go()
        return outs

    def _write(self, number: int, tensor: Tensor, addresses: Sequence[int]) -> Tensor:
        """The gradient of a given tensor all of whose params are one product each, in their places."""
        made = tensor.new_empty(tensor.shape)
        address = made.data_ptr()
        for source, (product,) in self._parts[number]:
            assert isinstance(product, Product)
            product.write(addresses, address + source.offset)
        return take_mean(made) if self._parts[number][0][0].centred else made

    def _joined(self, number: int, tensor: Tensor, tensors: Sequence[Tensor]) -> Tensor:
        """The gradient of a given tensor: of the params that it is, and of those whose rows lie side by side in it."""
        whole, parts = None, []
        for source, terms in self._parts[number]:
            grad = None
            for term in terms:
                made = term.run(tensors, self._standing)
                grad = made if grad is None else grad + made
            if source.centred and grad is not None:
                grad = take_mean(grad)
            if source.rows is not None:
                parts.append(tensor.new_zeros(source.rows, *tensor.shape[1:]) if grad is None else grad)
            elif grad is not None:
                whole = grad if whole is None else whole + grad
        if parts:
            joined = torch.cat(parts)
            whole = joined if whole is None else whole + joined
        return torch.zeros_like(tensor) if whole is None else shaped(whole, tensor.shape)


def _as_read(kept: str) -> tuple[str, ...]:
    """The buffers of the backward that hold what the forward kept under a name."""
    state = kept.removeprefix("traj.")
    return (kept,) if state == kept else (state, f"new.{state}")


def _rows(grad: Tensor) -> tuple[Tensor, int]:
    """A gradient (T, B, w) as rows of contiguous columns, and the distance between them: one row for all may do."""
    grad = in_memory(grad)
    if grad.stride()[:2] == (0, 0):
        return grad[0, 0].contiguous(), 0
    return grad.contiguous(), grad.shape[-1]
