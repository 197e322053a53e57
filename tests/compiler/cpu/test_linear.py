"""The product of inputs with weights, beside float64, at every edge of its tiles, on every processor of this kind."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ostinato.compiler.cpu import alone, jit, linear, targets
from tests.compiler.cpu.kernels import on

EDGES = st.one_of(st.integers(1, 20), st.sampled_from([31, 32, 33, 47, 48, 49, 63, 64, 65, 95, 96, 97, 128, 200]))
FAR = linear.PART // 4 // 48
"""The most k of one part, in float32 with AVX-512."""


@pytest.fixture(autouse=True)
def every_size_is_shared(monkeypatch):
    monkeypatch.setattr(alone, "SHARED", 0)
    yield
    torch.set_num_threads(1)


def check(value, weight, bias=None) -> torch.Tensor:
    found = linear.linear(value, weight, bias)
    expected = value.double() @ weight.double().t() + (0.0 if bias is None else bias.double())
    tolerance = {torch.float32: 2e-6, torch.float64: 4e-15}[value.dtype] * (1 + value.shape[1] ** 0.5)
    torch.testing.assert_close(found.double(), expected, rtol=tolerance, atol=8 * tolerance)
    return found


@given(
    rows=EDGES,
    columns=EDGES,
    inner=st.one_of(EDGES, st.sampled_from([FAR, FAR + 1, 2 * FAR + 5])),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    with_bias=st.booleans(),
    transposed=st.booleans(),
    seed=st.integers(0, 9),
)
@settings(max_examples=150, deadline=None)
def test_any_size(rows, columns, inner, dtype, with_bias, transposed, seed) -> None:
    torch.manual_seed(seed)
    torch.set_num_threads(1 + seed % 3)
    value = torch.randn(rows, inner, dtype=dtype)
    weight = torch.randn(inner, columns, dtype=dtype).t() if transposed else torch.randn(columns, inner, dtype=dtype)
    check(value, weight, torch.randn(columns, dtype=dtype) if with_bias else None)


@pytest.mark.parametrize("family", [f for f in targets.FAMILIES if f != "neon"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_narrower_processors(family, dtype) -> None:
    with on(family, linear._function):
        for rows, columns, inner in ((37, 70, 13), (1, 1, 1), (64, 65, 6), (9, 50, 3 * FAR)):
            value, weight = torch.randn(rows, inner, dtype=dtype), torch.randn(columns, inner, dtype=dtype)
            check(value, weight, torch.randn(columns, dtype=dtype))


def test_arm_has_the_text_too() -> None:
    target = targets.named("neon", "aarch64-unknown-linux-gnu")
    assert "fmla" in jit.assembly(linear.text("float", target), target)


def test_no_spill_and_no_call_where_it_adds_up() -> None:
    target = targets.named("avx512", "x86_64-unknown-linux-gnu")
    text = jit.assembly(linear.text("float", target), target)
    inner = [block for block in text.split("\n.L") if block.count("vfmadd231ps") >= 24]
    assert inner, "the kernel of eight rows by three vectors"
    for block in inner:
        loop = block[: block.rindex("vfmadd231ps")]
        assert "(%rsp)" not in loop
        assert "call" not in loop


def test_the_same_bits_for_every_number_of_threads() -> None:
    value, weight, bias = torch.randn(77, 300), torch.randn(250, 300), torch.randn(250)
    found = []
    for number in (1, 2, 3, 4):
        torch.set_num_threads(number)
        found.append(linear.linear(value, weight, bias))
    assert all(torch.equal(found[0], other) for other in found)


def test_a_rows_result_does_not_depend_on_the_others() -> None:
    value, weight = torch.randn(31, 40), torch.randn(60, 40)
    whole = linear.linear(value, weight)
    for row in (0, 7, 15, 30):
        assert torch.equal(linear.linear(value[row : row + 1], weight)[0], whole[row])


def test_operands_that_lie_anyhow() -> None:
    wide, bias = torch.randn(90, 200), torch.randn(66)
    for value, weight in [
        (wide[:, 3:20], wide[:33, 40:57]),
        (wide.t()[:90, :11], wide[:33, :11]),
        (wide[:1].expand(90, 200)[:, :9], wide[:33, ::7][:, :9]),
        (wide[::2, :1], wide[:33, 7:8]),
        (wide[:5, :9], wide[:1, :9].expand(33, 9)),
        (wide[:5, 1:10], wide[:9, 4:37].t()),
    ]:
        check(value, weight, bias[::2])


def test_nothing_beside_the_operands_is_read() -> None:
    """What lies there is NaN, in every direction."""
    torch.set_num_threads(2)
    around = torch.full((3, 75, 90), torch.nan)
    value, weight, turned = around[0, 1:40, 1:71], around[1, 1:63, 1:71], around[2, 1:71, 1:63]
    bias = around[0, 50, 1:63]
    for part in (value, weight, turned, bias):
        part.copy_(torch.randn(part.shape))
    check(value, weight, bias)
    check(value, turned.t(), bias)


def test_nothing_to_multiply() -> None:
    assert torch.equal(linear.linear(torch.empty(4, 0), torch.empty(3, 0)), torch.zeros(4, 3))
    assert torch.equal(
        linear.linear(torch.empty(2, 0), torch.empty(3, 0), torch.arange(3.0)), torch.arange(3.0).expand(2, 3)
    )
    assert linear.linear(torch.randn(0, 5), torch.randn(3, 5)).shape == (0, 3)
    assert linear.linear(torch.randn(4, 5), torch.randn(0, 5)).shape == (4, 0)


def test_infinities_and_nan_go_where_they_belong() -> None:
    value, weight = torch.randn(70, 37), torch.randn(53, 37)
    value[3, 5], weight[50, 36] = torch.inf, torch.nan
    found, wanted = linear.linear(value, weight), value.double() @ weight.double().t()
    assert torch.equal(found.isfinite(), wanted.isfinite())
    assert torch.equal(found.isnan(), wanted.isnan())
