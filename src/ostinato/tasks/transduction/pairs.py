"""Pairs of texts out of tables: which two columns they are, and that both sides of every row hold a text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ostinato.data.table import Table
from ostinato.errors import DataError
from ostinato.tasks.transduction.task import Pair

TEXTS = ("text", "integer")
"""Kinds of columns whose cells can be written as they stood in the file. A fraction's spelling is not kept."""


@dataclass(frozen=True)
class Columns:
    """Two columns of a table, by name.

    Args:
        source: is read.
        target: is to be written.
    """

    source: str
    target: str


class Texts(Sequence[str]):
    """A column as texts, read from the file when they are asked for: it may be larger than memory."""

    def __init__(self, cells: Sequence[Any]) -> None:
        self._cells = cells

    def __len__(self) -> int:
        return len(self._cells)

    def __getitem__(self, row: Any) -> Any:
        found = self._cells[row]
        return [str(cell) for cell in found] if isinstance(row, slice) else str(found)

    def __iter__(self) -> Iterator[str]:
        return map(str, self._cells)


class Pairs(Sequence[Pair]):
    """Some rows as pairs.

    Args:
        sources, targets: of all rows.
        rows: which of them, in order.
    """

    def __init__(self, sources: Sequence[str], targets: Sequence[str], rows: Sequence[int]) -> None:
        self._sources, self._targets, self._rows = sources, targets, rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, number: Any) -> Any:
        if isinstance(number, slice):
            return Pairs(self._sources, self._targets, self._rows[number])
        row = self._rows[number]
        return Pair(self._sources[row], self._targets[row])


def choose_columns(table: Table, source: str | None, target: str | None) -> Columns:
    """The columns that were named; the first and the second of two.

    Raises:
        DataError: there is no such column, no sensible reading, or both are the same.
    """
    names = table.columns
    if len(names) == 1:
        raise DataError(
            f"{table.name} has one column only, {names[0]!r}, and pairs need two: a text that is read and one that is "
            f"to be written, with a tab between them in a .tsv file, under a line that names the columns"
        )
    for name, flag in ((source, "--source"), (target, "--target")):
        if name is not None:
            table.need(name, flag)
    if source is None or target is None:
        if len(names) > 2:
            raise DataError(
                f"{table.name} has {len(names)} columns; say which is read and which is to be written, with --source "
                f"and --target: the columns are {', '.join(names[:20])}"
            )
        source = source or next(name for name in names if name != target)
        target = target or next(name for name in names if name != source)
    if source == target:
        raise DataError(f"{table.name}: the target is also the source, column {source!r}; a model would only copy it")
    return Columns(source, target)


def checked_texts(table: Table, column: str, what: str) -> Texts:
    """The texts of a column, none of them empty.

    Raises:
        DataError: there is no such column, it does not hold texts, or a cell is empty; the message names the line.
    """
    table.need(column, what)
    cells = table.cells(column)
    # White space alone is a text for a program and none for a reader, so it is taken for a mistake.
    blank = [row for row, cell in enumerate(cells) if cell is None or not str(cell).strip()]
    if blank:
        more = f" ({len(blank):,} such rows)" if len(blank) > 1 else ""
        raise DataError(
            f"{table.where(blank[0])}: column {column!r} ({what}) is empty{more}; fill the cell or remove the row"
        )
    kind = table.kinds[column]
    if kind == "number":
        raise DataError(
            f"{table.name}: column {column!r} ({what}) holds numbers with fractions, whose spelling is lost in "
            f"reading; to transduce them as texts, write the file as JSON lines with the texts in quotes"
        )
    if kind not in TEXTS:
        raise DataError(f"{table.name}: column {column!r} ({what}) must hold texts, got {str(cells[0])[:40]!r}")
    return Texts(cells)
