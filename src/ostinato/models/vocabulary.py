"""Text ↔ token numbers: characters of a known alphabet, or bytes.

A character vocabulary numbers its alphabet 0 … n−1 in code point order; number n stands for every other character. It
is read, counted and scored, but never written: sampling leaves it out.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import Any, ClassVar, Protocol

from ostinato.errors import DataError, InvalidValue, ModelFolderError
from ostinato.models.needs import need
from ostinato.models.reader import Reader


@dataclass(frozen=True)
class CharacterVocabulary:
    """One token for each character of ``alphabet``, which is sorted and without repeats, and one for all others.

    >>> vocabulary = CharacterVocabulary.of("banana")
    >>> vocabulary.alphabet, vocabulary.size, vocabulary.encode("nab?")
    ('abn', 4, [2, 0, 1, 3])
    >>> "".join(vocabulary.decode([1, 0, 2]))
    'ban'
    """

    alphabet: str

    kind: ClassVar[str] = "char"
    unit: ClassVar[str] = "character"
    by_line: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if list(self.alphabet) != sorted(set(self.alphabet)):
            raise InvalidValue("alphabet must be sorted and without repeats; CharacterVocabulary.of(text) makes it so")

    @classmethod
    def of(cls, characters: Iterable[str]) -> CharacterVocabulary:
        """The vocabulary of the characters that occur."""
        return cls("".join(sorted(set(characters))))

    @classmethod
    def from_content(cls, content: dict[str, Any], read: Reader) -> CharacterVocabulary:
        """What ``content`` gave, checked.

        Raises:
            ModelFolderError: it is no alphabet.
        """
        try:
            return cls(read.text(content, "alphabet"))
        except InvalidValue as error:
            raise ModelFolderError(f"{read.path}: {error}") from error

    def content(self) -> dict[str, Any]:
        """For ``config.json``."""
        return {"kind": self.kind, "alphabet": self.alphabet}

    @property
    def size(self) -> int:
        """Number of tokens, the unknown one included."""
        return len(self.alphabet) + 1

    @property
    def unknown(self) -> int:
        """The token of every character outside the alphabet."""
        return len(self.alphabet)

    @property
    def start(self) -> int:
        """What a model reads before its first character when there is no prompt: a line end where there is one."""
        return self._index.get("\n", 0)

    @cached_property
    def _index(self) -> dict[str, int]:
        return {character: token for token, character in enumerate(self.alphabet)}

    @cached_property
    def table(self) -> Any:
        """Code point → token, a numpy array over all of Unicode, for whole files at once."""
        numpy = need("numpy")
        table = numpy.full(0x110000, self.unknown, dtype=token_dtype(self.size))
        for character, token in self._index.items():
            table[ord(character)] = token
        return table

    def encode(self, text: str) -> list[int]:
        """Token numbers of ``text``, one a character."""
        return [self._index.get(character, self.unknown) for character in text]

    def encode_prompt(self, text: str) -> list[int]:
        """Like ``encode``, for text that the model must know.

        Raises:
            DataError: a character is not in the alphabet.
        """
        strangers = sorted(set(text) - set(self.alphabet))
        if strangers:
            shown = ", ".join(f"{c!r} (U+{ord(c):04X})" for c in strangers[:8]) + (", …" if len(strangers) > 8 else "")
            raise DataError(
                f"the prompt may only use characters the model was trained on; it has {shown}. "
                f"Leave them out, or train with --tokens byte, which knows every character"
            )
        return self.encode(text)

    def decode(self, tokens: Iterable[int], after: str = "") -> Iterator[str]:
        """The character of each token, as it comes. The unknown token becomes U+FFFD."""
        for token in tokens:
            yield self.alphabet[token] if token != self.unknown else "\N{REPLACEMENT CHARACTER}"


@dataclass(frozen=True)
class ByteVocabulary:
    """One token for each of the 256 bytes of UTF-8 text: knows everything, and needs two to four tokens for most
    characters that are not English.

    >>> ByteVocabulary().encode("é")
    [195, 169]
    >>> list(ByteVocabulary().decode([195, 169, 33]))
    ['é', '!']
    """

    kind: ClassVar[str] = "byte"
    unit: ClassVar[str] = "byte"
    by_line: ClassVar[bool] = False
    size: ClassVar[int] = 256
    unknown: ClassVar[None] = None
    start: ClassVar[int] = ord("\n")

    @classmethod
    def from_content(cls, content: dict[str, Any], read: Reader) -> ByteVocabulary:
        """What ``content`` gave: there is nothing to check."""
        return cls()

    def content(self) -> dict[str, Any]:
        """For ``config.json``."""
        return {"kind": self.kind}

    def encode(self, text: str) -> list[int]:
        """The bytes of ``text`` in UTF-8."""
        return list(text.encode("utf-8"))

    def encode_prompt(self, text: str) -> list[int]:
        """The same as ``encode``: every text is known."""
        return self.encode(text)

    def decode(self, tokens: Iterable[int], after: str = "") -> Iterator[str]:
        """Characters as soon as their last byte has come; bytes that are not UTF-8 become U+FFFD."""
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        for token in tokens:
            if piece := decoder.decode(bytes([token])):
                yield piece
        if rest := decoder.decode(b"", final=True):
            yield rest


class Vocabulary(Protocol):
    """What a language model needs to know of its tokens."""

    @property
    def kind(self) -> str:
        """As after ``--tokens``."""
        ...

    @property
    def unit(self) -> str:
        """What a token is called."""
        ...

    @property
    def by_line(self) -> bool:
        """Whether texts are read line by line and a token may be several characters; see ``LineVocabulary``."""
        ...

    @property
    def size(self) -> int:
        """Number of tokens."""
        ...

    @property
    def unknown(self) -> int | None:
        """The token of what is not known, which is never written; None where everything is known."""
        ...

    @property
    def start(self) -> int:
        """What a model reads before its first token when there is no prompt."""
        ...

    def content(self) -> dict[str, Any]:
        """For ``config.json``: ``"kind"``, and what ``from_content`` of that kind reads back."""
        ...

    def encode(self, text: str) -> list[int]:
        """Token numbers of a text."""
        ...

    def encode_prompt(self, text: str) -> list[int]:
        """Like ``encode``; DataError where something is unknown."""
        ...

    def decode(self, tokens: Iterable[int], after: str = "") -> Iterator[str]:
        """The text of tokens, piece by piece as they come; ``after`` is what stands before, where that matters."""
        ...


class LineVocabulary(Vocabulary, Protocol):
    """A vocabulary whose tokens lie within lines (``by_line``), and may be of several characters."""

    def encode_lines(self, bundle: Sequence[str]) -> list[int]:
        """The tokens of several lines, one after another."""
        ...

    def covered(self, line: str, count: int) -> int:
        """How many characters of ``line`` its first ``count`` tokens reach over."""
        ...


KINDS = {
    "char": ("ostinato.models.vocabulary", "CharacterVocabulary"),
    "byte": ("ostinato.models.vocabulary", "ByteVocabulary"),
    "word": ("ostinato.models.word_vocabulary", "WordVocabulary"),
    "bpe": ("ostinato.models.subword_vocabulary", "SubwordVocabulary"),
}
"""Where the class of each kind is, imported when it is needed."""


def vocabulary_from_content(content: dict[str, Any], read: Reader) -> Vocabulary:
    """The vocabulary whose ``content()`` this is, checked entry by entry.

    Raises:
        ModelFolderError: an entry is missing, of the wrong type or out of bounds.
    """
    kind = read.text(content, "kind")
    if kind not in KINDS:
        raise ModelFolderError(f"{read.path}: tokens.kind must be {', '.join(KINDS)}, got {kind[:80]!r}")
    module, name = KINDS[kind]
    vocabulary: Vocabulary = getattr(import_module(module), name).from_content(content, read)
    return vocabulary


def token_dtype(size: int) -> str:
    """The narrowest unsigned dtype that holds ``size`` token numbers.

    >>> token_dtype(256), token_dtype(257), token_dtype(70_000)
    ('uint8', 'uint16', 'uint32')
    """
    if size <= 1 << 8:
        return "uint8"
    return "uint16" if size <= 1 << 16 else "uint32"
