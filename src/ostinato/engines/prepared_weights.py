"""What the gradients of a prepared call's weights are made of: products over all steps, and sums the loop added up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import NamedTuple

import torch
from torch import Tensor

from ostinato.compiler.cpu.standing import Standing
from ostinato.compiler.kernel import Held
from ostinato.compiler.weights import over_parts, repeated
from ostinato.engines.compiled import Compiled
from ostinato.engines.places import Shape, Source

X, OUTPUT, KEPT = range(3)
"""The numbers of the tensors that are read: x, the output, then what the forward kept, then what the loop put out."""


class View(NamedTuple):
    """Columns of one of those tensors; all of them if ``width`` is None."""

    number: int
    column: int = 0
    width: int | None = None

    def of(self, tensors: Sequence[Tensor]) -> Tensor:
        """Its rows of all steps."""
        value = tensors[self.number]
        value = value.flatten(0, 1) if value.dim() > 2 else value
        if self.width is None or self.width == value.shape[1]:
            return value
        return value.narrow(1, self.column, self.width)


class Lie(NamedTuple):
    """How the tensors lie: of each the elements from one row to the next; T and B; and what numbers they are of."""

    apart: Sequence[int]
    shape: Shape
    dtype: torch.dtype


class Product:
    """The gradient of a weight: the sum over rows of ``grad`` ⊗ the value ``before`` rows above. The first step's state
    is zero, and adds nothing.

    Args:
        shape: the weight's.
    """

    def __init__(self, grad: View, value: View, before: int, shape: tuple[int, ...], lie: Lie) -> None:
        self.grad, self.value, self.before, self.shape = grad, value, before, shape
        rows, apart = lie.shape.steps * lie.shape.rows - before, lie.apart[grad.number]
        width = apart if grad.width is None else grad.width
        self._repeated = repeated(shape, width, rows, (apart, lie.apart[value.number]), lie.dtype)
        self._left, self._right = (n * lie.dtype.itemsize for n in (before * apart + grad.column, value.column))

    @property
    def writes(self) -> bool:
        """Whether :meth:`write` may be asked."""
        return self._repeated is not None

    def write(self, addresses: Sequence[int], out: int) -> None:
        """Write it to an address; ``addresses``: of the tensors."""
        assert self._repeated is not None
        left, right = addresses[self.grad.number] + self._left, addresses[self.value.number] + self._right
        self._repeated.run(left, right, out)

    def run(self, tensors: Sequence[Tensor], standing: Standing) -> Tensor:
        """Make it with whoever is the fastest for its size."""
        grad, value = self.grad.of(tensors), self.value.of(tensors)
        if self.before:
            grad, value = grad[self.before :], value[: -self.before]
        return over_parts([(grad, value)], self.shape)


class Sum(NamedTuple):
    """The gradient of what is broadcast to the rows: the loop has added it up."""

    name: str
    shape: tuple[int, ...]

    def run(self, tensors: Sequence[Tensor], standing: Standing) -> Tensor:
        return shaped(standing.summed(self.name), self.shape)


def shaped(value: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A tensor in a shape: itself if it has that one."""
    return value if value.shape == shape else value.view(shape)


Terms = dict[str, list[Product | Sum]]
"""Of each param, what its gradient is the sum of."""


def are_written(parts: Sequence[tuple[Source, list[Product | Sum]]]) -> bool:
    """Whether the gradient of a tensor is a product that can be written, or one for each of its parts."""
    if not all(len(terms) == 1 and isinstance(terms[0], Product) and terms[0].writes for _, terms in parts):
        return False
    rows = [source.rows for source, _ in parts]
    return rows == [None] or (bool(rows) and None not in rows)


def terms_of(
    compiled: Compiled,
    asked: Set[str],
    streams: Mapping[str, Held],
    read: Mapping[str, View],
    made: Mapping[str, View],
    lie: Lie,
) -> Terms:
    """What the gradients of the params are made of.

    Args:
        streams: where each output of the backward graph lies.
        read, made: where the loop's buffers lie, and the outputs of the backward graph.
        lie: how the tensors lie that views are of.
    """
    program = compiled.program
    backward, shapes = program.backward, {n: node.shape for n, node in program.prepare.outputs.items()}
    assert backward is not None
    found: Terms = {}
    for total in backward.sums:
        if total.param in asked:
            found.setdefault(total.param, []).append(Sum(streams[f"sum.{total.grad}"].buffer, shapes[total.param]))
    for weight in backward.weights:
        if weight.param not in asked:
            continue
        before = lie.shape.rows if weight.where == "state" else 0
        value = (made if weight.where == "backward" else read)[weight.value]
        product = Product(made[weight.grad], value, before, shapes[weight.param], lie)
        found.setdefault(weight.param, []).append(product)
    return found
