"""The functions against the true values, over the whole range, in units in the last place."""

from __future__ import annotations

import math
from typing import Any

import mpmath
import pytest
import torch
from torch import Tensor

from ostinato.compiler.cpu import jit, targets
from ostinato.compiler.cpu.targets import Target
from tests.compiler.cpu.kernels import ELEMENTS, here, kernel, module

ONE = ("exp", "expm1", "log", "log1p", "tanh", "sigmoid", "sin", "cos", "erf")
BELOW = {"log": 0.0, "log1p": -1.0}
"""From where on a function is a real number."""

FLOAT_BAR, DOUBLE_BAR = 8.0, 4.0
EDGES = [
    *(
        0.0,
        -0.0,
        1.0,
        -1.0,
        -2.0,
        0.5,
        1e-40,
        -1e-40,
        1e-310,
        1e5,
        1048577.0,
        1e22,
        3e38,
        math.inf,
        -math.inf,
        math.nan,
    ),
    *(88.72, -87.5, -103.9, -104.0, 709.78, -708.4, -745.1, -745.14, 6381956970095103 * 2.0**797),
]
"""Where results change their nature; the last is a double as near to a whole number of π/2 as any."""

true: dict[str, Any] = {name: getattr(mpmath, name) for name in ONE if name != "sigmoid"}
true["sigmoid"] = lambda x: 1 / (1 + mpmath.exp(-x))


@pytest.fixture(autouse=True)
def _precise() -> Any:
    with mpmath.workprec(160):
        yield


def every_float(step: int) -> Tensor:
    """Floats of all magnitudes and both signs."""
    return torch.arange(-(2**31), 2**31, step).to(torch.int32).view(torch.float32)


def some_doubles() -> Tensor:
    whole = torch.randint(-(2**63), 2**63 - 1, (160,)).view(torch.float64)
    return torch.cat(
        [whole, torch.randn(160).double() * 3, torch.rand(80).double() * 1400 - 700, torch.tensor(EDGES).double()]
    )


def distance(got: Tensor, want: Tensor) -> Tensor:
    """How far floats are from true values given in double, in units in the last place of a float."""
    nearest = want.float()
    same = (got == nearest) | (got.isnan() & nearest.isnan())
    unit = torch.exp2(want.abs().clamp(2.0**-126).log2().floor()) * 2.0**-23
    far = ((got.double() - want).abs() / unit).nan_to_num(math.inf, math.inf)
    return far.masked_fill(same, 0.0)


def double_distance(got: float, want: Any) -> float:
    """The same for one double and a value of mpmath's."""
    if mpmath.isnan(want):
        return 0.0 if math.isnan(got) else math.inf
    if want == 0 or abs(want) >= mpmath.mpf(2) ** 1024:
        return 0.0 if got == want or (math.isinf(got) and abs(want) > 1) else math.inf
    unit = mpmath.mpf(2) ** (max(int(mpmath.floor(mpmath.log(abs(want), 2))), -1022) - 52)
    return float(abs(mpmath.mpf(got) - want) / unit) if math.isfinite(got) else math.inf


@pytest.mark.parametrize("target", here(), ids=lambda t: t.name)
@pytest.mark.parametrize("name", ONE)
def test_float(name: str, target: Target) -> None:
    x = torch.cat(
        [every_float(30011), torch.linspace(-110, 110, 40001), torch.linspace(-2, 2, 20001), torch.tensor(EDGES)]
    )
    far = distance(kernel(name, target, "float")(x), getattr(torch, name)(x.double()))
    worst = int(far.argmax())
    assert far[worst] <= FLOAT_BAR, f"{far[worst]:.1f} at {x[worst]!r}"


@pytest.mark.parametrize("target", here(), ids=lambda t: t.name)
@pytest.mark.parametrize("name", ONE)
def test_double(name: str, target: Target) -> None:
    x = some_doubles()
    for number, got in zip(x.tolist(), kernel(name, target, "double")(x).tolist(), strict=True):
        if not math.isfinite(number) or number < BELOW.get(name, -math.inf):
            continue
        want = -mpmath.inf if number == BELOW.get(name) else true[name](mpmath.mpf(number))
        assert double_distance(got, want) <= DOUBLE_BAR, (number, got, want)


