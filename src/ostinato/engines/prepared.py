"""A layer's calls prepared once for one shape: forward and backward, with everything looked up that can be beforehand.

What a layer may be asked for in general is not here: one direction over full sequences from zero states, without
streams, with nothing computed before or after the loop but, where no backward follows, products of x. Of a short
sequence's training that is worth half of the time; of a long loop's inference a few percent, since what Python reads
for each call the loop has driven out of the caches.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ostinato import memory
from ostinato.compiler.cpu import threads
from ostinato.compiler.cpu.seal import Seal
from ostinato.compiler.cpu.standing import Standing
from ostinato.compiler.kernel import Kernel
from ostinato.compiler.less_mean import without_mean
from ostinato.engines import again
from ostinato.engines.compiled import Compiled, plan_of
from ostinato.engines.function import must_be_seen, one_precision
from ostinato.engines.geometry import Geometry
from ostinato.engines.places import Shape, blocks_of, centred_of, numbers_of, params_in, sources_of, write_params
from ostinato.engines.prepared_backward import Backward
from ostinato.engines.twice import apart

SEALED = 2**20
"""Bytes of weights from which to find out whether they have changed is quicker than to put them in order again."""


def fits(compiled: Compiled, dtype: torch.dtype, save: bool) -> bool:
    """Whether a program can be prepared: one whose tensors are the cell's own, for who calls it watches those."""
    hoist = compiled.hoist
    given = {"x", *(product.name for product in hoist.products)}
    simple = not hoist.reads if save else all(product.value == "x" for product in hoist.products)
    whole = simple and hoist.steps is None and compiled.sink is None and given.issuperset(compiled.streams)
    return whole and compiled.plain and not compiled.constants and isinstance(compiled.kernel(dtype), Kernel)


def work_of(compiled: Compiled, dtype: torch.dtype, save: bool) -> int:
    """Multiply-adds of a row and step in the forward loop of a program that :func:`fits`."""
    kernel = compiled.kernel(dtype)
    assert isinstance(kernel, Kernel)
    return kernel.machine(save).about.work


