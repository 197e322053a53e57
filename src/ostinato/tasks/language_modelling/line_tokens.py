"""Words and subwords of a file: counted or learnt in the training part, line by line, so that any file fits.

The parts are cut at a character, the same one whatever the tokens are: models of characters, words and subwords are
checked with the same text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, cast

from ostinato.data.tokens import Subwords
from ostinato.errors import DataError, InvalidValue
from ostinato.models.subword_vocabulary import SubwordVocabulary
from ostinato.models.text_file import line_tokens, texts
from ostinato.models.text_lines import lines, part
from ostinato.models.vocabulary import LineVocabulary, Vocabulary
from ostinato.models.word_vocabulary import WordVocabulary, split

LEAST_COUNT, MOST_WORDS, SUBWORDS = 2, 20_000, 8_000
"""What is kept where nobody says it."""


def cut_of(path: Path, validation_fraction: float) -> int:
    """The character at which the validation part begins.

    Raises:
        DataError: the file is not UTF-8.
    """
    total = sum(map(len, texts(path)))
    return total - round(total * validation_fraction)


def tokenise_lines(
    path: Path, tokens: str, cut: int, vocabulary_size: int | None, least_count: int | None
) -> tuple[dict[str, Any], LineVocabulary, Iterator[Any]]:
    """What is known of the file, its vocabulary, and its tokens as an iterator of arrays.

    Args:
        path: a UTF-8 file.
        tokens: ``"word"`` or ``"bpe"``.
        cut: the character at which the validation part begins.
        vocabulary_size: at most so many words, or subwords.
        least_count: words that occur less often are unknown.

    Raises:
        DataError: no word occurs often enough.
        InvalidValue: fewer subwords than bytes.
    """
    if tokens == "word":
        facts, vocabulary = _words(path, cut, vocabulary_size or MOST_WORDS, least_count or LEAST_COUNT)
    else:
        facts, vocabulary = _subwords(path, cut, vocabulary_size or SUBWORDS)
    facts["vocabulary"] = vocabulary.content()
    pieces = (line_tokens(part(texts(path), *ends), vocabulary) for ends in ((0, cut), (cut, None)))
    return facts, vocabulary, chain.from_iterable(pieces)


def _words(path: Path, cut: int, most: int, least: int) -> tuple[dict[str, Any], LineVocabulary]:
    counts: Counter[str] = Counter()
    for line in lines(part(texts(path), 0, cut)):
        counts.update(split(line))
    vocabulary = WordVocabulary.of(counts, least, most)
    if not vocabulary.known.tokens:
        raise DataError(f"no word of {path} occurs {least} times in the training part; give a smaller --least-count")
    training = counts.total()
    checking = sum(len(split(line)) for line in lines(part(texts(path), cut)))
    known = sum(counts[word] for word in vocabulary.known.tokens)
    return {
        "tokens": training + checking,
        "training_tokens": training,
        "distinct": len(counts),
        "unknown_in_training": training - known,
    }, vocabulary


def _subwords(path: Path, cut: int, size: int) -> tuple[dict[str, Any], LineVocabulary]:
    try:
        vocabulary = SubwordVocabulary(Subwords.build(lines(part(texts(path), 0, cut)), size))
    except InvalidValue as error:
        raise InvalidValue(f"{error}; give another --vocabulary-size") from error
    training, checking, seen = 0, 0, set[int]()
    for piece in line_tokens(part(texts(path), 0, cut), vocabulary):
        training += len(piece)
        seen.update(piece.tolist())
    for piece in line_tokens(part(texts(path), cut), vocabulary):
        checking += len(piece)
    return {
        "tokens": training + checking,
        "training_tokens": training,
        "distinct": len(seen),
        "unknown_in_training": 0,
    }, vocabulary


def validation_pieces(path: Path, vocabulary: Vocabulary, fraction: float) -> Iterator[Any]:
    """The tokens of the validation part, as numpy arrays."""
    rest = part(texts(path), cut_of(path, fraction))
    return line_tokens(rest, cast(LineVocabulary, vocabulary))


def validation_characters(path: Path, vocabulary: Vocabulary, fraction: float, limit: int) -> int | None:
    """How many characters the first ``limit`` tokens of the validation part are; None where a token is one.

    Raises:
        DataError: the file is not UTF-8.
    """
    if not vocabulary.by_line:
        return None
    return _covered(lines(part(texts(path), cut_of(path, fraction))), cast(LineVocabulary, vocabulary), limit)


def _covered(each: Iterable[str], vocabulary: LineVocabulary, limit: int) -> int:
    characters = 0
    for line in each:
        count = len(vocabulary.encode_lines([line]))
        if count > limit:
            return characters + vocabulary.covered(line, limit)
        characters += len(line)
        limit -= count
    return characters
