"""Plain text: one row a line, in a column called ``text``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ostinato.data.columns import LINE
from ostinato.data.files import text_lines
from ostinato.errors import DataError
from ostinato.models.needs import need

BATCH_ROWS, BATCH_CHARACTERS = 1 << 13, 1 << 24


class PlainText:
    """A file of lines, read a batch at a time; may be read more than once. Empty lines are left out."""

    unit = "line"
    loose = False

    def __init__(self, path: Path) -> None:
        self.path = path
        self.notes: list[str] = []
        self.kinds = {"text": "text"}
        self.blank: list[int] = []

    def batches(self) -> Iterator[Any]:
        """Record batches of a text and a line number."""
        self.blank = []
        texts: list[str] = []
        lines: list[int] = []
        characters = 0
        for number, line in enumerate(text_lines(self.path), start=1):
            text = line.rstrip("\r\n")
            if not text.strip():
                self.blank.append(number)
                continue
            texts.append(text)
            lines.append(number)
            characters += len(text)
            if len(texts) == BATCH_ROWS or characters > BATCH_CHARACTERS:
                yield _batch(texts, lines)
                texts, lines, characters = [], [], 0
        if not texts and self.blank and number == len(self.blank):
            raise DataError(f"{self.path} holds only empty lines: there is nothing to learn from")
        if texts:
            yield _batch(texts, lines)

    def finished(self) -> dict[str, str]:
        """The kinds, once all batches were read."""
        return self.kinds

    def converted(self, column: Any, kind: str) -> Any:
        """The column itself: it has one kind."""
        return column


def _batch(texts: list[str], lines: list[int]) -> Any:
    arrow = need("pyarrow", "tasks")
    return arrow.record_batch([arrow.array(texts, arrow.string()), arrow.array(lines, arrow.int64())], ["text", LINE])
