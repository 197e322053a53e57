"""A file as tokens: against Python's own reading of the text, at every awkward place."""

from __future__ import annotations

import os

import numpy
import pytest

from ostinato.errors import DataError
from ostinato.models import text_file
from ostinato.models.vocabulary import CharacterVocabulary
from ostinato.tasks.language_modelling import token_cache
from ostinato.tasks.language_modelling.corpus import open_corpus, validation_part

TEXT = "Der Fuß, the café — 漢字 😀\r\nand a tab\t.\n" * 40


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("OSTINATO_CACHE", str(folder))
    return folder


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "text.txt"
    path.write_bytes(TEXT.encode())
    return path


def read(corpus) -> str:
    return "".join(corpus.vocabulary.decode([*corpus.training.tolist(), *corpus.validation.tolist()]))


@pytest.mark.parametrize("piece", [1, 2, 3, 7, 1 << 22])
def test_pieces_of_any_size_give_the_text(file, monkeypatch, piece):
    monkeypatch.setattr(text_file, "PIECE", piece)
    corpus = open_corpus(file, "char", 0.1, 10)
    assert read(corpus) == TEXT
    assert len(corpus.validation) == round(0.1 * len(TEXT))
    assert corpus.vocabulary == CharacterVocabulary.of(TEXT)


def test_bytes_are_the_file(file):
    corpus = open_corpus(file, "byte", 0.25, 10)
    assert bytes([*corpus.training.tolist(), *corpus.validation.tolist()]) == TEXT.encode()


def test_the_alphabet_is_that_of_the_training_part(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("ab" * 450 + "abXYX" * 20)
    corpus = open_corpus(path, "char", 0.1, 10)
    assert corpus.vocabulary.alphabet == "ab"
    assert corpus.unknown_in_validation() == 60
    assert (corpus.validation == corpus.vocabulary.unknown).sum() == 60


def test_large_alphabets_get_wider_tokens(tmp_path):
    path = tmp_path / "text.txt"
    text = "".join(map(chr, range(0x4E00, 0x4E00 + 700))) * 3
    path.write_text(text, encoding="utf-8")
    corpus = open_corpus(path, "char", 0.2, 10)
    assert corpus.training.dtype == numpy.uint16
    assert read(corpus) == text


def test_the_second_time_comes_from_the_cache(file, cache, monkeypatch):
    first = open_corpus(file, "char", 0.1, 10)
    monkeypatch.setattr(text_file, "PIECE", None)  # reading the file would fail
    second = open_corpus(file, "char", 0.1, 10)
    assert numpy.array_equal(first.training, second.training)
    assert (second.vocabulary, second.fingerprint) == (first.vocabulary, first.fingerprint)


def test_a_changed_file_is_read_again_and_its_old_tokens_go(file, cache):
    open_corpus(file, "char", 0.1, 10)
    file.write_text("other text " * 50)
    assert read(open_corpus(file, "char", 0.1, 10)) == "other text " * 50
    assert len(list(cache.glob("*.tokens"))) == 1


def test_half_an_entry_is_no_entry(file, cache):
    open_corpus(file, "char", 0.1, 10)
    for tokens in cache.glob("*.tokens"):
        tokens.write_bytes(tokens.read_bytes()[:-1])
    assert read(open_corpus(file, "char", 0.1, 10)) == TEXT
    for facts in cache.glob("*.json"):
        facts.write_text("{")
    assert read(open_corpus(file, "char", 0.1, 10)) == TEXT


def test_a_disk_without_room_costs_only_the_cache(file, cache, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(token_cache, "replacing", full)
    assert read(open_corpus(file, "char", 0.1, 10)) == TEXT
    assert not cache.exists()
    monkeypatch.setattr(token_cache.tempfile, "TemporaryFile", full)
    with pytest.raises(DataError, match=r"neither .* nor .* has room"):
        open_corpus(file, "char", 0.1, 10)


def test_a_validation_part_is_the_corpus_own(file):
    corpus = open_corpus(file, "char", 0.1, 10)
    assert numpy.array_equal(validation_part(file, corpus.vocabulary, 0.1, 10**9), corpus.validation)
    assert numpy.array_equal(validation_part(file, corpus.vocabulary, 0.1, 17), corpus.validation[:17])


def test_pages_can_be_given_back(file):
    corpus = open_corpus(file, "char", 0.1, 10)
    corpus.give_back()
    assert read(corpus) == TEXT


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"ab" * 4, "shorter than one sequence: 8 characters.*--sequence-length 10 needs 15 in all"),
        (b"a", "shorter than one sequence"),
        (b"a" * 500, "repeats a single character"),
        (b"abc" * 100 + b"\xff" + b"abc" * 100, r"must be UTF-8, and byte 300 \(0xff\) is not.*--tokens byte"),
        (b"abc" * 100 + "é".encode()[:1], r"must be UTF-8, and byte 300 \(0xc3\)"),
    ],
)
@pytest.mark.parametrize("piece", [1, 5, 1 << 22])
def test_files_that_cannot_be_learnt_from(tmp_path, monkeypatch, content, message, piece):
    monkeypatch.setattr(text_file, "PIECE", piece)
    path = tmp_path / "text.txt"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        open_corpus(path, "char", 0.1, 10)


def test_the_length_asked_for_is_the_shortest(tmp_path):
    path = tmp_path / "text.txt"
    for length in range(2, 15):
        path.write_text(("ab" * 20)[:length])
        with pytest.raises(DataError, match="--sequence-length 10 needs 15 in all"):
            open_corpus(path, "char", 0.1, 10)
    path.write_text(("ab" * 20)[:15])
    open_corpus(path, "char", 0.1, 10)


def test_no_file(tmp_path, file):
    with pytest.raises(DataError, match=r"there is no file .*texd.txt; did you mean .*text.txt"):
        open_corpus(tmp_path / "texd.txt", "char", 0.1, 10)
    with pytest.raises(DataError, match="is a directory"):
        open_corpus(tmp_path, "char", 0.1, 10)


@pytest.mark.skipif(os.name == "nt", reason="a colon is no part of a name on Windows")
def test_the_cache_follows_the_platform(monkeypatch, tmp_path):
    monkeypatch.delenv("OSTINATO_CACHE")
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert token_cache.cache_folder() == tmp_path / "ostinato"
