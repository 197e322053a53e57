"""A text file as two runs of tokens, one to learn from and one to check with, mapped from disk.

The file is read once; its tokens go to a cache, and from then on a start costs nothing. Tokens are mapped, not
loaded, and the pages that were read are given back now and then: memory does not grow with the file.
"""

from __future__ import annotations

import hashlib
import mmap
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from ostinato.errors import DataError
from ostinato.models.needs import need
from ostinato.models.reader import Reader
from ostinato.models.text_file import code_points, existing_file, pieces, token_pieces
from ostinato.models.vocabulary import (
    ByteVocabulary,
    CharacterVocabulary,
    Vocabulary,
    token_dtype,
    vocabulary_from_content,
)
from ostinato.tasks.language_modelling.line_tokens import cut_of, tokenise_lines, validation_pieces
from ostinato.tasks.language_modelling.token_cache import CachedTokens, cached_tokens


@dataclass(frozen=True)
class Corpus:
    """The tokens of a file and how they are divided.

    Args:
        path: the text file.
        vocabulary: made from the training part alone.
        training: (N,) tokens, a numpy array over the mapped file.
        validation: (M,) tokens of the last part.
        fingerprint: a hash of the file's bytes, to tell on resuming whether it is the same text.
        pages: the map, or None where the tokens lie in memory.
        unknown_in_training: how many training tokens stand for words that were too rare to be known.
    """

    path: Path
    vocabulary: Vocabulary
    training: Any
    validation: Any
    fingerprint: str
    pages: mmap.mmap | None = None
    unknown_in_training: int = 0

    def give_back(self) -> None:
        """Lets the system drop the pages read so far; they are read from disk again when needed."""
        if self.pages is not None and hasattr(mmap, "MADV_DONTNEED"):
            self.pages.madvise(mmap.MADV_DONTNEED)

    def unknown_in_validation(self) -> int:
        """How many validation tokens stand for what the vocabulary does not know."""
        unknown = self.vocabulary.unknown
        if unknown is None:
            return 0
        step = 1 << 24
        return sum(int((self.validation[i : i + step] == unknown).sum()) for i in range(0, len(self.validation), step))


def open_corpus(
    path: Path,
    tokens: str,
    validation_fraction: float,
    sequence_length: int,
    *,
    vocabulary_size: int | None = None,
    least_count: int | None = None,
) -> Corpus:
    """The corpus of a text file, from the cache where it has been read before.

    Args:
        path: a text file; UTF-8, or for bytes anything. Line ends are left as they are.
        tokens: ``"char"``, ``"byte"``, ``"word"`` or ``"bpe"``.
        validation_fraction: the last part of the file, which is not learnt from.
        sequence_length: what the training part must at least hold, and one token more.
        vocabulary_size: at most so many words, or subwords.
        least_count: words that occur less often are unknown.

    Raises:
        DataError: no such file, a directory, empty, not UTF-8, too short, or nothing to learn in it.
        InvalidValue: fewer subwords than bytes.
    """
    path = existing_file(path).resolve()
    recipe, tokenise = f"{tokens} {validation_fraction!r}", partial(_tokenise, path, tokens, validation_fraction)
    if tokens in ("word", "bpe"):
        recipe += f" {vocabulary_size} {least_count}"
        tokenise = partial(_tokenise_lines, path, tokens, validation_fraction, vocabulary_size, least_count)
    found = cached_tokens(path, recipe, tokenise)
    vocabulary = _vocabulary(found, path)
    cut = found.facts["training_tokens"]
    _check_length(path, found.facts["tokens"], cut, validation_fraction, sequence_length, vocabulary.unit)
    _check_variety(path, found, "word" if tokens == "word" else "character")
    values, pages = _map(found, token_dtype(vocabulary.size))
    unknown = found.facts.get("unknown_in_training", 0)
    return Corpus(path, vocabulary, values[:cut], values[cut:], found.facts["fingerprint"], pages, unknown)


def _tokenise(path: Path, tokens: str, validation_fraction: float) -> tuple[dict[str, Any], Any]:
    """What is known of the file, and its tokens as an iterator of arrays."""
    if tokens == "byte":
        total = path.stat().st_size
        cut = total - _validation_size(total, validation_fraction)
        distinct = len(set().union(*map(set, pieces(path))))
        vocabulary: Vocabulary = ByteVocabulary()
        alphabet = None
    else:
        total, first_seen = _survey(path)
        cut = total - _validation_size(total, validation_fraction)
        vocabulary = CharacterVocabulary.of(c for c, position in first_seen.items() if position < cut)
        distinct, alphabet = len(vocabulary.alphabet), vocabulary.alphabet
    facts = {"tokens": total, "training_tokens": cut, "alphabet": alphabet, "distinct": distinct}
    return _with_size(facts, path, vocabulary), token_pieces(path, vocabulary)


