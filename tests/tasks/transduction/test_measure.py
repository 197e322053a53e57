"""The figures against plain definitions and other libraries'."""

from __future__ import annotations

import random

import pytest

from ostinato.errors import InvalidValue
from ostinato.tasks.transduction.baseline import baselines
from ostinato.tasks.transduction.edits import edit_distance
from ostinato.tasks.transduction.measure import bleu, measure

WORDS = ["a", "b", "c", "the", "cat", "sat", "on", "mat", ".", ",", "dog", "狗", "ran"]


def texts(count: int, seed: int) -> list[str]:
    draw = random.Random(seed)
    return [" ".join(draw.choices(WORDS, k=draw.randint(1, 30))) for _ in range(count)]


def plain_distance(one: str, other: str) -> int:
    """Levenshtein's table, row by row."""
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        before, row[0] = row[0], i
        for j, b in enumerate(other, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (a != b))
    return row[-1]


def test_edit_distance():
    draw = random.Random(0)
    for _ in range(300):
        one, other = ("".join(draw.choices("abc", k=draw.randint(0, 12))) for _ in range(2))
        assert edit_distance(one, other) == plain_distance(one, other), (one, other)
    for one, other in zip(texts(10, 1), texts(10, 2), strict=True):
        assert edit_distance(one, other) == plain_distance(one, other)


def test_character_error_rate_is_torchmetrics():
    text = pytest.importorskip("torchmetrics.functional.text")
    written, right = texts(20, 3), texts(20, 4)
    expected = float(text.char_error_rate(written, right))
    assert measure(written, right, list)["character_error_rate"] == pytest.approx(expected, abs=1e-6)


def test_token_accuracy_counts_places_and_the_end():
    cut = str.split
    assert measure(["a b"], ["a b c"], cut)["token_accuracy"] == 2 / 4
    assert measure(["a b c d"], ["a b c"], cut)["token_accuracy"] == 3 / 4
    assert measure(["b a"], ["a b"], cut)["token_accuracy"] == 1 / 3
    assert measure([""], ["a"], cut)["token_accuracy"] == 0


def test_bleu_is_torchmetrics():
    text = pytest.importorskip("torchmetrics.functional.text")
    right = texts(20, 5)
    written = [one if n % 3 else one.replace("cat", "dog") + " sat" for n, one in enumerate(right)]
    words = float(text.bleu_score(written, [[one] for one in right]))
    assert 50 < 100 * words < 99
    assert bleu(written, right, of_characters=False) == pytest.approx(100 * words, abs=1e-3)
    spelt = [[" ".join(one.replace(" ", "")) for one in some] for some in (written, right)]
    characters = float(text.bleu_score(spelt[0], [[one] for one in spelt[1]]))
    assert bleu(*([one.replace(" ", "") for one in some] for some in (written, right)), of_characters=True) == (
        pytest.approx(100 * characters, abs=1e-3)
    )


def test_nothing_to_measure():
    with pytest.raises(InvalidValue, match="at least one text"):
        measure([], [], list)


def test_the_most_frequent_target_does_not_depend_on_the_order():
    for order in (["b", "a", "a", "b"], ["a", "b", "b", "a"]):
        assert baselines(order)["most frequent target"]("z") == "a"
    assert baselines(["a"])["copy of the source"]("z") == "z"
