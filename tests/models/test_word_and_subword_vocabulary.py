"""Words and byte pairs: there and back, against Python's own reading, and nothing of a stranger's folder believed."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ostinato.data.tokens import Subwords
from ostinato.errors import DataError, InvalidValue, ModelFolderError
from ostinato.models import text_lines
from ostinato.models.reader import Reader
from ostinato.models.subword_vocabulary import SubwordVocabulary
from ostinato.models.text_lines import lines, part
from ostinato.models.vocabulary import vocabulary_from_content
from ostinato.models.word_vocabulary import WordVocabulary, split

TEXT = st.text(st.characters(codec="utf-8"))
READ = Reader(Path("config.json"))
SENTENCES = ["The cat's hat — (a hat, no less!) fell.\n", "Der Fuß, 漢字 😀 and the cat.\n", "\n"] * 8
SUBWORDS = SubwordVocabulary(Subwords.build(SENTENCES, 300))


def words_of(*texts: str) -> WordVocabulary:
    return WordVocabulary.of(Counter(word for text in texts for line in lines([text]) for word in split(line)), 1, None)


@given(TEXT, st.integers(1, 9), st.integers(1, 9))
def test_lines_do_not_depend_on_the_pieces(text, size, longest):
    pieces = [text[i : i + size] for i in range(0, len(text), size)]
    found = list(lines(pieces))
    assert "".join(found) == text
    assert found == re.findall(r"[^\n]*\n|[^\n]+", text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_lines, "LONGEST", longest)
        assert list(lines(pieces)) == list(lines([text]))
        assert max(map(len, lines(pieces)), default=0) <= longest


@given(TEXT, st.integers(1, 5), st.integers(0, 20), st.integers(0, 20))
def test_a_part_is_a_slice(text, size, start, stop):
    pieces = [text[i : i + size] for i in range(0, len(text), size)]
    assert "".join(part(pieces, start, stop)) == text[start : max(start, stop)]
    assert "".join(part(pieces, start)) == text[start:]


@given(TEXT)
def test_what_words_are_written_as_is_read_as_the_same_words(text):
    tokens = [word for line in lines([text]) for word in split(line)]
    if not tokens:
        return
    vocabulary = words_of(text)
    numbers = vocabulary.encode(text)
    assert len(numbers) == len(tokens)
    assert 0 not in numbers
    assert vocabulary.encode("".join(vocabulary.decode(numbers))) == numbers


def test_spaces_between_words():
    text = "The cat's hat (a hat, no less!) fell.\nThen: nothing."
    vocabulary = words_of(text)
    assert "".join(vocabulary.decode(vocabulary.encode(text))) == text
    hat = vocabulary.encode("hat, hat")
    assert "".join(vocabulary.decode(hat, after="The")) == " hat, hat"
    assert "".join(vocabulary.decode(hat, after="The ")) == "hat, hat"
    assert "".join(vocabulary.decode(hat, after="(")) == "hat, hat"
    assert next(vocabulary.decode([0])) == "\N{REPLACEMENT CHARACTER}"


def test_rare_words_are_unknown():
    vocabulary = WordVocabulary.of(Counter(["a", "a", "a", "b", "b", "c", "c", "d"]), least=2, most=2)
    assert vocabulary.encode("a b c d\n") == [1, 2, 0, 0, 0]
    assert vocabulary.start == 1
    with pytest.raises(DataError, match=r"it has 'c', 'd'.*--tokens bpe"):
        vocabulary.encode_prompt("a d c")
    assert words_of("x\n").start == words_of("x\n").encode("\n")[0]


@settings(max_examples=50)
@given(TEXT)
def test_byte_pairs_there_and_back(text):
    assert "".join(SUBWORDS.decode(SUBWORDS.encode(text))) == text


def test_byte_pairs_decode_as_tokenizers_does():
    """Every single byte and every learnt piece, and all of them in a row."""
    for token in range(SUBWORDS.size):
        assert "".join(SUBWORDS.decode([token])) == SUBWORDS.subwords.decode([token])
    text = "".join(SENTENCES) + "été"
    assert SUBWORDS.subwords.decode(SUBWORDS.encode(text)) == text
    assert len(SUBWORDS.encode(text)) < 0.7 * len(text.encode())


@pytest.mark.parametrize("vocabulary", [SUBWORDS, words_of(*SENTENCES)], ids=["bpe", "word"])
def test_characters_that_tokens_cover(vocabulary):
    for line in SENTENCES[:3]:
        tokens = vocabulary.encode_lines([line])
        reach = [vocabulary.covered(line, count) for count in range(len(tokens) + 1)]
        assert reach[0] == 0
        assert reach[-1] == len(line)
        assert reach == sorted(reach)
    line = "The cat's hat\n"
    spelt = [line[: vocabulary.covered(line, count)] for count in range(len(vocabulary.encode(line)) + 1)]
    if vocabulary is SUBWORDS:
        assert spelt == ["".join(vocabulary.decode(vocabulary.encode(line)[:count])) for count in range(len(spelt))]
    else:
        assert spelt == ["", "The", "The cat's", "The cat's hat", line]


@pytest.mark.parametrize("vocabulary", [SUBWORDS, words_of(*SENTENCES)], ids=["bpe", "word"])
def test_json_there_and_back(vocabulary):
    again = vocabulary_from_content(json.loads(json.dumps(vocabulary.content())), READ)
    assert again == vocabulary


def broken(vocabulary, **changes):
    """The vocabulary's JSON with entries of its inner table replaced."""
    content = json.loads(json.dumps(vocabulary.content()))
    inner = next(name for name in content if name != "kind")
    content[inner] |= changes
    return content


PIECES = list(SUBWORDS.subwords.pieces)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"kind": "word"}, "tokens.vocabulary must be an object"),
        ({"kind": "bpe"}, "tokens.subwords must be an object"),
        ({"kind": "bpe", "subwords": {"tokens": "words", "vocabulary": {"kind": "hashing", "buckets": 3}}}, "subwords"),
        (broken(words_of("a b"), kind="hashing", buckets=5), "known words"),
        (broken(words_of("a b"), tokens=[]), "known words"),
        (broken(words_of("a b"), specials=1), "no marks"),
        (broken(words_of("a b"), tokens=["a", "a"]), "all different"),
        (broken(words_of("a b"), tokens=["a", 3]), "must hold texts"),
        (broken(words_of("a b"), tokens=["a" * 100_000]), "at most 65,536 characters"),
        (broken(SUBWORDS, pieces=PIECES[:-1] + PIECES[:1]), "all different"),
        (broken(SUBWORDS, pieces=PIECES[1:], merges=[]), "every byte"),
        (broken(SUBWORDS, pieces=[*PIECES, "漢"]), "alphabet of bytes, got '漢'"),
        (broken(SUBWORDS, pieces=[*PIECES, ""]), "alphabet of bytes"),
        (broken(SUBWORDS, merges=[["a", "b", "c"]]), "pairs of texts"),
        (broken(SUBWORDS, merges=[["q", "Q"]]), "known pieces into known pieces"),
        (broken(SUBWORDS, merges="ab"), "merges must be a list"),
    ],
)
def test_entries_that_are_not_believed(content, message):
    with pytest.raises(ModelFolderError, match=message):
        vocabulary_from_content(content, READ)


def test_too_few_byte_pairs():
    with pytest.raises(InvalidValue, match="from 257"):
        Subwords.build(["text"], 256)
