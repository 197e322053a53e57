"""Every elementwise operation means what the interpreter says it means, edges and all."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ostinato.compiler import interpret
from ostinato.compiler.cpu.pointwise import POINTWISE
from ostinato.compiler.cpu.targets import Target
from tests.compiler.cpu.kernels import COMPARISONS, ELEMENTS, here, kernel

NUMBERS = torch.tensor(
    [0.0, -0.0, 1, -1, 2, -3, 0.5, -0.5, 1.5, 2.5, -2.5, 0.49999997, 8388607.5, 1e-40, -1e-40, 1e30, 3.4e38,
     math.inf, -math.inf, math.nan]
)  # fmt: skip
ONE = ("neg", "abs", "sign", "sqrt", "rsqrt", "reciprocal", "relu", "floor", "ceil", "round", "trunc")
TWO = ("add", "sub", "mul", "div", "maximum", "minimum", *COMPARISONS)

targets_here = pytest.mark.parametrize("target", here(), ids=lambda t: t.name)
elements = pytest.mark.parametrize("element", ELEMENTS)


def pairs(element: str) -> tuple[Tensor, Tensor]:
    x, y = torch.meshgrid(NUMBERS.to(ELEMENTS[element]), NUMBERS.to(ELEMENTS[element]), indexing="ij")
    return x.flatten(), y.flatten()


def agree(got: Tensor, want: Tensor, signs: bool = True) -> None:
    torch.testing.assert_close(
        got, want.to(got.dtype), rtol=1e-7 if got.dtype == torch.float32 else 3e-16, atol=0, equal_nan=True
    )
    known = ~want.isnan() if signs else torch.zeros_like(got, dtype=torch.bool)
    assert torch.equal(got[known].signbit(), want[known].signbit())


def test_the_table_is_complete() -> None:
    assert POINTWISE.keys() == interpret.POINTWISE.keys()


@targets_here
@elements
@pytest.mark.parametrize("op", ONE)
def test_operations_on_one_value(op: str, element: str, target: Target) -> None:
    x = torch.cat([NUMBERS, torch.linspace(-5, 5, 401), torch.tensor([1.0])]).to(ELEMENTS[element])
    exact = x.double() if op == "sqrt" else x  # torch's own float32 root is one unit off on some processors
    agree(kernel(op, target, element)(x), interpret.POINTWISE[op](exact), signs=op != "sign")


@targets_here
@elements
@pytest.mark.parametrize("op", TWO)
def test_operations_on_two_values(op: str, element: str, target: Target) -> None:
    x, y = pairs(element)
    want = interpret.POINTWISE[op](x, y)
    if want.dtype == torch.bool:
        want = want.to(x.dtype)
    agree(kernel(op, target, element, None, 2)(x, y), want, signs=op not in ("maximum", "minimum"))


@targets_here
@elements
@pytest.mark.parametrize("op", ["and", "or", "not", "where"])
def test_operations_on_masks(op: str, element: str, target: Target) -> None:
    x, y = pairs(element)
    x = torch.where(x.isnan(), 0.0, x)
    y = torch.where(y.isnan(), 0.0, y)
    inputs = {"not": (x,), "where": (x, y, x)}.get(op, (x, y))
    masks = tuple(v != 0 for v in inputs)
    if op == "where":
        masks = (masks[0], *inputs[1:])
    agree(kernel(op, target, element, None, len(inputs))(*inputs), interpret.POINTWISE[op](*masks).to(x.dtype))


def exact(op: str) -> Callable[[float, float], float]:
    def fmod(x: float, y: float) -> float:
        return math.nan if math.isnan(x + y) or math.isinf(x) or y == 0 else math.fmod(x, y)

    def remainder(x: float, y: float) -> float:
        rest = fmod(x, y)
        return rest + y if rest != 0 and (rest < 0) != (y < 0) else rest

    return fmod if op == "fmod" else remainder


@targets_here
@elements
@pytest.mark.parametrize("op", ["fmod", "remainder"])
def test_what_division_leaves_is_exact(op: str, element: str, target: Target) -> None:
    """Against Python: torch's own vectors give NaN for a large quotient, its scalars do not."""
    whole = {"float": (torch.int32, 31), "double": (torch.int64, 63)}[element]
    bits = [
        torch.randint(-(2 ** whole[1]), 2 ** whole[1] - 1, (600,), dtype=whole[0]).view(ELEMENTS[element]) for _ in "xy"
    ]
    near = [torch.randn(600).to(ELEMENTS[element]) * 50, torch.randn(600).to(ELEMENTS[element])]
    x, y = (torch.cat(parts) for parts in zip(pairs(element), bits, near, strict=True))
    want = torch.tensor([exact(op)(a, b) for a, b in zip(x.tolist(), y.tolist(), strict=True)], dtype=torch.float64)
    got = kernel(op, target, element, None, 2)(x, y)
    agree(got, want.to(got.dtype))
    moderate = (x / y).abs() < 1000
    agree(got[moderate], interpret.POINTWISE[op](x, y)[moderate])
