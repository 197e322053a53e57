"""A small language whose tags are known: determiners, nouns by their ending, verbs, names of places."""

from __future__ import annotations

import random

import pytest

CONLLU_TAIL = "_\t_\t_\t_\t_\t_"


def sentences(count: int, seed: int = 0) -> list[list[tuple[str, str]]]:
    """The same word is a noun after ``the`` and a verb after a noun, so that the most frequent tag is not enough."""
    draw = random.Random(seed)
    found = []
    for _ in range(count):
        stem = "".join(draw.choice("bdgklmn") + draw.choice("aeiou") for _ in range(draw.randint(1, 3)))
        either = draw.choice(["walk", "run", "talk"])
        sentence = [("the", "O"), (stem + "ton", "B-LOC"), ("city", "I-LOC"), (either, "O")]
        found.append(sentence[: draw.randint(1, 4)] + [(either, "B-ACT"), (".", "O")] * draw.randint(0, 2) or sentence)
    return found


def as_conll(some, between: str = " ") -> str:
    """Plain CoNLL."""
    return "".join("".join(f"{word}{between}{tag}\n" for word, tag in sentence) + "\n" for sentence in some)


@pytest.fixture
def conll_file(tmp_path):
    path = tmp_path / "train.conll"
    path.write_text(as_conll(sentences(120)))
    return path


@pytest.fixture
def small():
    """Settings of a network that learns in a moment."""
    from ostinato.tasks.tagging.settings import TagSettings

    return TagSettings(hidden_size=16, word_size=8, character_size=8, batch_size=200, learning_rate=0.02, dropout=0.1)
