"""Files as rows for a many-to-one model: whatever the layout, sequences, their targets, and how to show them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from ostinato.data import layouts
from ostinato.data.gaps import Fill
from ostinato.data.sequences import Sequences
from ostinato.data.table import Table, read_table
from ostinato.errors import DataError
from ostinato.tasks.classification.columns import Columns


@dataclass(frozen=True)
class Rows:
    """N rows, in the files' order.

    Args:
        sequences: what is read, and where it stands.
        targets: for each the cells of its targets; None if they were not asked for.
        table: of the files, if they are a table.
        columns: how the sequences stand in it.
    """

    sequences: Sequences
    targets: list[tuple[Any, ...]] | None
    table: Table | None
    columns: Columns

    @property
    def name(self) -> str:
        """The files in a message."""
        files = self.sequences.files
        return files[0].name + (f" and {len(files) - 1} more" if len(files) > 1 else "")

    def own(self, row: int) -> dict[str, Any]:
        """A row's own columns: to stand before its prediction."""
        sequences = self.sequences
        if self.columns.layout == "long" and sequences.groups is not None and self.columns.group is not None:
            return {self.columns.group: sequences.groups[row]}
        if self.table is not None and sequences.rows is not None:
            return self.table[sequences.rows[row]]
        known = {} if self.targets is None else {"target": self.targets[row][0]}
        return {"place": sequences.where(row), **known}

    def cells(self, column: str) -> list[Any]:
        """What another column says in each row's first line.

        Raises:
            DataError: there is no such column, or no table.
        """
        if self.table is None or self.sequences.rows is None:
            raise DataError(f"{self.name} is no table, so it has no column {column!r}; leave the name of a column out")
        cells = self.table.cells(self.table.need(column))
        return [cells[row] for row in self.sequences.rows]


def is_ts(files: Sequence[Path]) -> bool:
    """Whether these are ``.ts`` files."""
    return files[0].suffix.lower() == ".ts"


def has_numbers(path: Path) -> bool:
    """Whether a ``.ts`` file's targets are numbers."""
    with open(path, "rb") as file:
        head = file.read(1 << 16).decode("utf-8", "replace").lower()
    return any(line.split()[:2] == ["@targetlabel", "true"] for line in head.splitlines())


def read_rows(files: Sequence[Path], columns: Columns, with_target: bool = True) -> Rows:
    """The rows of files in which sequences stand as ``columns`` says.

    Raises:
        DataError: the files are of another form, a column is missing, or a row cannot be read; the message names the
            line.
    """
    fill = cast(Fill | None, columns.fill)
    if is_ts(files) != (columns.layout == "ts"):
        needed = "reads .ts files" if columns.layout == "ts" else "reads tables or texts"
        raise DataError(f"{files[0]}: this model {needed}, as those it learnt from; convert the file")
    if columns.layout == "ts":
        sequences = layouts.ts_files(files, fill=fill)
        if with_target and sequences.targets is None:
            raise DataError(f"{files[0]} has no targets: its header must say @classLabel true, or @targetlabel true")
        return Rows(sequences, _each(sequences.targets) if with_target else None, None, columns)
    if columns.layout == "files" and with_target:
        sequences = layouts.class_files(files)
        return Rows(sequences, _each(sequences.targets), read_table(files), columns)
    return _rows_of_table(read_table(files), columns, with_target)


def _rows_of_table(table: Table, columns: Columns, with_target: bool) -> Rows:
    read = _reader(table, columns)
    if not with_target:
        return Rows(read(None), None, table, columns)
    found = [read(name) for name in columns.target]
    targets = list(zip(*(one.targets or () for one in found), strict=True))
    return Rows(found[0], targets, table, columns)


def _reader(table: Table, columns: Columns) -> Callable[[str | None], Sequences]:
    """Reads the sequences of a table together with a target."""
    inputs, fill = list(columns.inputs), cast(Fill | None, columns.fill)
    if columns.layout == "long":
        group = str(columns.group)
        return lambda target: layouts.long_rows(table, group, inputs, target, time=columns.time, fill=fill)
    if columns.layout == "wide":
        return lambda target: layouts.wide_rows(table, inputs, target, fill=fill)
    if columns.layout == "cells":
        return lambda target: layouts.lists(table, inputs, target, fill=fill)
    # A plain text has one column, whatever the one of the table was called that a model learnt from.
    column = "text" if table.columns == ("text",) else inputs[0]
    return lambda target: layouts.texts(table, column, target)


def _each(targets: list[Any] | None) -> list[tuple[Any, ...]]:
    return [(target,) for target in targets or ()]
