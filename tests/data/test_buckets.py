"""Batches: every row once an epoch, memory bounded, and the same for the same seed and step."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ostinato.data.buckets import bucketed
from ostinato.errors import DataError, InvalidValue

LENGTHS = st.lists(st.integers(1, 200) | st.integers(50_000, 100_000), min_size=1, max_size=80)


@settings(deadline=None, max_examples=100)
@given(LENGTHS, st.integers(1, 500), st.none() | st.integers(1, 9), st.integers(0, 3))
def test_each_row_once_and_bounded(lengths: list[int], tokens: int, size: int | None, seed: int) -> None:
    plan = bucketed(lengths, batch_tokens=tokens, batch_size=size, seed=seed)
    for epoch in range(2):
        batches = [plan.batch(epoch * len(plan) + step).tolist() for step in range(len(plan))]
        assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
        for batch in batches:
            assert len(batch) == 1 or len(batch) * max(lengths[row] for row in batch) <= tokens
            assert size is None or len(batch) <= size
    fresh = bucketed(lengths, batch_tokens=tokens, batch_size=size, seed=seed)
    for step in (2 * len(plan) - 1, 0):
        assert torch.equal(fresh.batch(step), plan.batch(step)), "a pure function, in whatever order it is asked"
    assert sorted(row for batch in plan.in_order() for row in batch.tolist()) == list(range(len(lengths)))


def test_epochs_and_seeds_differ_and_padding_is_small() -> None:
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(3, 60, (2000,), generator=generator)
    plan = bucketed(lengths, batch_size=32, seed=0)
    first, second = (torch.cat([plan.batch(e * len(plan) + i) for i in range(len(plan))]) for e in range(2))
    assert not torch.equal(first, second)
    assert not torch.equal(plan.batch(0), bucketed(lengths, batch_size=32, seed=1).batch(0))
    padded = sum(len(batch) * int(lengths[batch].max()) for batch in (plan.batch(i) for i in range(len(plan))))
    assert padded < 1.2 * int(lengths.sum())
    assert len(plan) < 1.3 * 2000 / 32


def test_bad_lengths() -> None:
    with pytest.raises(DataError, match=r"a\.csv, line 9 has a sequence of length 0"):
        bucketed([3, 0], batch_size=2, where=lambda row: f"a.csv, line {row + 8}")
    with pytest.raises(DataError, match="no sequences"):
        bucketed([], batch_size=2)
    with pytest.raises(InvalidValue, match="got neither"):
        bucketed([1])
    with pytest.raises(InvalidValue, match="batch_tokens must be at least 1, got 0"):
        bucketed([1], batch_tokens=0)
