"""Pieces of words as the tokens of a language model: byte pairs, learnt from the training part; nothing is unknown."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from ostinato.data.tokens import Subwords, tokens_from_json
from ostinato.errors import ModelFolderError
from ostinato.models.reader import Reader
from ostinato.models.text_lines import lines


def _byte_letters() -> dict[str, int]:
    """The letter that stands for each byte in a piece: itself where it can be seen, else the next from U+0100 on."""
    seen = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in seen]
    return {chr(byte): byte for byte in seen} | {chr(256 + n): byte for n, byte in enumerate(others)}


BYTES = _byte_letters()
"""Letter → byte, as GPT-2 has it and ``tokenizers`` after it."""


@dataclass(frozen=True)
class SubwordVocabulary:
    """Byte pair encoding of a text, line by line; :class:`~ostinato.data.tokens.Subwords` holds the pieces.

    >>> vocabulary = SubwordVocabulary(Subwords.build(["low lower lowest"] * 10, 260))
    >>> "".join(vocabulary.decode(vocabulary.encode("slow é\\n")))
    'slow é\\n'
    """

    subwords: Subwords

    kind: ClassVar[str] = "bpe"
    unit: ClassVar[str] = "subword"
    by_line: ClassVar[bool] = True
    unknown: ClassVar[None] = None

    @classmethod
    def from_content(cls, content: dict[str, Any], read: Reader) -> SubwordVocabulary:
        """What ``content`` gave, checked.

        Raises:
            ModelFolderError: the pieces or merges are none that training could have made.
        """
        where = f"{read.path}: tokens.subwords"
        subwords = tokens_from_json(content.get("subwords"), where)
        if not isinstance(subwords, Subwords):
            raise ModelFolderError(f"{where} must be subwords, got {subwords.kind}")
        for piece in subwords.pieces:
            if not piece or not BYTES.keys() >= set(piece):
                raise ModelFolderError(f"{where} must hold pieces in the alphabet of bytes, got {piece[:80]!r}")
        return cls(subwords)

    def content(self) -> dict[str, Any]:
        """For ``config.json``."""
        return {"kind": self.kind, "subwords": self.subwords.to_json()}

    @property
    def size(self) -> int:
        """Number of tokens."""
        return self.subwords.size

    @property
    def start(self) -> int:
        """What a model reads before its first token when there is no prompt: a line end."""
        return self._bytes.index(b"\n")

    @cached_property
    def _bytes(self) -> list[bytes]:
        return [bytes(BYTES[letter] for letter in piece) for piece in self.subwords.pieces]

    def encode(self, text: str) -> list[int]:
        """Token numbers of ``text``."""
        return self.encode_lines(list(lines([text])))

    def encode_lines(self, bundle: Sequence[str]) -> list[int]:
        """The tokens of several lines, one after another; no token reaches from one into the next."""
        return [token for line in bundle for token in self.subwords.encode(line)]

    def encode_prompt(self, text: str) -> list[int]:
        """The same as ``encode``: every text is known."""
        return self.encode(text)

    def covered(self, line: str, count: int) -> int:
        """How many characters of ``line`` begin in its first ``count`` tokens."""
        found = self.subwords.encode(line)[:count]
        return sum(byte & 0xC0 != 0x80 for token in found for byte in self._bytes[token])

    def decode(self, tokens: Iterable[int], after: str = "") -> Iterator[str]:
        """Text as soon as its last byte has come; bytes that are not UTF-8 become U+FFFD."""
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        for token in tokens:
            if piece := decoder.decode(self._bytes[token]):
                yield piece
        if rest := decoder.decode(b"", final=True):
            yield rest
