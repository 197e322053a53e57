"""Products outside the loop: the same numbers from either library, and the faster one where it is known to be."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ostinato.compiler import gemm

HAS = hasattr(torch.ops.mkldnn, "_linear_pointwise") and torch.backends.mkldnn.is_available()
onednn = pytest.mark.skipif(not HAS, reason="this torch has no oneDNN")


@pytest.fixture
def asked(monkeypatch):
    """oneDNN wherever it may be asked, and how often it was."""
    calls = []
    original = torch.ops.mkldnn._linear_pointwise
    monkeypatch.setattr(gemm, "mkl_is_narrow", lambda: True)
    monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", lambda *a: calls.append(a) or original(*a))
    return calls


@onednn
@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("transposed", [False, True])
def test_both_libraries_agree(asked, monkeypatch, with_bias, transposed) -> None:
    monkeypatch.setattr(gemm, "WORK", 0)
    value, bias = torch.randn(40, 130), torch.randn(200) if with_bias else None
    weight = torch.randn(130, 200).t() if transposed else torch.randn(200, 130)
    found = gemm.linear(value, weight, bias)
    assert len(asked) == 1
    expected = torch.nn.functional.linear(value.double(), weight.double(), None if bias is None else bias.double())
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-4)
    assert found.is_contiguous()
    monkeypatch.setattr(gemm, "WORK", 2**60)
    torch.testing.assert_close(gemm.linear(value, weight, bias).double(), expected, rtol=1e-5, atol=1e-4)
    assert len(asked) == 1


@onednn
@pytest.mark.parametrize(
    ("rows", "columns", "inner", "dtype"),
    [
        pytest.param(4, 200, 130, torch.float32, id="little work"),
        pytest.param(4000, 100, 130, torch.float32, id="few columns"),
        pytest.param(4000, 130, 100, torch.float32, id="few to add up"),
        pytest.param(700, 300, 300, torch.float64, id="float64"),
        pytest.param(140_000, 128, 128, torch.float32, id="a large result"),
    ],
)
def test_what_stays_with_torchs_own_product(asked, rows, columns, inner, dtype) -> None:
    value, weight = torch.randn(rows, inner, dtype=dtype), torch.randn(columns, inner, dtype=dtype)
    torch.testing.assert_close(gemm.linear(value, weight), value @ weight.t(), rtol=1e-5, atol=1e-4)
    assert not asked


@onednn
def test_a_user_who_turned_onednn_off(asked) -> None:
    value, weight = torch.randn(700, 300), torch.randn(300, 300)
    with torch.backends.mkldnn.flags(enabled=False):
        gemm.linear(value, weight)
    assert not asked
    gemm.linear(value, weight)
    assert len(asked) == 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("columns", "inner"), [(40, 9), (9, 40), (24, 24), (40, 1)])
def test_a_sum_over_rows_is_the_same_whichever_way(monkeypatch, columns, inner, dtype) -> None:
    monkeypatch.setattr(gemm, "mkl_is_narrow", lambda: False)
    left, right = torch.randn(70, columns, dtype=dtype), torch.randn(70, 2 * inner, dtype=dtype)[:, ::2]
    expected = torch.einsum("no,nk->ok", left.double(), right.double()).to(dtype)
    for most in (2**20, 1):
        monkeypatch.setattr(gemm, "MANY_ROWS", most)
        found = gemm.over_rows(left, right)
        torch.testing.assert_close(found, expected)
        assert found.is_contiguous()


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
