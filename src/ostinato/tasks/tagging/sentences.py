"""Sentences out of files: CoNLL and CoNLL-U, or rows that hold a list of words and a list of tags."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ostinato.data import conll
from ostinato.data.table import Table, read_table
from ostinato.errors import DataError
from ostinato.tasks.tagging.measure import Tagged

ROWS = (".jsonl", ".ndjson", ".json", ".parquet", ".pq", ".csv")
"""Endings of files whose rows hold lists. Any other file is read as CoNLL."""

WORDS = ("tokens", "words", "forms")
"""Usual names of the column with the words, where nobody says which one it is."""

TAGS = ("tags", "labels", "upos", "ner_tags", "pos_tags")
"""The same for the tags."""

COUNTED = 100
"""Sentences that are looked at to tell whether the first column counts their words."""


@dataclass(frozen=True)
class Columns:
    """Which columns are read: a name, or in CoNLL a number from 0.

    Args:
        words: what is tagged.
        target: its tags.
    """

    words: str
    target: str


@dataclass(frozen=True)
class Sentences:
    """The sentences of files of one format, as they stand there.

    Args:
        rows: each a sentence of CoNLL, or the number of a table's row.
        table: the rows' table, or None for CoNLL.
        files: all of them.
    """

    rows: Sequence[Any]
    table: Table | None
    files: tuple[Path, ...]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def form(self) -> str:
        """``"conllu"``, ``"conll"`` or ``"rows"``: columns mean the same in files of one form."""
        if self.table is not None:
            return "rows"
        return "conllu" if self.rows[0].universal else "conll"

    @property
    def name(self) -> str:
        """The files in a message."""
        more = len(self.files) - 1
        return self.files[0].name + (f" and {more} more file{'s' if more > 1 else ''}" if more else "")

    @property
    def notes(self) -> tuple[str, ...]:
        """What was left out while reading."""
        return () if self.table is None else self.table.notes

    def where(self, number: int) -> str:
        """The file and the line of a sentence."""
        row = self.rows[number]
        return str(row.where()) if self.table is None else self.table.where(row)

    def words(self, column: str) -> list[list[str]]:
        """The words of every sentence.

        Raises:
            DataError: there is no such column, or a row has no word.
        """
        return self._cells(column, "--words")

    def tagged(self, columns: Columns) -> list[Tagged]:
        """The words and the tags of every sentence.

        Raises:
            DataError: there is no such column; a row has no word, or not as many tags as words.
        """
        found = [
            Tagged(words, tags)
            for words, tags in zip(self.words(columns.words), self._cells(columns.target, "--target"), strict=True)
        ]
        for number, (words, tags) in enumerate(found):
            if len(words) != len(tags):
                raise DataError(
                    f"{self.where(number)}: every word needs one tag, got {len(words)} in {columns.words!r} and "
                    f"{len(tags)} in {columns.target!r}"
                )
        return found

    def _cells(self, column: str, what: str) -> list[list[str]]:
        if self.table is None:
            # A word that occurs a thousand times is held once.
            return [[sys.intern(cell) for cell in row.column(column)] for row in self.rows]
        self.table.need(column, what)
        if self.table.kinds[column] not in ("texts", "empty"):
            raise DataError(
                f"{self.table.name}: column {column!r} ({what}) must hold lists of texts, as in "
                f'{{"tokens": ["The", "cat"], "tags": ["DET", "NOUN"]}}; {_lists(self.table)}'
            )
        cells = self.table.cells(column)
        for row in self.rows:
            if not cells[row]:
                raise DataError(f"{self.table.where(row)}: {column!r} must hold a word or more; remove the row")
        return [[sys.intern(cell) for cell in cells[row]] for row in self.rows]


def read_sentences(files: Sequence[Path]) -> Sentences:
    """The sentences of all files, which must be of one format.

    Raises:
        DataError: a file is missing, empty, ragged, or of another format than the first; the message names the line.
    """
    in_rows = [path.suffix.lower() in ROWS for path in files]
    if any(in_rows) and not all(in_rows):
        raise DataError(
            f"files that are read together must be of one format, got {files[0].name} and "
            f"{files[in_rows.index(not in_rows[0])].name}"
        )
    if in_rows[0]:
        table = read_table(files)
        return Sentences(range(len(table)), table, tuple(files))
    rows = [sentence for path in files for sentence in conll.read_conll(path)]
    for path in files[1:]:
        first, other = rows[0], next(row for row in rows if row.path == path)
        if other.universal != first.universal or len(other.tokens[0].columns) != len(first.tokens[0].columns):
            raise DataError(
                f"{path} has other columns than {files[0]}; files that are read together must have the same"
            )
    return Sentences(rows, None, tuple(files))


def choose_columns(sentences: Sentences, words: str | None = None, target: str | None = None) -> Columns:
    """The columns that were named, or where none was, those that there is one sensible reading for.

    Raises:
        DataError: there is no such column, no sensible reading, or both are the same.
    """
    words = column_of_words(sentences, words)
    if sentences.table is not None:
        target = target or _usual(sentences.table, TAGS, words, "--target")
    else:
        target = _in_conll(sentences.rows[0], target or ("upos" if sentences.form == "conllu" else "-1"))
    if words == target:
        raise DataError(
            f"{sentences.name}: the target, column {target}, is the column of the words; a model would only "
            f"copy it. Name another one with --target or --words"
        )
    return Columns(words, target)


def column_of_words(sentences: Sentences, words: str | None = None) -> str:
    """The column of the words: ``words``, or the usual one.

    In CoNLL it is the first, or where that one counts the words, the second.

    Raises:
        DataError: there is no such column, or no sensible reading.
    """
    if sentences.table is not None:
        return words or _usual(sentences.table, WORDS, "", "--words")
    rows = sentences.rows
    if words is None and sentences.form == "conll" and len(rows[0].tokens[0].columns) > 1:
        counted = all(row.column(0) == [str(n) for n in range(1, len(row) + 1)] for row in rows[:COUNTED])
        words = str(int(counted))
    return _in_conll(rows[0], words or ("form" if sentences.form == "conllu" else "0"))


def _in_conll(first: conll.Sentence, column: str) -> str:
    index = conll.column_index(column, len(first.tokens[0].columns), first.universal, first.path.name)
    return conll.CONLLU_COLUMNS[index] if first.universal else str(index)


def _usual(table: Table, names: Sequence[str], other: str, flag: str) -> str:
    """The column of a usual name; or the only one of lists besides ``other``."""
    lists = [name for name in table.columns if table.kinds[name] == "texts" and name != other]
    for name in names:
        if name in lists:
            return name
    if len(lists) == 1:
        return lists[0]
    raise DataError(f"{table.name}: which column is meant is not plain; name it with {flag}; {_lists(table)}")


def _lists(table: Table) -> str:
    lists = [name for name in table.columns if table.kinds[name] == "texts"]
    columns = f"of the columns {', '.join(table.columns)}"
    return f"{columns}, lists of texts are in {', '.join(lists)}" if lists else f"{columns}, none holds lists of texts"
