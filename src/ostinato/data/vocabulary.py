"""Tokens ↔ numbers: the tokens that were seen in training, or a hash of any token.

What comes out of a model's folder is checked entry by entry: it may be anybody's.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from ostinato.errors import InvalidValue, ModelFolderError

MOST_TOKENS, LONGEST_TOKEN = 1 << 22, 1 << 16
"""Bounds of what is believed of a folder."""


@dataclass(frozen=True)
class Vocabulary:
    """Known tokens, numbered from 1; number 0 stands for every other. Specials come first.

    >>> vocabulary = Vocabulary.build("the cat sat on the mat".split(), least=1, most=3)
    >>> vocabulary.tokens, vocabulary.size, vocabulary.encode(["the", "dog"])
    (('the', 'cat', 'mat'), 4, [1, 0])
    >>> vocabulary.decode([2, 0])
    ['cat', '�']

    Args:
        tokens: all different.
        specials: how many of the first tokens are marks such as a beginning and an end, which no text holds.
    """

    tokens: tuple[str, ...]
    specials: int = 0

    kind: ClassVar[str] = "known"
    unknown: ClassVar[int] = 0
    unknown_token: ClassVar[str] = "\N{REPLACEMENT CHARACTER}"

    def __post_init__(self) -> None:
        if len(set(self.tokens)) != len(self.tokens):
            twice = Counter(self.tokens).most_common(1)[0][0]
            raise InvalidValue(f"tokens must be all different, got {twice!r} twice")
        if not 0 <= self.specials <= len(self.tokens):
            raise InvalidValue(f"specials must be from 0 to {len(self.tokens)}, got {self.specials}")

    @classmethod
    def build(
        cls,
        tokens: Iterable[str] | Mapping[str, int],
        *,
        least: int = 1,
        most: int | None = None,
        specials: tuple[str, ...] = (),
    ) -> Vocabulary:
        """The vocabulary of the tokens that occur, the most frequent first, equal ones in code point order.

        Args:
            tokens: all tokens of the training part, or how often each occurs.
            least: a token that occurs less often is left to the unknown one.
            most: so many tokens are kept, specials not counted.
            specials: marks that come first.

        Raises:
            InvalidValue: a bound below 1.
        """
        if least < 1 or (most is not None and most < 1):
            raise InvalidValue(f"least and most must be at least 1, got {least} and {most}")
        counts = Counter(tokens)
        order = sorted(
            (t for t, n in counts.items() if n >= least and t not in specials), key=lambda t: (-counts[t], t)
        )
        return cls((*specials, *order[:most]), len(specials))

    @property
    def size(self) -> int:
        """How many numbers there are, the unknown one included."""
        return len(self.tokens) + 1

    @cached_property
    def _index(self) -> dict[str, int]:
        return {token: number for number, token in enumerate(self.tokens, start=1)}

    @cached_property
    def _reading(self) -> dict[str, int]:
        """What a text may hold: no marks."""
        return {token: number for token, number in self._index.items() if number > self.specials}

    def encode(self, tokens: Iterable[str]) -> list[int]:
        """The number of each token."""
        reading = self._reading
        return [reading.get(token, 0) for token in tokens]

    def decode(self, numbers: Iterable[int]) -> list[str]:
        """The token of each number; the unknown one becomes U+FFFD."""
        return [self.tokens[number - 1] if number else self.unknown_token for number in numbers]

    def special(self, token: str) -> int:
        """The number of a mark."""
        return self._index[token]

    def count_unknown(self, tokens: Iterable[str]) -> int:
        """How many of these tokens are not known."""
        reading = self._reading
        return sum(token not in reading for token in tokens)

    def to_json(self) -> dict[str, Any]:
        """What ``from_json`` reads back."""
        return {"kind": self.kind, "tokens": list(self.tokens), "specials": self.specials}


@dataclass(frozen=True)
class HashingVocabulary:
    """A number for any token whatever: its BLAKE2 hash modulo ``buckets``, the same in every process.

    Nothing is unknown, and tokens that share a number cannot be told apart.

    >>> HashingVocabulary(1000).encode(["cat", "dog", "cat"])
    [939, 465, 939]
    """

    buckets: int
    kind: ClassVar[str] = "hashing"
    unknown: ClassVar[None] = None

    def __post_init__(self) -> None:
        if not 1 <= self.buckets <= MOST_TOKENS:
            raise InvalidValue(f"buckets must be from 1 to {MOST_TOKENS:,}, got {self.buckets}")

    @property
    def size(self) -> int:
        """How many numbers there are."""
        return self.buckets

    def encode(self, tokens: Iterable[str]) -> list[int]:
        """The number of each token."""
        return [self._number(token) for token in tokens]

    def _number(self, token: str) -> int:
        digest = hashlib.blake2b(token.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        return int.from_bytes(digest, "little") % self.buckets

    def count_unknown(self, tokens: Iterable[str]) -> int:
        """None is: 0."""
        return 0

    def to_json(self) -> dict[str, Any]:
        """What ``from_json`` reads back."""
        return {"kind": self.kind, "buckets": self.buckets}


def vocabulary_from_json(content: object, where: str) -> Vocabulary | HashingVocabulary:
    """The vocabulary that ``to_json`` wrote.

    Args:
        content: the JSON value.
        where: the file and the entry, for messages.

    Raises:
        ModelFolderError: an entry is missing, of the wrong type or out of bounds.
    """
    if not isinstance(content, dict):
        raise ModelFolderError(f"{where} must be an object, got {str(content)[:80]!r}")
    kind = content.get("kind")
    if kind == HashingVocabulary.kind:
        return HashingVocabulary(_whole(content, "buckets", 1, MOST_TOKENS, where))
    if kind != Vocabulary.kind:
        raise ModelFolderError(f"{where}.kind must be known or hashing, got {str(kind)[:80]!r}")
    tokens = texts_from_json(content.get("tokens"), f"{where}.tokens")
    try:
        return Vocabulary(tokens, _whole(content, "specials", 0, len(tokens), where))
    except InvalidValue as error:
        raise ModelFolderError(f"{where}: {str(error)[:200]}") from error


def texts_from_json(content: object, where: str) -> tuple[str, ...]:
    """A list of tokens, bounded.

    Raises:
        ModelFolderError: it is none.
    """
    if not isinstance(content, list) or len(content) > MOST_TOKENS:
        raise ModelFolderError(f"{where} must be a list of at most {MOST_TOKENS:,} texts")
    for one in content:
        if not isinstance(one, str) or len(one) > LONGEST_TOKEN:
            raise ModelFolderError(
                f"{where} must hold texts of at most {LONGEST_TOKEN:,} characters, got {str(one)[:80]!r}"
            )
    return tuple(content)


def _whole(content: dict[str, Any], name: str, least: int, most: int, where: str) -> int:
    value = content.get(name)
    if type(value) is not int or not least <= value <= most:
        raise ModelFolderError(
            f"{where}.{name} must be a whole number from {least} to {most:,}, got {str(value)[:80]!r}"
        )
    return value