def _tokenise_lines(
    path: Path, tokens: str, validation_fraction: float, vocabulary_size: int | None, least_count: int | None
) -> tuple[dict[str, Any], Any]:
    """The same for words and subwords."""
    cut = cut_of(path, validation_fraction)
    facts, vocabulary, arrays = tokenise_lines(path, tokens, cut, vocabulary_size, least_count)
    return _with_size(facts, path, vocabulary), arrays


def _with_size(facts: dict[str, Any], path: Path, vocabulary: Vocabulary) -> dict[str, Any]:
    width = int(need("numpy").dtype(token_dtype(vocabulary.size)).itemsize)
    return {**facts, "fingerprint": _fingerprint(path), "bytes": facts["tokens"] * width}


def _validation_size(total: int, fraction: float) -> int:
    return round(total * fraction)


def _fingerprint(path: Path) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for piece in pieces(path):
        digest.update(piece)
    return digest.hexdigest()


def _survey(path: Path) -> tuple[int, dict[str, int]]:
    """How many characters the file has, and where each one occurs first."""
    numpy = need("numpy")
    seen = numpy.zeros(0x110000, dtype=bool)
    first: dict[str, int] = {}
    total = 0
    for points in code_points(path):
        here = numpy.zeros_like(seen)
        here[points] = True
        for point in numpy.flatnonzero(here & ~seen):
            first[chr(point)] = total + int((points == point).argmax())
        seen |= here
        total += len(points)
    return total, first


def _vocabulary(found: CachedTokens, path: Path) -> Vocabulary:
    if content := found.facts.get("vocabulary"):
        return vocabulary_from_content(content, Reader(path))
    alphabet = found.facts["alphabet"]
    return ByteVocabulary() if alphabet is None else CharacterVocabulary(alphabet)


def _check_length(path: Path, total: int, cut: int, fraction: float, sequence_length: int, unit: str) -> None:
    if _long_enough(total, total - cut, sequence_length):
        return
    first = max(sequence_length, int(1 / fraction))
    needed = next(n for n in count(first) if _long_enough(n, _validation_size(n, fraction), sequence_length))
    raise DataError(
        f"{path} is shorter than one sequence: {total:,} {unit}s, of which {cut:,} are for training and "
        f"{total - cut:,} for validation; --sequence-length {sequence_length} needs {needed:,} in all. "
        f"Give a longer text or a smaller --sequence-length"
    )


def _long_enough(total: int, validation: int, sequence_length: int) -> bool:
    return total - validation > sequence_length and validation >= 2


def _check_variety(path: Path, found: CachedTokens, unit: str) -> None:
    if found.facts["distinct"] < 2:
        raise DataError(f"{path} repeats a single {unit} in its training part: there is nothing to learn")


def _map(found: CachedTokens, dtype: str) -> tuple[Any, mmap.mmap]:
    pages = mmap.mmap(found.file.fileno(), found.facts["bytes"], access=mmap.ACCESS_READ)
    found.file.close()
    return need("numpy").frombuffer(pages, dtype=dtype), pages


def validation_part(path: Path, vocabulary: Vocabulary, fraction: float, limit: int) -> Any:
    """(M,) the tokens that a run validated with, of a file and under a model's vocabulary.

    Args:
        path: the file the run learnt from.
        vocabulary: of the model.
        fraction, limit: of the run, as ``config.json`` says.

    Raises:
        DataError: no such file, empty, not UTF-8, or shorter than two tokens.
    """
    numpy = need("numpy")
    path = existing_file(path)
    kept: list[Any] = []
    position = start = 0
    if vocabulary.by_line:
        found = validation_pieces(path, vocabulary, fraction)
    else:
        found = token_pieces(path, vocabulary)
        whole = isinstance(vocabulary, ByteVocabulary)
        total = path.stat().st_size if whole else sum(len(points) for points in code_points(path))
        start = total - _validation_size(total, fraction)
    for piece in found:
        kept.append(piece[max(0, start - position) : max(0, start + limit - position)])
        position += len(piece)
        if position >= start + limit:
            break
    return numpy.concatenate(kept)
