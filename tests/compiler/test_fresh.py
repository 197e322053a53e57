"""New memory is ordinary memory, with or without large pages."""

from __future__ import annotations

import mmap

import pytest
import torch

from ostinato.compiler import fresh


@pytest.mark.parametrize("rows", [0, 1, fresh.LARGE // 64, fresh.LARGE // 64 + 1])
def test_it_is_what_was_asked_for(rows) -> None:
    like = torch.zeros(2, 3, dtype=torch.float64)
    made = fresh.empty(like, rows, 9)
    assert (made.shape, made.dtype, made.is_contiguous()) == ((rows, 9), torch.float64, True)
    assert torch.equal(made.fill_(2.5), torch.full((rows, 9), 2.5, dtype=torch.float64))


def test_only_whole_pages_of_the_tensor_are_spoken_of(monkeypatch) -> None:
    asked = []
    monkeypatch.setattr(fresh, "_madvise", lambda: lambda *call: asked.append(call))
    made = fresh.empty(torch.zeros(1), fresh.LARGE // 4 + 1)
    ((start, length, _),) = asked
    assert start % mmap.PAGESIZE == length % mmap.PAGESIZE == 0
    assert made.data_ptr() <= start < made.data_ptr() + mmap.PAGESIZE
    assert made.nbytes - 2 * mmap.PAGESIZE < length <= made.nbytes
    fresh.empty(torch.zeros(1), 1000)
    assert len(asked) == 1


def test_a_system_without_large_pages(monkeypatch) -> None:
    monkeypatch.setattr(fresh, "_madvise", lambda: None)
    assert fresh.empty(torch.zeros(1), fresh.LARGE).shape == (fresh.LARGE,)
