"""CSV and TSV: which character stands between the cells, and rows that must all be as wide as the header."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from ostinato.data.columns import LINE, cells_as, kind_of_cells, meet_cells
from ostinato.data.files import LINE_LIMIT, text_lines
from ostinato.errors import DataError
from ostinato.models.needs import need

DELIMITERS = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a bar"}
BATCH_ROWS, BATCH_CHARACTERS = 1 << 13, 1 << 24
QUOTED_LINES = 10_000
"""A quoted cell over more lines than this is taken for a quote that was not closed."""


class Delimited:
    """A file of cells, read a batch of rows at a time; may be read more than once.

    In CSV, a cell that holds the delimiter, a quote or a line end stands in double quotes, and a quote in it is
    doubled. In TSV a quote is a character like any other.
    """

    unit = "line"
    loose = True

    def __init__(self, path: Path, delimiter: str | None) -> None:
        self.path = path
        self.notes: list[str] = []
        self.delimiter = _delimiter(path, delimiter, self.notes)
        self.kinds: dict[str, str] = {}
        self.blank: list[int] = []

    def batches(self) -> Iterator[Any]:
        """Record batches of strings and of line numbers; ``kinds`` is known after the last one."""
        arrow = need("pyarrow", "tasks")
        self.blank = []
        names: list[str] | None = None
        for lines, rows in self._rows():
            if names is None:
                names = self._names(rows.pop(0), lines.pop(0))
                self.kinds = dict.fromkeys(names, "empty")
            columns = (
                [arrow.array(column, arrow.string()) for column in zip(*rows, strict=True)]
                if rows
                else [arrow.array([], arrow.string()) for _ in names]
            )
            for name, column in zip(names, columns, strict=True):
                if self.kinds[name] != "text":
                    self.kinds[name] = meet_cells(self.kinds[name], kind_of_cells(column))
            yield arrow.record_batch([*columns, arrow.array(lines, arrow.int64())], names=[*names, LINE])

    def finished(self) -> dict[str, str]:
        """The kinds, once all batches were read."""
        return {name: "text" if kind == "gap" else kind for name, kind in self.kinds.items()}

    def converted(self, column: Any, kind: str) -> Any:
        """A raw column as ``kind``."""
        return cells_as(column, kind)

    def _rows(self) -> Iterator[tuple[list[int], list[list[str]]]]:
        """Rows with the lines they start in, a batch at a time; the header is the first row of the first batch."""
        feed = _Feed(self.path)
        reader = csv.reader(
            feed,
            delimiter=self.delimiter,
            strict=True,
            quoting=_quoting(self.delimiter),
        )
        before = csv.field_size_limit(LINE_LIMIT)
        width = None
        lines: list[int] = []
        rows: list[list[str]] = []
        try:
            for row in self._parsed(reader, feed):
                if not row or (len(row) == 1 and width != 1 and not row[0].strip()):
                    self.blank.append(feed.start)
                    continue
                width = width or len(row)
                if len(row) != width:
                    raise DataError(self._ragged(feed.start, row, width))
                lines.append(feed.start)
                rows.append(row)
                if len(rows) == BATCH_ROWS or feed.characters > BATCH_CHARACTERS:
                    yield lines, rows
                    lines, rows, feed.characters = [], [], 0
        finally:
            csv.field_size_limit(before)
        if width is None:
            raise DataError(f"{self.path} holds no rows: there is nothing to learn from")
        if rows:
            yield lines, rows

    def _parsed(self, reader: Iterator[list[str]], feed: _Feed) -> Iterator[list[str]]:
        while True:
            feed.start = feed.line + 1
            try:
                row = next(reader, None)
            except csv.Error as error:
                raise DataError(
                    f"{self.path}, line {feed.start:,} cannot be read as cells ({error}); a cell that holds a quote, "
                    f"the delimiter or a line end must stand in quotes, with quotes in it doubled"
                ) from None
            if row is None:
                return
            yield row

    def _ragged(self, line: int, row: list[str], width: int) -> str:
        between = DELIMITERS.get(self.delimiter, repr(self.delimiter))
        return (
            f"{self.path}, line {line:,} has {len(row)} cells, and the header has {width}, with {between} between "
            f"cells; mend the line, put cells that hold {between} in quotes, or say --delimiter"
        )

    def _names(self, header: list[str], line: int) -> list[str]:
        names = [name.strip() for name in header]
        for index, name in enumerate(names):
            if not name:
                names[index] = f"column {index + 1}"
                self.notes.append(f"{self.path.name}: the column without a name is called {names[index]!r}")
        twice = [name for name, count in Counter(names).items() if count > 1]
        if all(_is_number(name) for name in names) and (twice or not _counts_up(names)):
            raise DataError(
                f"{self.path}, line {line:,} must name the columns, got numbers ({', '.join(names)[:60]}); "
                f"put a line with names on top"
            )
        if twice:
            raise DataError(f"{self.path}, line {line:,} names the column {twice[0]!r} twice; rename one of them")
        return names


class _Feed:
    """The lines of a file, counted, with the line where the present row starts."""

    def __init__(self, path: Path) -> None:
        self.path, self.line, self.start, self.characters = path, 0, 1, 0
        self._lines = text_lines(path)

    def __iter__(self) -> _Feed:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self.line += 1
        self.characters += len(line)
        if self.line - self.start > QUOTED_LINES:
            raise DataError(
                f"{self.path}, line {self.start:,} opens a quote that is not closed in {QUOTED_LINES:,} lines"
            )
        return line


def _delimiter(path: Path, asked: str | None, notes: list[str]) -> str:
    """The delimiter asked for, or else the one that splits the first lines into rows of one width."""
    sample = [line for line in islice(text_lines(path), 20) if line.strip()]
    usual = "\t" if path.suffix.lower() in (".tsv", ".tab") else ","
    widths = {one: _width(sample, one) for one in (usual, *DELIMITERS)}
    others = [one for one, width in widths.items() if width > 1]
    if asked is not None:
        asked = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";"}.get(asked, asked)
        if len(asked) != 1 or asked in '"\r\n':
            raise DataError(f"the delimiter must be one character, such as , or ; or tab, got {asked!r}")
        if _width(sample, asked) < 2 and others and asked not in others:
            raise DataError(
                f"{path} does not split into columns at {asked!r}, and it has {widths[others[0]]} columns with "
                f"{DELIMITERS[others[0]]} between them; leave --delimiter out"
            )
        return asked
    if widths[usual] < 2 and others:
        notes.append(f"{path.name}: {DELIMITERS[others[0]]} stands between the columns")
        return others[0]
    return usual


def _quoting(delimiter: str) -> Literal[0, 3]:
    return csv.QUOTE_NONE if delimiter == "\t" else csv.QUOTE_MINIMAL


def _width(sample: list[str], delimiter: str) -> int:
    """How many cells each row has; 0 where they differ."""
    try:
        widths = {len(row) for row in csv.reader(sample, delimiter=delimiter, quoting=_quoting(delimiter))}
    except csv.Error:
        return 0
    return widths.pop() if len(widths) == 1 else 0


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _counts_up(names: list[str]) -> bool:
    """0, 1, 2, … or 1, 2, 3, …, as some programs name columns without names."""
    return any(names == [str(index) for index in range(first, first + len(names))] for first in (0, 1))
