"""What every layout of a file comes to: sequences, their targets, and where each came from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ostinato.data.table import Table


@dataclass(frozen=True)
class Sequences:
    """N sequences.

    Args:
        inputs: texts, or (T, I) float32 tensors, or tokens; list-like.
        names: the I channels, or the one column of texts.
        targets: one for each sequence, as they stand in the file; None where none was asked for.
        groups: what each is called: its group in long format; None elsewhere.
        where: the file and the first line of a sequence.
        file: the number of the file that a sequence came from.
        files: all files.
        fingerprint: a hash of the files' names and bytes.
        notes: what was left out or filled, to be printed.
        rows: of the table, for each sequence the first one; a column such as a split is read there.
    """

    inputs: Sequence[Any]
    names: tuple[str, ...]
    targets: list[Any] | None
    groups: list[Any] | None
    where: Callable[[int], str]
    file: Callable[[int], int]
    files: tuple[Path, ...]
    fingerprint: str
    notes: tuple[str, ...] = ()
    rows: Sequence[int] | None = None

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def of_text(self) -> bool:
        """Whether the sequences are texts."""
        return len(self.inputs) > 0 and isinstance(self.inputs[0], str)

    def lengths(self) -> list[int]:
        """Steps of each sequence; characters of a text."""
        return [len(one) for one in self.inputs]


def of_table(
    table: Table,
    inputs: Sequence[Any],
    names: tuple[str, ...],
    target: str | None,
    notes: tuple[str, ...] = (),
    rows: Sequence[int] | None = None,
    groups: list[Any] | None = None,
) -> Sequences:
    """Sequences that start in these rows of a table; in all rows where None is given."""
    first = range(len(table)) if rows is None else rows
    targets = None
    if target is not None:
        cells = table.cells(table.need(target, "--target"))
        targets = list(cells) if rows is None else [cells[row] for row in rows]
    return Sequences(
        inputs,
        names,
        targets,
        groups,
        lambda index: table.where(first[index]),
        lambda index: table.file_number(first[index]),
        table.files,
        table.fingerprint,
        (*table.notes, *notes),
        first,
    )