@pytest.mark.parametrize("target", here(), ids=lambda t: t.name)
@pytest.mark.parametrize("element", ELEMENTS)
@pytest.mark.parametrize("name", ONE)
def test_edges_are_torchs(name: str, element: str, target: Target) -> None:
    x = torch.tensor([0.0, -0.0, math.inf, -math.inf, math.nan, -1.0, -2.0, 1.0], dtype=ELEMENTS[element])
    got, want = kernel(name, target, element)(x), getattr(torch, name)(x)
    torch.testing.assert_close(got, want, equal_nan=True)
    known = ~want.isnan()
    assert torch.equal(got[known].signbit(), want[known].signbit())


@pytest.mark.parametrize("name", ["tanh", "sigmoid", "erf"])
@pytest.mark.parametrize("element", ELEMENTS)
def test_saturating_functions_never_leave_their_range(name: str, element: str) -> None:
    x = torch.linspace(-60, 60, 200001, dtype=ELEMENTS[element])
    assert kernel(name, targets.host(), element)(x).abs().max() == 1.0


@pytest.mark.parametrize("name", [*ONE, "pow", "fmod"])
@pytest.mark.parametrize("element", ELEMENTS)
def test_a_lane_does_not_depend_on_its_neighbours(name: str, element: str) -> None:
    inputs = 2 if name in ("pow", "fmod") else 1
    x = [some_doubles().to(ELEMENTS[element]) for _ in range(inputs)]
    full, single = (kernel(name, targets.host(), element, lanes, inputs)(*x) for lanes in (None, 1))
    torch.testing.assert_close(full, single, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("target", here(), ids=lambda t: t.name)
@pytest.mark.parametrize("element", ELEMENTS)
@pytest.mark.parametrize("name", ["exp", "tanh", "sigmoid", "log"])
def test_several_registers_at_once_are_each_as_alone(name: str, element: str, target: Target) -> None:
    x = torch.cat([every_float(300007)[:8192], torch.linspace(-110, 110, 8192)]).to(ELEMENTS[element])
    alone = kernel(name, target, element)(x)
    for registers in (2, 4):
        together = kernel(name, target, element, registers * target.lanes(element))(x)
        torch.testing.assert_close(together, alone, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("target", here(), ids=lambda t: t.name)
def test_powers(target: Target) -> None:
    x = torch.rand(400).double() * 2
    y = 700 / x.log() * (torch.rand(400).double() * 2 - 1)
    for a, b, got in zip(x.tolist(), y.tolist(), kernel("pow", target, "double", None, 2)(x, y).tolist(), strict=True):
        assert double_distance(got, mpmath.mpf(a) ** mpmath.mpf(b)) <= DOUBLE_BAR, (a, b)
    u = torch.cat([torch.rand(20000) * 4, every_float(300007)])
    w = torch.cat([torch.randn(20000) * 20, torch.randn(u.numel() - 20000)])
    far = distance(kernel("pow", target, "float", None, 2)(u, w), torch.pow(u.double(), w.double()))
    assert far.max() <= FLOAT_BAR


@pytest.mark.parametrize("target", here(), ids=lambda t: t.name)
@pytest.mark.parametrize("element", ELEMENTS)
def test_edges_of_powers_are_torchs(element: str, target: Target) -> None:
    numbers = torch.tensor([0.0, -0.0, 1, -1, 2, -2, 3, -3, 0.5, -0.5, 1e30, math.inf, -math.inf, math.nan])
    x, y = (v.flatten().to(ELEMENTS[element]) for v in torch.meshgrid(numbers, numbers, indexing="ij"))
    got, want = kernel("pow", target, element, None, 2)(x, y), torch.pow(x, y)
    torch.testing.assert_close(got, want, equal_nan=True)
    known = ~want.isnan()
    assert torch.equal(got[known].signbit(), want[known].signbit())


@pytest.mark.parametrize(
    ("family", "triple"),
    [("avx512", "x86_64-linux-gnu"), ("avx2", "x86_64-linux-gnu"), ("plain", "x86_64-linux-gnu"),
     ("neon", "aarch64-linux-gnu"), ("plain", "aarch64-linux-gnu")],
)  # fmt: skip
@pytest.mark.parametrize("element", ELEMENTS)
@pytest.mark.parametrize("name", [*ONE, "pow", "fmod", "remainder", "floor", "ceil", "round", "trunc", "sqrt"])
def test_nothing_is_called_outside(name: str, element: str, family: str, triple: str) -> None:
    target = targets.named(family, triple)
    text = module(name, target, element, None, 2 if name in ("pow", "fmod", "remainder") else 1)
    assert jit.undefined_symbols(jit.compile(text, target)) == []
