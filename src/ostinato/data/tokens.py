"""A text as characters, words or subwords, and their numbers, from texts of the training part alone."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

from ostinato.data.vocabulary import (
    MOST_TOKENS,
    HashingVocabulary,
    Vocabulary,
    texts_from_json,
    vocabulary_from_json,
)
from ostinato.errors import InvalidValue, ModelFolderError
from ostinato.models.needs import need

WORD = re.compile(r"\w+(?:['’\-]\w+)*|[^\w\s]")

TokenKind = Literal["characters", "words", "subwords"]


def characters(text: str) -> list[str]:
    """Each character; a line end is one.

    >>> characters("naïve")
    ['n', 'a', 'ï', 'v', 'e']
    """
    return list(text)


def words(text: str) -> list[str]:
    """Runs of letters, digits and underscores, joined by single apostrophes and hyphens within; and every other sign
    that is no space, alone. Case is kept.

    >>> words("Don't stop, e-mail me at 7:30!")
    ["Don't", 'stop', ',', 'e-mail', 'me', 'at', '7', ':', '30', '!']
    """
    return WORD.findall(text)


@dataclass(frozen=True)
class SplitTokens:
    """Characters or words of a text, and their numbers.

    >>> tokens = build_tokens(["to be or not", "to be"], "words")
    >>> tokens.encode("to be whole"), tokens.decode([1, 2])
    ([2, 1, 0], 'be to')
    """

    kind: str
    vocabulary: Vocabulary | HashingVocabulary

    @property
    def size(self) -> int:
        """How many numbers there are."""
        return self.vocabulary.size

    def split(self, text: str) -> list[str]:
        """The tokens of a text."""
        return characters(text) if self.kind == "characters" else words(text)

    def encode(self, text: str) -> list[int]:
        """The numbers of a text's tokens."""
        return self.vocabulary.encode(self.split(text))

    def decode(self, numbers: Iterable[int]) -> str:
        """The text of these numbers; words stand apart by one space.

        Raises:
            InvalidValue: the vocabulary is a hash, which has no way back.
        """
        if isinstance(self.vocabulary, HashingVocabulary):
            raise InvalidValue("a hashing vocabulary has no way back from numbers to tokens; use a known one")
        return ("" if self.kind == "characters" else " ").join(self.vocabulary.decode(numbers))

    def count_unknown(self, text: str) -> int:
        """How many tokens of the text are not known."""
        return self.vocabulary.count_unknown(self.split(text))

    def to_json(self) -> dict[str, Any]:
        """What ``tokens_from_json`` reads back."""
        return {"tokens": self.kind, "vocabulary": self.vocabulary.to_json()}


@dataclass(frozen=True)
class Subwords:
    """Byte pairs that were joined most often in training: frequent words are one token, rare ones several, and no
    text is unknown, because every byte is a token.

    R. Sennrich et al., "Neural machine translation of rare words with subword units", 2016. On bytes as in
    A. Radford et al., "Language models are unsupervised multitask learners", 2019.

    Args:
        pieces: the tokens, by number, in the byte alphabet of ``tokenizers``.
        merges: which two pieces are joined, in the order of learning.
    """

    pieces: tuple[str, ...]
    merges: tuple[tuple[str, str], ...]
    kind: ClassVar[str] = "subwords"

    @classmethod
    def build(cls, texts: Iterable[str], size: int) -> Subwords:
        """At most ``size`` tokens, learnt from the texts; at least 257, for there are 256 bytes.

        >>> subwords = Subwords.build(["low lower lowest"] * 10, 260)
        >>> subwords.size, subwords.split("lower"), subwords.decode(subwords.encode("slow été"))
        (260, ['low', 'e', 'r'], 'slow été')
        """
        if not 257 <= size <= MOST_TOKENS:
            raise InvalidValue(f"the number of subwords must be from 257 to {MOST_TOKENS:,}, got {size}")
        tokenizers = need("tokenizers", "tasks")
        tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
        tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
        trainer = tokenizers.trainers.BpeTrainer(
            vocab_size=size,
            initial_alphabet=sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        )
        tokenizer.train_from_iterator(texts, trainer)
        numbers = tokenizer.get_vocab()
        pieces = tuple(sorted(numbers, key=lambda piece: numbers[piece]))
        return cls(pieces, _learnt_merges(tokenizer))

    @cached_property
    def _tokenizer(self) -> Any:
        tokenizers = need("tokenizers", "tasks")
        numbers = {piece: number for number, piece in enumerate(self.pieces)}
        tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(numbers, list(self.merges)))
        tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = tokenizers.decoders.ByteLevel()
        return tokenizer

    @property
    def size(self) -> int:
        """How many numbers there are."""
        return len(self.pieces)

    def split(self, text: str) -> list[str]:
        """The pieces of a text, in the byte alphabet (a space is Ġ)."""
        return list(self._tokenizer.encode(text).tokens)

    def encode(self, text: str) -> list[int]:
        """The numbers of a text's pieces."""
        return list(self._tokenizer.encode(text).ids)

    def decode(self, numbers: Iterable[int]) -> str:
        """The text of these numbers; bytes that are not UTF-8 become U+FFFD."""
        return str(self._tokenizer.decode(list(numbers)))

    def count_unknown(self, text: str) -> int:
        """None is: 0."""
        return 0

    def to_json(self) -> dict[str, Any]:
        """What ``tokens_from_json`` reads back."""
        return {"tokens": self.kind, "pieces": list(self.pieces), "merges": [list(pair) for pair in self.merges]}


