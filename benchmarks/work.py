"""The shapes that are timed, one call of each kind of work, and the check that two layers compute the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from bench_cells import GATES

Module = Callable[[Tensor], Any]
"""A layer, or a function with a layer's signature."""


class Shape(NamedTuple):
    steps: int
    batch: int
    input: int
    hidden: int

    @classmethod
    def parse(cls, text: str) -> Shape:
        return cls(*map(int, text.split(",")))

    def __str__(self) -> str:
        return ",".join(map(str, self))

    def random(self, requires_grad: bool = False) -> Tensor:
        return torch.randn(self.steps, self.batch, self.input, requires_grad=requires_grad)

    def operations(self, cell: str, training: bool) -> float:
        """Floating-point operations of the matrix products, with the input's gradient in training."""
        forward = 2.0 * self.batch * self.steps * (self.input + self.hidden) * GATES[cell] * self.hidden
        return forward * (3 if training else 1)


GRID = (
    Shape(100, 1, 32, 32),
    Shape(100, 1, 128, 128),
    Shape(100, 8, 64, 64),
    Shape(100, 32, 128, 128),
    Shape(100, 64, 256, 256),
    Shape(100, 16, 512, 512),
    Shape(35, 20, 650, 650),
    Shape(512, 64, 64, 64),
    Shape(784, 128, 1, 128),
)
QUICK = (GRID[0], GRID[2], GRID[3])


class Wrong(Exception):
    """Two layers differ: there is nothing to compare the times of."""


def agree(ours: Sequence[Tensor], theirs: Sequence[Tensor], tolerance: float) -> None:
    """Raise :class:`Wrong` unless each pair is equal within this share of the rival's largest element."""
    for n, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        error = (a - b).abs().max().item() / max(b.abs().max().item(), 1e-12)
        if not error <= tolerance:
            raise Wrong(f"result {n} differs from the reference by {error:.1e} of its largest element")


def output_of(module: Module, x: Tensor) -> Tensor:
    result = module(x)
    return result[0] if isinstance(result, tuple) else result


def forward_and_gradients(module: Module, parameters: Iterable[Tensor], x: Tensor) -> list[Tensor]:
    """The output, and the gradients of a loss that looks at every element of it."""
    output = output_of(module, x)
    loss = mse_loss(output, torch.ones_like(output))
    return [output.detach(), *torch.autograd.grad(loss, list(parameters))]


def trainer(module: Module, parameters: Iterable[Tensor], x: Tensor) -> Callable[[], object]:
    """One forward and backward; the gradients are dropped after it."""
    parameters = [*parameters, x]
    with torch.no_grad():
        gradient = torch.randn_like(output_of(module, x))

    def call() -> None:
        output_of(module, x).backward(gradient)
        for parameter in parameters:
            parameter.grad = None

    return call


def inferrer(module: Module, x: Tensor, mode: Callable[[], Any] = torch.no_grad) -> Callable[[], object]:
    def call() -> None:
        with mode():
            module(x)

    return call
