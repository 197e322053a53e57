"""Functions written out keep their precision where the textbook's formula loses it, measured through the kernel."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

import ostinato

ULPS = {torch.float32: 8, torch.float64: 4}
NEAR = [v * s for s in (1, -1) for v in (1e-30, 1e-10, 1e-5, 0.1, 0.499, 0.5, 0.7, 1.0, 1.7, 3.0, 5.0, 9.0)]
POWERS_OF_TEN = [10.0**k for k in range(-37, 38)]
CASES = {
    "sinh": (torch.sinh, math.sinh, [*NEAR, 39.0, 41.0, -88.9, 709.0]),
    "cosh": (torch.cosh, math.cosh, [*NEAR, 39.0, 41.0, -88.9, 709.0]),
    "erfc": (torch.erfc, math.erfc, [*NEAR, *torch.linspace(-6, 26, 999).tolist()]),
    "exp2": (torch.exp2, lambda v: 2.0**v, [*NEAR, *map(float, range(-126, 128))]),
    "log2": (torch.log2, math.log2, [*POWERS_OF_TEN, *(2.0**k for k in range(-126, 128)), 0.7, 1.0001, 3.0]),
    "log10": (torch.log10, math.log10, [*POWERS_OF_TEN, 0.7, 1.0001, 3.0]),
    "logit": (torch.logit, lambda v: math.log(v / (1 - v)), [1e-30, 1e-5, 0.1, 0.3, 0.7, 0.999]),
    "atan": (torch.atan, math.atan, [*NEAR, 0.66, 2.4, 2.5, 1e10]),
    "sinc": (torch.sinc, lambda v: math.sin(math.pi * v) / (math.pi * v) if v else 1.0, [*NEAR[:7], 0.0, 1.3]),
}  # fmt: skip


def compiled(function, x: Tensor) -> Tensor:
    """The function of every element, by a kernel."""

    class Only(ostinato.Cell):
        def __init__(self, input_size: int, hidden_size: int) -> None:
            super().__init__(input_size, hidden_size)
            self.one = nn.Parameter(torch.ones(hidden_size))

        def reset_parameters(self) -> None:
            nn.init.ones_(self.one)

        def step(self, x: Tensor, h: Tensor) -> Tensor:
            return function(x) * self.one

    layer = ostinato.Recurrent(Only, len(x), len(x), engine="native", dtype=x.dtype)
    with torch.no_grad():
        return layer(x.view(1, 1, -1))[0].flatten()


@pytest.mark.parametrize("dtype", ULPS)
@pytest.mark.parametrize("name", CASES)
def test_within_units_in_the_last_place(name: str, dtype: torch.dtype) -> None:
    function, exact, numbers = CASES[name]
    x = torch.tensor(numbers, dtype=dtype)
    want = torch.tensor([_or_infinite(exact, v) for v in x.tolist()], dtype=torch.float64)
    kept = (want.abs() < torch.finfo(dtype).max) & ((want == 0) | (want.abs() >= torch.finfo(dtype).smallest_normal))
    got, want = compiled(function, x).double()[kept], want[kept]
    unit = torch.finfo(dtype).eps * 2.0 ** want.abs().log2().floor()
    away = torch.where(got == want, 0.0, (got - want).abs() / unit)
    worst = int(away.argmax())
    assert away[worst] <= ULPS[dtype], f"{name}({x[kept][worst]!r}) is {got[worst]!r}, not {want[worst]!r}"


def _or_infinite(exact, v: float) -> float:
    try:
        return exact(v)
    except OverflowError:
        return math.inf


@pytest.mark.parametrize("dtype", ULPS)
def test_whole_powers_are_whole(dtype: torch.dtype) -> None:
    twos = torch.arange(-20, 31, dtype=dtype)
    assert torch.equal(compiled(torch.exp2, twos), torch.ldexp(torch.ones_like(twos), twos.int()))
    assert torch.equal(compiled(torch.log2, torch.ldexp(torch.ones_like(twos), twos.int())), twos)
    tens = torch.arange(0, 11, dtype=dtype)
    assert torch.equal(compiled(torch.log10, torch.tensor([10.0**k for k in range(11)], dtype=dtype)), tens)


@pytest.mark.parametrize("name", CASES)
def test_what_is_infinite_or_no_number(name: str) -> None:
    function = CASES[name][0]
    x = torch.tensor([0.0, -0.0, math.inf, -math.inf, math.nan, 1.0, -1.0, 2.0], dtype=torch.float64)
    torch.testing.assert_close(compiled(function, x), function(x), rtol=1e-15, atol=1e-15, equal_nan=True)


@pytest.mark.parametrize("dtype", ULPS)
@pytest.mark.parametrize("divisor", [0.1, -0.1, 3.0, 0.0, math.inf])
def test_floor_division_is_torchs(divisor: float, dtype: torch.dtype) -> None:
    x = torch.tensor([*(n / 10 for n in range(-30, 31)), math.inf, math.nan, -0.0], dtype=dtype)
    for function in (lambda v: torch.div(v, divisor, rounding_mode="floor"), lambda v: v // divisor):
        got, want = compiled(function, x), function(x)
        torch.testing.assert_close(got, want, rtol=0, atol=0, equal_nan=True)
        assert torch.equal(got.signbit()[got == 0], want.signbit()[want == 0])
    assert torch.equal(compiled(lambda v: 0.7 // v, x[1:30]), 0.7 // x[1:30])


@pytest.mark.parametrize("decimals", [0, 1, 3, -1])
def test_rounding_to_decimals(decimals: int) -> None:
    x = torch.linspace(-25, 25, 401, dtype=torch.float64)
    assert torch.equal(compiled(lambda v: torch.round(v, decimals=decimals), x), torch.round(x, decimals=decimals))