class Prepared:
    """One layer on one shape. Its forward is not for two threads at once: who runs it sees to that.

    Args:
        compiled: a program that :func:`fits`.
        steps, rows, width: T, B and I.
        save: keep what the backward reads.
    """

    def __init__(self, compiled: Compiled, dtype: torch.dtype, steps: int, rows: int, width: int, save: bool) -> None:
        kernel = compiled.kernel(dtype)
        assert isinstance(kernel, Kernel)
        machine, size = kernel.machine(save), dtype.itemsize
        buffers = machine.layout.buffers
        self.compiled, self._kernel = compiled, kernel
        self.shape = Shape(steps, rows, width, buffers["output"].width)
        self._sources = sources_of(compiled, size)
        self._blocks = blocks_of(compiled, {n: b.width for n, b in buffers.items()}) if save else ()
        products = compiled.hoist.products
        strides = {"x": width, "output": self.shape.output}
        strides |= {product.name: buffers[product.name].width for product in products}
        strides |= {name: block.width for block in self._blocks for name, _, _ in block.parts}
        self._standing = standing = Standing(machine, steps, rows, strides)
        index = standing.index
        self._x, self._output, self._ready = index.get("x"), index["output"], index["ready"]
        self._finals = [(standing.final(s), buffers[s].width) for s in compiled.program.states]
        self._kept = [(b.width, [(index[name], at * size) for name, at, _ in b.parts]) for b in self._blocks]
        self._centred = centred_of(self._sources)
        self._params = params_in(compiled, self._sources, index)
        # Where a backward follows, weights change at every step.
        self._is_sealed = not save and (machine.about.packed >= SEALED or bool(self._centred))
        self._seal: Seal | None = None
        self._settled, self._last_centred = False, list[Tensor]()
        self._products = [(index[product.name], product) for product in products]
        names = {name for product in products for name in (product.weight, *product.biases)}
        found = zip(compiled.params, self._sources, numbers_of(compiled, self._sources), strict=True)
        self._multiplied = [(name, source, number) for name, source, number in found if name in names]
        self.reads_output = plan_of((compiled,), (), ()).reads_output
        self._backwards: dict[tuple[Any, ...], Backward] = {}

    def given(self, tensors: Sequence[Tensor]) -> Sequence[Tensor]:
        """Of the cell's tensors what a call takes: themselves, or what the program computes of them."""
        return tensors if self.compiled.computed is None else self.compiled.prepare(tensors)

    def forward(self, x: Tensor, given: Sequence[Tensor]) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """The output (T, B, H_out), the final states (1, B, ·), and what is kept. ``x``: (T, B, I), contiguous."""
        (steps, rows, _, width), words = self.shape, self._standing.words
        same = self._is_sealed and self._holds(given)
        centred = self._last_centred if same else [without_mean(given[n]) for n in self._centred]
        output = memory.empty(x, steps, rows, width)
        finals = [x.new_empty(1, rows, width) for _, width in self._finals]
        kept = [memory.empty(x, steps * rows, width) for width, _ in self._kept]
        if self._x is not None:
            words[self._x] = x.data_ptr()
        words[self._output] = output.data_ptr()
        for (at, _), final in zip(self._finals, finals, strict=True):
            words[at] = final.data_ptr()
        for block, (_, places) in zip(kept, self._kept, strict=True):
            address = block.data_ptr()
            for at, offset in places:
                words[at] = address + offset
        tensors = (*given, *centred)
        held = self._multiply(x, tensors) if self._products else []
        held += write_params(words, self._params, tensors)
        if self._is_sealed:
            words[self._ready] = int(same)
            self._standing.go()
            self._settled, self._last_centred = True, centred
        else:
            self._standing.go()
        del held
        return output, finals, [*centred, *kept]

    def _holds(self, given: Sequence[Tensor]) -> bool:
        """Whether the given tensors hold what they held at the last call, and what is made of weights was made then."""
        settled, self._settled = self._settled, False  # An exception may come before this call has.
        whole = [t if t.is_contiguous() else t.contiguous() for t in given]
        if self._seal is None:
            self._seal = Seal([t.nbytes for t in whole])
        return self._seal.holds([t.data_ptr() for t in whole]) and settled

    def _multiply(self, x: Tensor, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The products of x that come before the loop, which is told where they are."""
        params = {name: source.of(tensors[number]) for name, source, number in self._multiplied}
        rows, made = x.view(-1, self.shape.input), []
        for at, product in self._products:
            made.append(product.run(rows, params))
            self._standing.words[at] = made[-1].data_ptr()
        return made

    def backward(self, wanted: tuple[bool, ...]) -> Backward:
        """What computes the gradients of x and of each given tensor, where ``wanted``."""
        key = (*wanted, threads.most())
        found = self._backwards.get(key)
        if found is None:
            made = Backward(self.compiled, self._kernel, self.shape, self._blocks, self._sources, wanted)
            found = self._backwards[key] = made
        return found

    def seen(
        self, x: Tensor, given: Sequence[Tensor], grads: Sequence[Tensor | None], wanted: Sequence[bool]
    ) -> list[Tensor | None]:
        """The same gradients, as functions that can be differentiated again."""
        compiled, rows = self.compiled, self.shape.rows
        with torch.enable_grad():
            x, *given = apart([x, *given])
            params = given if compiled.computed is not None else compiled.prepare(given)
            states = [x.new_zeros(rows, width) for _, width in self._finals]
            plan, geometry = plan_of((compiled,), (), ()), Geometry.of(x, rows, None)
            output, finals = again.run(plan, geometry, [x, *states, *params])
            return again.differentiate([output, *finals[0]], grads, [x, *given], wanted)


class RunPrepared(torch.autograd.Function):
    """A prepared layer as one node of autograd's graph: what ``RunLayer`` is to a layer in general."""

    @staticmethod
    def forward(ctx: Any, layer: Prepared, x: Tensor, *given: Tensor) -> tuple[Tensor, ...]:
        output, finals, kept = layer.forward(x, given)
        ctx.layer, ctx.count = layer, len(given)
        ctx.save_for_backward(x, *given, *kept, *((output,) if layer.reads_output else ()))
        ctx.set_materialize_grads(False)
        return output, *finals

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Any, ...]:
        layer, wanted = ctx.layer, ctx.needs_input_grad[1:]
        x, *saved = ctx.saved_tensors
        if all(g is None for g in grads):
            return (None,) * (2 + ctx.count)
        given, kept = saved[: ctx.count], saved[ctx.count :]
        output = kept.pop() if layer.reads_output else None
        with one_precision():
            if must_be_seen(grads):
                return (None, *layer.seen(x, given, grads, wanted))
            return (None, *layer.backward(wanted).run(x, output, kept, given, grads[0], grads[1:]))
