"""Words as the tokens of a language model: the most frequent of the training part, and one token for all others.

A line end is a word too; other space is not kept, and written again by a rule.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, ClassVar

from ostinato.data.tokens import WORD, words
from ostinato.data.vocabulary import Vocabulary, vocabulary_from_json
from ostinato.errors import DataError, ModelFolderError
from ostinato.models.reader import Reader
from ostinato.models.text_lines import lines

LINE_END = "\n"

CLOSING, OPENING = frozenset(",.;:!?)]}%…»”\n"), frozenset("([{«“\n")
"""Words with no space before them, and with none after them."""


def split(line: str) -> list[str]:
    """The words of a line, and its end.

    >>> split("Who's there?\\n")
    ["Who's", 'there', '?', '\\n']
    """
    return [*words(line), *[LINE_END] * line.endswith(LINE_END)]


@dataclass(frozen=True)
class WordVocabulary:
    """One token for each known word, by the rule of :func:`ostinato.data.tokens.words`, and number 0 for all others.

    Written words stand apart by one space; there is none around a line end, before ``, . ; : ! ? ) ] } % … » ”`` and
    after ``( [ { « “``. So what is written is read again as the same words.

    >>> vocabulary = WordVocabulary.of(Counter(["to", "be", ",", "or", "be", "\\n"]), least=1, most=None)
    >>> vocabulary.size, vocabulary.encode("be or\\nsee")
    (6, [1, 4, 2, 0])
    >>> "".join(vocabulary.decode([5, 1, 3, 4]))
    'to be, or'
    """

    known: Vocabulary

    kind: ClassVar[str] = "word"
    unit: ClassVar[str] = "word"
    by_line: ClassVar[bool] = True
    unknown: ClassVar[int] = Vocabulary.unknown

    @classmethod
    def of(cls, counts: Counter[str], least: int, most: int | None) -> WordVocabulary:
        """The vocabulary of the words that occur at least ``least`` times, at most the ``most`` most frequent."""
        return cls(Vocabulary.build(counts, least=least, most=most))

    @classmethod
    def from_content(cls, content: dict[str, Any], read: Reader) -> WordVocabulary:
        """What ``content`` gave, checked.

        Raises:
            ModelFolderError: it is no vocabulary of known words.
        """
        known = vocabulary_from_json(content.get("vocabulary"), f"{read.path}: tokens.vocabulary")
        if not isinstance(known, Vocabulary) or known.specials or not known.tokens:
            raise ModelFolderError(f"{read.path}: tokens.vocabulary must hold known words and no marks")
        return cls(known)

    def content(self) -> dict[str, Any]:
        """For ``config.json``."""
        return {"kind": self.kind, "vocabulary": self.known.to_json()}

    @property
    def size(self) -> int:
        """Number of tokens, the unknown one included."""
        return self.known.size

    @property
    def start(self) -> int:
        """What a model reads before its first word when there is no prompt: a line end where there is one."""
        return self.known.encode([LINE_END])[0] or 1

    def encode(self, text: str) -> list[int]:
        """Token numbers of ``text``, one a word and one a line end."""
        return self.encode_lines(list(lines([text])))

    def encode_lines(self, bundle: Sequence[str]) -> list[int]:
        """The tokens of several lines, one after another."""
        return self.known.encode(word for line in bundle for word in split(line))

    def encode_prompt(self, text: str) -> list[int]:
        """Like ``encode``, for text that the model must know.

        Raises:
            DataError: a word is not known.
        """
        found = [word for line in lines([text]) for word in split(line)]
        strangers = sorted({word for word in found if not self.known.encode([word])[0]})
        if strangers:
            shown = ", ".join(map(repr, strangers[:8])) + (", …" if len(strangers) > 8 else "")
            raise DataError(
                f"the prompt may only use words the model was trained on; it has {shown}. "
                f"Leave them out, or train with --tokens bpe, which knows every text"
            )
        return self.known.encode(found)

    def covered(self, line: str, count: int) -> int:
        """How many characters of ``line`` its first ``count`` tokens reach over."""
        ends = [0, *(match.end() for match in islice(WORD.finditer(line), count))]
        return ends[count] if count < len(ends) else len(line)

    def decode(self, tokens: Iterable[int], after: str = "") -> Iterator[str]:
        """Each word with the space before it, as it comes; ``after`` is what is written already."""
        before = after[-1:] if after[-1:].isspace() else next(reversed(split(after)), LINE_END)
        for word in map(self._word, tokens):
            apart = not (word in CLOSING or before in OPENING or before.isspace())
            yield " " * apart + word
            before = word

    def _word(self, token: int) -> str:
        return self.known.decode([token])[0]
