"""The first rows of a file and what its columns seem to hold, for guessing what the user wants to learn."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from ostinato.data.files import expand
from ostinato.data.plain_text import PlainText
from ostinato.data.sources import FORMATS, Source, read_source
from ostinato.data.times import looks_like_time

ROWS = 1000
"""So many rows are looked at."""

MOST_LABELS, ROWS_A_LABEL = 60, 2
"""A column is of labels where it has at most so many different cells, each so often on average."""

WHOLE_LABELS = 20
"""The same for whole numbers, which are more often quantities."""

SHORT = 40
"""A label has at most so many characters."""


@dataclass(frozen=True)
class Preview:
    """What a first look at files shows.

    Args:
        files: all of them.
        extension: the ending of the first, in small letters: ``".csv"``.
        kinds: what each column seems to hold: text, number, label, time, or series (a list in a cell).
        rows: the first rows of the first file; none of a file that is no table.
    """

    files: tuple[Path, ...]
    extension: str
    kinds: dict[str, str] = field(default_factory=dict)
    rows: tuple[dict[str, Any], ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns' names."""
        return tuple(self.kinds)

    @property
    def class_files(self) -> bool:
        """Whether there are several plain texts, so that each may hold the sequences of one class."""
        return len(self.files) > 1 and FORMATS.get(self.extension) is PlainText

    def of_kind(self, kind: str) -> tuple[str, ...]:
        """The columns of that kind.

        >>> Preview((), ".csv", {"day": "time", "sales": "number"}).of_kind("time")
        ('day',)
        """
        return tuple(name for name, one in self.kinds.items() if one == kind)


def preview(files: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> Preview:
    """A look at the first rows of the first file; of ``.ts`` and CoNLL, which are no tables, only at the name.

    Raises:
        DataError: a file is missing, empty, of an unknown format, or its first rows cannot be read.
    """
    paths = expand(files)
    extension = paths[0].suffix.lower()
    if extension in (".ts", ".conll", ".conllu"):
        return Preview(paths, extension)
    source = read_source(paths[0], None)
    rows, kinds = _first_rows(source)
    return Preview(paths, extension, {name: _seems(name, kind, rows) for name, kind in kinds.items()}, rows)


def _first_rows(source: Source) -> tuple[tuple[dict[str, Any], ...], dict[str, str]]:
    batch = next(source.batches())
    kinds = source.finished()
    columns = {name: source.converted(batch.column(name), kind).to_pylist()[:ROWS] for name, kind in kinds.items()}
    count = min(ROWS, len(batch))
    return tuple({name: cells[row] for name, cells in columns.items()} for row in range(count)), kinds


def _seems(name: str, kind: str, rows: tuple[dict[str, Any], ...]) -> str:
    cells = [row[name] for row in rows if row[name] is not None]
    different = len({str(cell) for cell in cells})
    repeated = 0 < different * ROWS_A_LABEL <= len(cells)
    match kind:
        case "integer":
            return "label" if repeated and different <= WHOLE_LABELS else "number"
        case "text" if all(looks_like_time(cell) for cell in islice(cells, 50)):
            return "time"
        case "text":
            short = all(len(cell) <= SHORT for cell in cells)
            return "label" if repeated and different <= MOST_LABELS and short else "text"
        case "number":
            return "number"
        case "empty":
            return "text"
    return "series"