def _learnt_merges(tokenizer: Any) -> tuple[tuple[str, str], ...]:
    return tuple((one, other) for one, other in json.loads(tokenizer.to_str())["model"]["merges"])


Tokens = SplitTokens | Subwords


def build_tokens(
    texts: Sequence[str], kind: TokenKind, *, least: int = 1, most: int | None = None, hashed: int | None = None
) -> Tokens:
    """Tokens of that kind, from the texts of the training part.

    Args:
        texts: of the training part alone.
        kind: characters, words or subwords.
        least: a character or word that occurs less often is unknown.
        most: so many different tokens; for subwords the size, 8,000 if not said.
        hashed: number of buckets of a hash instead of known tokens; not for subwords.
    """
    if kind not in ("characters", "words", "subwords"):
        raise InvalidValue(f"tokens must be characters, words or subwords, got {kind!r}")
    if kind == "subwords":
        if hashed is not None:
            raise InvalidValue("subwords know every text; a hash is for characters or words")
        return Subwords.build(texts, most or 8000)
    if hashed is not None:
        return SplitTokens(kind, HashingVocabulary(hashed))
    split = characters if kind == "characters" else words
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(split(text))
    return SplitTokens(kind, Vocabulary.build(counts, least=least, most=most))


def tokens_from_json(content: object, where: str) -> Tokens:
    """The tokens that ``to_json`` wrote.

    Args:
        content: the JSON value.
        where: the file and the entry, for messages.

    Raises:
        ModelFolderError: an entry is missing, of the wrong type or out of bounds.
    """
    if not isinstance(content, dict):
        raise ModelFolderError(f"{where} must be an object, got {str(content)[:80]!r}")
    kind = content.get("tokens")
    if kind in ("characters", "words"):
        return SplitTokens(kind, vocabulary_from_json(content.get("vocabulary"), f"{where}.vocabulary"))
    if kind != Subwords.kind:
        raise ModelFolderError(f"{where}.tokens must be characters, words or subwords, got {str(kind)[:80]!r}")
    pieces = texts_from_json(content.get("pieces"), f"{where}.pieces")
    known = set(pieces)
    alphabet = need("tokenizers", "tasks").pre_tokenizers.ByteLevel.alphabet()
    if len(known) != len(pieces) or not known.issuperset(alphabet):
        raise ModelFolderError(f"{where}.pieces must be all different, with every byte among them")
    merges = content.get("merges")
    if not isinstance(merges, list) or len(merges) > MOST_TOKENS:
        raise ModelFolderError(f"{where}.merges must be a list of at most {MOST_TOKENS:,} pairs")
    for pair in merges:
        if not (isinstance(pair, list) and len(pair) == 2 and all(isinstance(one, str) for one in pair)):
            raise ModelFolderError(f"{where}.merges must hold pairs of texts, got {str(pair)[:80]!r}")
        if not {pair[0], pair[1], pair[0] + pair[1]} <= known:
            raise ModelFolderError(f"{where}.merges must join known pieces into known pieces, got {str(pair)[:80]!r}")
    return Subwords(pieces, tuple((one, other) for one, other in merges))
