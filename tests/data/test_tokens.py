"""Vocabularies: there and back, through JSON, and nothing believed of a hostile folder."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ostinato.data.tokens import Subwords, build_tokens, tokens_from_json, words
from ostinato.data.vocabulary import HashingVocabulary, Vocabulary, vocabulary_from_json
from ostinato.errors import InvalidValue, ModelFolderError

TEXT = st.text(st.characters(codec="utf-8"))


def through_json(value: object) -> object:
    return json.loads(json.dumps(value))


@given(st.lists(TEXT, min_size=1), st.lists(TEXT))
def test_known_tokens_come_back(tokens: list[str], others: list[str]) -> None:
    vocabulary = Vocabulary.build(tokens, specials=("<end>",))
    again = vocabulary_from_json(through_json(vocabulary.to_json()), "x")
    assert again == vocabulary
    assert again.decode(again.encode(tokens)) == tokens
    assert again.count_unknown(others) == sum(one not in set(tokens) for one in others)
    assert all(number < again.size for number in again.encode([*tokens, *others]))


def test_bounds_and_order() -> None:
    counts = {"a": 3, "b": 3, "c": 1, "d": 9}
    assert Vocabulary.build(counts, least=2, most=2).tokens == ("d", "a")
    marked = Vocabulary.build(counts, specials=("d",))
    assert (marked.special("d"), marked.encode(["d"])) == (1, [0]), "a mark is not to be had from a text"
    with pytest.raises(InvalidValue, match="at least 1, got 0"):
        Vocabulary.build(counts, least=0)
    with pytest.raises(InvalidValue, match="'a' twice"):
        Vocabulary(("a", "a"))


def test_the_hash_is_the_same_in_every_process() -> None:
    """These numbers stand in models' weights: they were computed by ``b2sum -l 64`` and may never change."""
    assert HashingVocabulary(10**6).encode(["cat", "é", ""]) == [861939, 669963, 838756]
    assert vocabulary_from_json({"kind": "hashing", "buckets": 7}, "x") == HashingVocabulary(7)


@settings(deadline=None, max_examples=30)
@given(st.sampled_from(["characters", "words", "subwords"]), st.lists(TEXT, min_size=1, max_size=5))
def test_texts_come_back(kind: str, texts: list[str]) -> None:
    tokens = build_tokens(texts, kind, most=None if kind != "subwords" else 300)
    again = tokens_from_json(through_json(tokens.to_json()), "x")
    for text in texts:
        assert again.encode(text) == tokens.encode(text)
        assert again.count_unknown(text) == 0
        if kind != "words":
            assert again.decode(again.encode(text)) == text
        else:
            assert words(again.decode(again.encode(text))) == words(text)


def test_subwords_are_learnt_the_same_twice_and_know_every_text() -> None:
    texts = ["the cat sat on the mat", "the dog sat"] * 20
    one, other = (Subwords.build(texts, 280) for _ in range(2))
    assert one == other
    assert one.size == 280 - (280 - one.size)
    assert len(one.split("the cat sat")) < len(["the", "cat", "sat"]) + 3
    assert one.decode(one.encode("漢字 \t\n")) == "漢字 \t\n"
    with pytest.raises(InvalidValue, match="from 257"):
        Subwords.build(texts, 100)


def test_options_that_do_not_go_together() -> None:
    with pytest.raises(InvalidValue, match="characters, words or subwords, got 'bytes'"):
        build_tokens(["a"], "bytes")  # type: ignore[arg-type]
    with pytest.raises(InvalidValue, match="a hash is for characters or words"):
        build_tokens(["a"], "subwords", hashed=5)
    hashed = build_tokens(["a"], "words", hashed=5)
    with pytest.raises(InvalidValue, match="no way back"):
        hashed.decode([1])


GOOD = Subwords.build(["low lower"] * 5, 259).to_json()
HOSTILE = [
    None,
    [],
    {},
    {"tokens": "words"},
    {"tokens": "words", "vocabulary": {"kind": "known", "tokens": [1], "specials": 0}},
    {"tokens": "words", "vocabulary": {"kind": "known", "tokens": ["a", "a"], "specials": 0}},
    {"tokens": "words", "vocabulary": {"kind": "known", "tokens": ["a"], "specials": 2}},
    {"tokens": "words", "vocabulary": {"kind": "known", "tokens": ["a"], "specials": True}},
    {"tokens": "words", "vocabulary": {"kind": "known", "tokens": ["a" * 70_000], "specials": 0}},
    {"tokens": "words", "vocabulary": {"kind": "hashing", "buckets": 10**12}},
    {"tokens": "words", "vocabulary": {"kind": "hashing", "buckets": 0}},
    {**GOOD, "pieces": GOOD["pieces"][5:]},
    {**GOOD, "pieces": GOOD["pieces"] * 2},
    {**GOOD, "merges": [["q", "z"]]},
    {**GOOD, "merges": [["q"]]},
    {**GOOD, "merges": "ab"},
]


@pytest.mark.parametrize("content", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_folder(content: object) -> None:
    with pytest.raises(ModelFolderError, match="folder/x"):
        tokens_from_json(content, "folder/x")
