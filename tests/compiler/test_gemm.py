"""Products outside the loop: the same numbers from whoever makes them, and the faster one where it is known to be."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ostinato.compiler import gemm
from ostinato.compiler.cpu import linear, outer, targets


@pytest.fixture
def asked(monkeypatch):
    """Our own function wherever it may be asked, and how often it was."""
    calls = []
    original = linear.linear
    monkeypatch.setattr(gemm, "mkl_is_narrow", lambda: True)
    monkeypatch.setattr(linear, "linear", lambda *a: calls.append(a) or original(*a))
    return calls


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("transposed", [False, True])
def test_both_agree(asked, monkeypatch, with_bias, transposed, dtype) -> None:
    monkeypatch.setattr(gemm, "SMALL", 0)
    value, bias = torch.randn(40, 130, dtype=dtype), torch.randn(200, dtype=dtype) if with_bias else None
    weight = torch.randn(130, 200, dtype=dtype).t() if transposed else torch.randn(200, 130, dtype=dtype)
    found = gemm.linear(value, weight, bias)
    assert len(asked) == 1
    expected = torch.nn.functional.linear(value.double(), weight.double(), None if bias is None else bias.double())
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-4)
    assert found.is_contiguous()
    wide = torch.full((40, 300), torch.nan, dtype=dtype)
    gemm.linear(value, weight, bias, wide[:, 50:250])
    assert torch.equal(wide[:, 50:250], found)
    assert wide[:, :50].isnan().all()
    assert wide[:, 250:].isnan().all()
    monkeypatch.setattr(gemm, "mkl_is_narrow", lambda: False)
    torch.testing.assert_close(gemm.linear(value, weight, bias).double(), expected, rtol=1e-5, atol=1e-4)
    assert len(asked) == 2


def test_what_stays_with_torchs_own_product(asked, monkeypatch) -> None:
    value, weight = torch.randn(400, 130), torch.randn(200, 130)
    monkeypatch.setattr(gemm, "mkl_is_narrow", lambda: False)
    torch.testing.assert_close(gemm.linear(value, weight), value @ weight.t(), rtol=1e-5, atol=1e-4)
    assert not asked, "a processor of MKL's maker"
    assert gemm.linear(value.bfloat16(), weight.bfloat16()).dtype is torch.bfloat16
    assert not asked, "numbers that no kernel takes"


@pytest.mark.parametrize("narrow", [False, True])
def test_a_little_work_gives_the_same_on_any_number_of_threads(monkeypatch, narrow) -> None:
    monkeypatch.setattr(gemm, "mkl_is_narrow", lambda: narrow)
    for rows, inner, columns in ((7, 33, 1024), (1920, 10, 20), (1300, 20, 15), (1, 5, 3)):
        value, weight, bias = torch.randn(rows, inner), torch.randn(columns, inner), torch.randn(columns)
        found = []
        for count in (1, 2, 3, 4):
            torch.set_num_threads(count)
            found.append((gemm.linear(value, weight, bias), gemm.over_rows(value, value)))
        assert all(torch.equal(a, b) for one in found for a, b in zip(one, found[0], strict=True))


@pytest.mark.parametrize("narrow", [False, True])
def test_a_size_asked_for_again_is_made_the_same(monkeypatch, narrow) -> None:
    monkeypatch.setattr(gemm, "mkl_is_narrow", lambda: narrow)
    left, right = torch.randn(300, 40), torch.randn(300, 33)
    again = gemm.repeated(outer.Size(300, 40, 33, 40, 33), torch.float32)
    assert again is not None
    out = torch.full((40, 33), torch.nan)
    again.run(left.data_ptr(), right.data_ptr(), out.data_ptr())
    assert torch.equal(out, gemm.over_rows(left, right))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("columns", "inner"), [(40, 9), (9, 40), (24, 24), (40, 1)])
def test_a_sum_over_rows_is_the_same_whichever_way(monkeypatch, columns, inner, dtype) -> None:
    left, right = torch.randn(70, columns, dtype=dtype), torch.randn(70, 2 * inner, dtype=dtype)[:, ::2]
    expected = torch.einsum("no,nk->ok", left.double(), right.double()).to(dtype)
    monkeypatch.setattr(gemm, "mkl_is_narrow", lambda: False)
    monkeypatch.setattr(gemm, "SMALL", 0)
    for weight, rows in ((2**19, 1), (0, 2**20), (0, 1)):
        monkeypatch.setattr(gemm, "WEIGHT", weight)
        monkeypatch.setattr(gemm, "ROWS", rows)
        found = gemm.over_rows(left, right)
        torch.testing.assert_close(found, expected)
        assert found.is_contiguous()


@pytest.mark.parametrize(
    ("family", "weight", "expected"), [("avx512", 40, True), ("avx512", 39, False), ("avx2", 40, False)]
)
def test_who_adds_up_a_weights_gradient(monkeypatch, family, weight, expected) -> None:
    """10 elements of 4 bytes."""
    monkeypatch.setattr(gemm, "mkl_is_narrow", lambda: False)
    monkeypatch.setattr(gemm, "SMALL", 0)
    monkeypatch.setattr(gemm, "WEIGHT", weight)
    monkeypatch.setattr(gemm, "host", lambda: targets.named(family, "x86_64-unknown-linux-gnu"))
    asked = []
    original = outer.over_rows
    monkeypatch.setattr(outer, "over_rows", lambda *a: asked.append(a) or original(*a))
    left, right = torch.randn(70, 5), torch.randn(70, 2)
    torch.testing.assert_close(gemm.over_rows(left, right), left.t() @ right)
    assert bool(asked) == expected
    assert (gemm.repeated(outer.Size(70, 5, 2, 5, 2), torch.float32) is not None) == expected
    assert gemm.over_rows(left.bfloat16(), right.bfloat16()).dtype is torch.bfloat16


@pytest.mark.parametrize(
    ("capability", "maker", "expected"),
    [
        ("AVX512", "AuthenticAMD", True),
        ("AVX512", "GenuineIntel", False),
        ("AVX2", "AuthenticAMD", False),
        ("AVX512", None, False),
    ],
)
def test_which_processor(monkeypatch, capability, maker, expected) -> None:
    def read(_: Path) -> str:
        if maker is None:
            raise FileNotFoundError
        return f"processor : 0\nvendor_id\t: {maker}\n"

    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: True)
    monkeypatch.setattr(Path, "read_text", read)
    gemm.mkl_is_narrow.cache_clear()
    try:
        assert gemm.mkl_is_narrow() == expected
    finally:
        gemm.mkl_is_narrow.cache_clear()
