"""The product of a weight's gradient, beside float64, at every edge of its tiles, on every processor of this kind."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ostinato.compiler.cpu import alone, jit, outer, targets
from tests.compiler.cpu.kernels import on

EDGES = st.one_of(st.integers(1, 20), st.sampled_from([31, 32, 33, 47, 48, 63, 64, 65, 127, 128, 129, 200]))


@pytest.fixture(autouse=True)
def every_size_is_shared(monkeypatch):
    monkeypatch.setattr(alone, "SHARED", 0)
    yield
    torch.set_num_threads(1)


def expected(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    return left.double().t() @ right.double()


def close(found: torch.Tensor, left: torch.Tensor, right: torch.Tensor) -> None:
    tolerance = {torch.float32: 2e-6, torch.float64: 4e-15}[left.dtype] * (1 + left.shape[0] ** 0.5)
    torch.testing.assert_close(found.double(), expected(left, right), rtol=tolerance, atol=8 * tolerance)


@given(
    rows=EDGES,
    columns=EDGES,
    inner=EDGES,
    dtype=st.sampled_from([torch.float32, torch.float64]),
    seed=st.integers(0, 9),
)
@settings(max_examples=150, deadline=None)
def test_any_size(rows, columns, inner, dtype, seed) -> None:
    torch.manual_seed(seed)
    torch.set_num_threads(1 + seed % 3)
    left, right = torch.randn(rows, columns, dtype=dtype), torch.randn(rows, inner, dtype=dtype)
    close(outer.over_rows(left, right), left, right)


@pytest.mark.parametrize("family", [f for f in targets.FAMILIES if f != "neon"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_narrower_processors(family, dtype) -> None:
    with on(family, outer._function):
        for rows, columns, inner, apart in ((70, 13, 37, 13), (1, 1, 1, 1), (65, 6, 64, 6), (70, 33, 90, 600)):
            left, right = torch.randn(rows, apart, dtype=dtype)[:, :columns], torch.randn(rows, inner, dtype=dtype)
            close(outer.over_rows(left, right), left, right)


def test_arm_has_the_text_too() -> None:
    target = targets.named("neon", "aarch64-unknown-linux-gnu")
    assert "fmla" in jit.assembly(outer.text("float", target), target)


def test_the_same_bits_for_every_number_of_threads() -> None:
    left, right = torch.randn(300, 77), torch.randn(300, 90)
    found = []
    for number in (1, 2, 3, 4):
        torch.set_num_threads(number)
        found.append(outer.over_rows(left, right))
    assert all(torch.equal(found[0], other) for other in found)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("columns", [1, 5, 6, 12, 17, outer.COPIED, outer.COPIED + 1, 2 * outer.COPIED + 9])
def test_columns_that_are_copied_first(columns, dtype) -> None:
    """Nothing beside the columns of a full tile is read: what lies there is NaN, and behind the last row nothing."""
    torch.set_num_threads(2)
    wide = torch.full((131, max(columns + 3, outer.APART // dtype.itemsize)), torch.nan, dtype=dtype)
    left, right = wide[:, -columns - 1 : -1], torch.randn(131, 70, dtype=dtype)
    left.copy_(torch.randn(131, columns))
    close(outer.over_rows(left, right), left, right)


def test_rows_at_any_distance() -> None:
    wide = torch.randn(90, 100)
    for left, right in [
        (wide[:, 3:20], wide[:, 40:90]),
        (wide.t()[:90, :11], wide[:90, :33]),
        (wide[:1].expand(90, 100)[:, :9], wide[:, :5]),
        (wide[::2, :1], wide[::2, 7:8]),
    ]:
        close(outer.over_rows(left, right), left, right)


def test_nothing_to_add_up() -> None:
    assert torch.equal(outer.over_rows(torch.empty(0, 4), torch.empty(0, 3)), torch.zeros(4, 3))
    assert outer.over_rows(torch.randn(5, 0), torch.randn(5, 3)).shape == (0, 3)
    assert outer.over_rows(torch.randn(5, 3), torch.randn(5, 0)).shape == (3, 0)


def test_infinities_and_nan_go_where_they_belong() -> None:
    left, right = torch.randn(70, 13), torch.randn(70, 37)
    left[3, 5], right[60, 36] = torch.inf, torch.nan
    found, wanted = outer.over_rows(left, right), expected(left, right)
    assert torch.equal(found.isfinite(), wanted.isfinite())
    assert torch.equal(found.isnan(), wanted.isnan())


@pytest.mark.parametrize(("rows", "columns", "inner"), [(1, 3, 2), (130, 50, 70), (700, 130, 260)])
def test_added_to_what_stands_there(rows: int, columns: int, inner: int) -> None:
    left, right, there = torch.randn(rows, columns), torch.randn(rows, inner), torch.randn(columns, inner)
    size = outer.Size(rows, columns, inner, columns, inner, 1)
    found = there.clone()
    outer.Repeated(size, torch.float32).run(left.data_ptr(), right.data_ptr(), found.data_ptr())
    torch.testing.assert_close(found.double(), expected(left, right) + there.double(), rtol=1e-5, atol=1e-4)
