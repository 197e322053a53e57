"""Words and their characters as numbers, a batch of sentences at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ostinato.errors import InvalidValue
from ostinato.models.tagging_network import Sentences

LONGEST_SPELLING = 32
"""Of a longer word the first and the last 16 characters are read: an address of a page costs no more than a word."""


@dataclass(frozen=True)
class TaggingTokens:
    """The words and characters that a model knows; each other one gets the number that follows the last.

    >>> tokens = TaggingTokens.of([["The", "cat", "the", "dog"]], least_count=2, most_words=10, lower_case=True)
    >>> tokens.words, tokens.characters, tokens.word_count
    (('the',), 'Tacdeghot', 2)
    >>> tokens.batch([["the", "cow"]]).words
    tensor([[0],
            [1]])

    Args:
        words: without repeats, and in lower case if ``lower_case``.
        characters: without repeats.
        lower_case: whether words are looked up in lower case; their spelling is read as it is.

    Raises:
        InvalidValue: a repeat.
    """

    words: tuple[str, ...]
    characters: str
    lower_case: bool

    def __post_init__(self) -> None:
        for name in ("words", "characters"):
            if len(set(getattr(self, name))) < len(getattr(self, name)):
                raise InvalidValue(f"{name} must be without repeats; TaggingTokens.of(sentences, …) makes them so")

    @classmethod
    def of(
        cls, sentences: Iterable[Sequence[str]], *, least_count: int, most_words: int, lower_case: bool
    ) -> TaggingTokens:
        """The ``most_words`` most frequent words that occur ``least_count`` times, and all characters."""
        words: Counter[str] = Counter()
        characters: set[str] = set()
        for sentence in sentences:
            words.update(word.lower() for word in sentence) if lower_case else words.update(sentence)
            characters.update(*sentence)
        kept = sorted((word for word, count in words.items() if count >= least_count), key=lambda w: (-words[w], w))
        return cls(tuple(kept[:most_words]), "".join(sorted(characters)), lower_case)

    @property
    def word_count(self) -> int:
        """How many numbers words have, the unknown ones' included."""
        return len(self.words) + 1

    @property
    def character_count(self) -> int:
        """The same for characters."""
        return len(self.characters) + 1

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {word: number for number, word in enumerate(self.words)}

    @cached_property
    def _letters(self) -> dict[str, int]:
        return {character: number for number, character in enumerate(self.characters)}

    def knows(self, word: str) -> bool:
        """Whether the word has a vector of its own."""
        return (word.lower() if self.lower_case else word) in self._numbers

    def batch(self, sentences: Sequence[Sequence[str]]) -> Sentences:
        """The sentences side by side; one may be empty, and so may a word."""
        columns: dict[str, int] = {}
        places = [[columns.setdefault(word, len(columns)) for word in sentence] for sentence in sentences]
        numbers = [self._number(word) for word in columns]
        # A batch of empty sentences has no spelling, and a network needs a column to read.
        spellings = [self._spelling(word) for word in columns] or [[]]
        return Sentences(
            words=padded([[numbers[place] for place in row] for row in places]),
            lengths=torch.tensor([len(row) for row in places]),
            spellings=padded(places),
            characters=padded(spellings),
            character_lengths=torch.tensor([len(spelling) for spelling in spellings]),
        )

    def _number(self, word: str) -> int:
        return self._numbers.get(word.lower() if self.lower_case else word, len(self.words))

    def _spelling(self, word: str) -> list[int]:
        if len(word) > LONGEST_SPELLING:
            half = LONGEST_SPELLING // 2
            word = word[:half] + word[-half:]
        return [self._letters.get(character, len(self.characters)) for character in word]


def padded(rows: Sequence[Sequence[int]]) -> Tensor:
    """(T, B) from B lists of at most T numbers, with zeros below; T is at least 1.

    >>> padded([[1, 2], [3]])
    tensor([[1, 3],
            [2, 0]])
    """
    longest = max([1, *map(len, rows)])
    return torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows]).reshape(len(rows), longest).t()
