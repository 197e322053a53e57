"""Parts: none share a row or an input, whatever the rows are."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ostinato.data.parts import Parts
from ostinato.data.split import (
    hold_out,
    key_of,
    overlap,
    overlap_note,
    split_by_column,
    split_by_file,
    split_in_time,
    split_rows,
)
from ostinato.errors import DataError, InvalidValue


def sets(parts: Parts) -> list[set[int]]:
    return [set(part.tolist()) for part in (parts.training, parts.validation, parts.test)]


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_every_row_is_in_one_part_and_equal_keys_in_the_same(data: st.DataObject) -> None:
    count = data.draw(st.integers(3, 60))
    keys = data.draw(st.lists(st.integers(0, 40), min_size=count, max_size=count))
    groups = data.draw(st.none() | st.lists(st.integers(0, 30), min_size=count, max_size=count))
    strata = data.draw(st.none() | st.lists(st.integers(0, 4), min_size=count, max_size=count))
    options = {"seed": data.draw(st.integers(0, 5)), "keys": keys, "groups": groups, "strata": strata}
    try:
        parts = split_rows(count, **options)
    except DataError:
        assume(False)
    own = sets(parts)
    assert sorted(row for part in own for row in part) == list(range(count))
    assert all(own), "no part is empty"
    for values in (keys, groups):
        if values is not None:
            seen = [{values[row] for row in part} for part in own]
            assert not (seen[0] & seen[1] | seen[0] & seen[2] | seen[1] & seen[2])
    again = split_rows(count, **options)
    assert parts.to_json() == again.to_json()
    repeated = [n for n in Counter(keys).values() if n > 1]
    assert bool(parts.notes) == bool(repeated)
    assert not repeated or parts.notes[0].startswith(f"{sum(repeated)} rows repeat an input")


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(1, 40), min_size=2, max_size=8), st.integers(0, 3))
def test_classes_are_divided_by_the_fractions(sizes: list[int], seed: int) -> None:
    strata = [index for index, size in enumerate(sizes) for _ in range(size)]
    assume(len(strata) >= 3 and max(sizes) >= 3)
    parts = split_rows(len(strata), fractions=(0.6, 0.2, 0.2), seed=seed, strata=strata)
    for index, size in enumerate(sizes):
        counts = [sum(strata[row] == index for row in part) for part in sets(parts)]
        if size >= 3:
            assert min(counts) >= 1, "in every part"
        assert abs(counts[0] - 0.6 * size) <= 1.2


def test_another_seed_is_another_cut() -> None:
    cuts = {split_rows(50, seed=seed).to_json()["digest"] for seed in range(5)}
    assert len(cuts) == 5


def test_bad_fractions_and_few_rows() -> None:
    with pytest.raises(InvalidValue, match="add up to 1"):
        split_rows(10, fractions=(0.5, 0.1, 0.1), seed=0)
    with pytest.raises(InvalidValue, match="training must be above 0"):
        split_rows(10, fractions=(0.0, 0.5, 0.5), seed=0)
    with pytest.raises(InvalidValue, match="strata must be one for each of 10 rows, got 3"):
        split_rows(10, seed=0, strata=[1, 2, 3])
    with pytest.raises(DataError, match="3 parts need at least 3 different rows, got 2"):
        split_rows(10, seed=0, keys=[1] * 5 + [2] * 5)
    with pytest.raises(DataError, match="3 parts need at least 3 groups, got 1"):
        split_rows(10, seed=0, groups=[1] * 10)


def test_in_time() -> None:
    parts = split_in_time(100, (0.6, 0.2, 0.2))
    assert [part.tolist()[::19] for part in (parts.training, parts.validation, parts.test)] == [
        [0, 19, 38, 57], [60, 79], [80, 99],
    ]  # fmt: skip
    with pytest.raises(DataError, match=r"2 rows are too few for a validation part of 0\.1"):
        split_in_time(2, (0.8, 0.1, 0.1))


def test_by_column_with_the_usual_words() -> None:
    parts = split_by_column(["train", "Dev", "TEST", "trn"], "part", str)
    assert sets(parts) == [{0, 3}, {1}, {2}]
    with pytest.raises(DataError, match="line 2: part must be train, validation or test, got 'tset'"):
        split_by_column(["train", "tset"], "part", lambda row: f"line {row + 1}")
    with pytest.raises(DataError, match="'part' names no row for training"):
        split_by_column(["test"], "part", str)


def test_by_file_and_a_validation_part_cut_out() -> None:
    parts = split_by_file([range(20), range(20, 25)], ["training", "test"], ["a.csv", "b.csv"])
    assert sets(parts) == [set(range(20)), set(), set(range(20, 25))]
    strata = [row % 2 for row in range(25)]
    whole = hold_out(parts, 0.2, seed=1, strata=strata)
    training, validation, test = sets(whole)
    assert (len(training), len(validation), test) == (16, 4, set(range(20, 25)))
    assert training | validation == set(range(20))
    assert sum(strata[row] for row in validation) == 2
    assert hold_out(whole, 0.5, seed=3) is whole
    assert whole.to_json()["files"] == {"a.csv": "training", "b.csv": "test"}


def test_rows_in_two_parts_are_counted() -> None:
    parts = split_by_file([range(3), range(3, 6)], ["training", "test"], ["a", "b"])
    assert overlap("abc", "bbz") == 2
    assert overlap_note(parts, "abcbbz")[0].startswith("2 of 3 test rows have an input that is learnt from too")
    assert overlap_note(parts, "abcxyz") == ()
    assert key_of(torch.ones(2, 3)) == key_of(torch.ones(2, 3)) != key_of(torch.ones(3, 2))


def test_repeated_inputs_are_in_every_part_by_its_share() -> None:
    keys = [f"twice {n // 2}" for n in range(400)] + [f"once {n}" for n in range(1600)]
    parts = split_rows(2000, fractions=(0.7, 0.1, 0.2), seed=0, keys=keys)
    shares = [int((part < 400).sum()) for part in (parts.training, parts.validation, parts.test)]
    assert shares == [280, 40, 80]
    assert [len(part) for part in (parts.training, parts.validation, parts.test)] == [1400, 200, 400]
