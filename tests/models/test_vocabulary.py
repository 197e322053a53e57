"""Characters and bytes, to tokens and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostinato.errors import DataError, InvalidValue
from ostinato.models.vocabulary import ByteVocabulary, CharacterVocabulary, token_dtype

TEXT = st.text(st.characters(codec="utf-8"))


@given(TEXT)
def test_characters_there_and_back(text):
    vocabulary = CharacterVocabulary.of(text)
    assert "".join(vocabulary.decode(vocabulary.encode(text))) == text
    assert vocabulary.unknown not in vocabulary.encode(text)


@given(TEXT)
def test_bytes_there_and_back(text):
    assert "".join(ByteVocabulary().decode(ByteVocabulary().encode(text))) == text


@given(st.lists(st.integers(0, 255)))
def test_any_bytes_decode_as_python_decodes_them(tokens):
    assert "".join(ByteVocabulary().decode(tokens)) == bytes(tokens).decode("utf-8", "replace")


def test_a_character_comes_as_soon_as_its_last_byte_has():
    def bytes_one_by_one():
        for byte in "é!".encode():
            given.append(byte)
            yield byte

    given: list[int] = []
    pieces = ByteVocabulary().decode(bytes_one_by_one())
    assert next(pieces) == "é"
    assert len(given) == 2


def test_table_is_encode_for_all_of_unicode():
    vocabulary = CharacterVocabulary.of("héλ漢😀\n")
    text = "héλ漢😀\n xyz\U0010ffff"
    assert [int(vocabulary.table[ord(c)]) for c in text] == vocabulary.encode(text)


def test_an_unknown_prompt_names_its_characters():
    vocabulary = CharacterVocabulary.of("abc")
    with pytest.raises(DataError, match=r"'é' \(U\+00E9\).*--tokens byte"):
        vocabulary.encode_prompt("aé")
    assert vocabulary.encode_prompt("cab") == [2, 0, 1]


@pytest.mark.parametrize("alphabet", ["ba", "aab"])
def test_alphabets_are_sorted_and_without_repeats(alphabet):
    with pytest.raises(InvalidValue, match="sorted and without repeats"):
        CharacterVocabulary(alphabet)


def test_dtypes_hold_the_unknown_token():
    assert token_dtype(CharacterVocabulary.of(map(chr, range(255))).size) == "uint8"
    assert token_dtype(CharacterVocabulary.of(map(chr, range(256))).size) == "uint16"
    assert token_dtype((1 << 16) + 1) == "uint32"
