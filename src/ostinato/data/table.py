"""Rows and columns of the user's files, whatever their format, each row with its file and line.

Rows are parsed here rather than by a library's reader because a complaint must name the line. Files of more than
``LARGE`` bytes are kept as Arrow in the cache folder and mapped from there, so memory does not grow with them.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ostinato.cells.checks import nearest
from ostinato.data.columns import LINE, is_number
from ostinato.data.files import expand, unchanged
from ostinato.data.sources import read_source, read_sources
from ostinato.data.stored import Facts, kept_table
from ostinato.errors import DataError
from ostinato.models.needs import need

LARGE = 1 << 25
"""Files of more bytes than this together are mapped from the cache folder rather than held in memory."""


def read_table(
    files: str | os.PathLike[str] | Iterable[str | os.PathLike[str]], *, delimiter: str | None = None
) -> Table:
    """The rows of all files, in the files' order.

    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
    ...     _ = file.write("text,label\\nhello,1\\nworld,2\\n"); file.flush()
    ...     table = read_table(file.name)
    >>> table.columns, len(table), table[1], table.column("text")
    (('text', 'label'), 2, {'text': 'world', 'label': 2}, ['hello', 'world'])

    Args:
        files: names, folders and globs, see :func:`ostinato.data.files.expand`. All must have the same columns.
        delimiter: what stands between the cells of CSV and TSV; None finds out.

    Raises:
        DataError: a file is missing, empty, not UTF-8, ragged, of an unknown format, without a column that another
            has, or changed while it was read.
    """
    paths = expand(files)
    large = sum(path.stat().st_size for path in paths) > LARGE
    with unchanged(paths) as fingerprint:

        def read() -> tuple[Facts, Iterator[Any]]:
            return read_sources([read_source(path, delimiter) for path in paths], in_memory=not large)

        if large:
            data, facts = kept_table(paths, f"{fingerprint} {delimiter!r}", read)
        else:
            facts, batches = read()
            data = need("pyarrow", "tasks").Table.from_batches(list(batches))
    return Table(data, paths, fingerprint, facts)


class Table:
    """Rows and columns. Made by :func:`read_table`."""

    def __init__(self, data: Any, files: tuple[Path, ...], fingerprint: str, facts: Facts) -> None:
        self.data = data
        self.files = files
        self.fingerprint = fingerprint
        """A hash of the files' names and bytes."""
        self.columns: tuple[str, ...] = tuple(facts["kinds"])
        self.kinds: dict[str, str] = facts["kinds"]
        """What each column holds: integer, number, text, numbers, texts, rows (lists in a cell) or empty."""
        self.notes: tuple[str, ...] = tuple(facts["notes"])
        """What was found out or left out while reading: to be printed."""
        self._ends: list[int] = facts["ends"]
        self._units: list[str] = facts["units"]

    def __len__(self) -> int:
        return int(self.data.num_rows)

    def __getitem__(self, row: int) -> dict[str, Any]:
        index = _checked(row, len(self))
        return {name: self.data[name][index].as_py() for name in self.columns}

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for batch in self.data.to_batches(max_chunksize=1024):
            yield from batch.select(list(self.columns)).to_pylist()

    def column(self, name: str) -> list[Any]:
        """All cells of a column; None where one is empty.

        Raises:
            DataError: there is no such column.
        """
        return list(self.cells(name))

    def cells(self, name: str) -> Cells:
        """A column as a sequence that reads from the file what is asked for, for columns larger than memory.

        Raises:
            DataError: there is no such column.
        """
        return Cells(self.data[self.need(name)])

    def numbers(self, name: str, what: str = "") -> Any:
        """(N,) a column of numbers as a numpy array of float64, NaN where a cell is empty.

        Raises:
            DataError: a cell is not a number, or not finite; the message names the line.
        """
        numpy = need("numpy", "tasks")
        self.need(name, what)
        kind = self.kinds[name]
        if kind not in ("integer", "number", "empty"):
            row, cell = self._not_a_number(name)
            hint = "; write the fraction after a point" if isinstance(cell, str) and "," in cell else ""
            raise DataError(
                f"{self.where(row)}: column {name!r} must hold numbers{_purpose(what)}, got {str(cell)[:40]!r}{hint}"
            )
        cells = self.data[name].cast(need("pyarrow", "tasks").float64())
        values = cells.to_numpy().astype("float64", copy=False)
        bad = numpy.flatnonzero(numpy.isinf(values))
        if len(bad):
            raise DataError(
                f"{self.where(int(bad[0]))}: column {name!r} must hold finite numbers, got {values[bad[0]]}"
            )
        return values

    def _not_a_number(self, name: str) -> tuple[int, Any]:
        for row, cell in enumerate(self.cells(name)):
            if cell is not None and not is_number(cell):
                return row, cell
        return 0, self.cells(name)[0]

    def where(self, row: int) -> str:
        """The file and the line a row came from, as in ``"sales.csv, line 17"``."""
        index = _checked(row, len(self))
        file = bisect_right(self._ends, index)
        return f"{self.files[file].name}, {self._units[file]} {self.data[LINE][index].as_py():,}"

    def file_of(self, row: int) -> Path:
        """The file a row came from."""
        return self.files[self.file_number(row)]

    def file_number(self, row: int) -> int:
        """The place among ``files`` of the file a row came from."""
        return bisect_right(self._ends, _checked(row, len(self)))

    def rows_of(self, file: int) -> range:
        """The rows that came from the file of that number."""
        return range(self._ends[file - 1] if file else 0, self._ends[file])

    @property
    def name(self) -> str:
        """The files in a message: ``"sales.csv"``, or ``"sales.csv and 3 more files"``."""
        more = len(self.files) - 1
        return self.files[0].name + (f" and {more} more file{'s' if more > 1 else ''}" if more else "")

    def need(self, name: str, what: str = "") -> str:
        """The name itself, when there is such a column.

        Args:
            name: of a column.
            what: what it is for, as in ``"--target"``; part of the message.

        Raises:
            DataError: there is none; the message offers the nearest name.
        """
        if name in self.kinds:
            return name
        shown = ", ".join(self.columns[:20]) + (", …" if len(self.columns) > 20 else "")
        alike = [column for column in self.columns if column.casefold() == str(name).casefold()]
        hint = nearest(name, self.columns) if not alike else f"; did you mean {alike[0]!r}?"
        raise DataError(f"{self.name} has no column {name!r}{_purpose(what)}{hint or ';'} the columns are {shown}")


class Cells(Sequence[Any]):
    """The cells of a column, read when they are asked for."""

    def __init__(self, column: Any) -> None:
        self._column = column

    def __len__(self) -> int:
        return len(self._column)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return self._column[_checked(index, len(self))].as_py()

    def __iter__(self) -> Iterator[Any]:
        for chunk in self._column.chunks:
            for start in range(0, len(chunk), 1024):
                yield from chunk[start : start + 1024].to_pylist()


def _purpose(what: str) -> str:
    return f" ({what})" if what else ""


def _checked(row: int, count: int) -> int:
    if not -count <= row < count:
        raise IndexError(f"row {row} of {count}")
    return row % count
