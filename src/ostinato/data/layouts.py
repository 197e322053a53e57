"""How sequences stand in files: one function a layout, each giving the same :class:`Sequences`.

=================  ===================================================================
texts              one row a sequence, a text in a column
wide_rows          one row a sequence, a step in each column
lists              one row a sequence, a list of numbers in a cell, of each channel
long_rows          one row a step: ``group``, ``time``, ``inputs``, ``target``
class_files        one file a class, one sequence a line: the label is the file's name
ts_files           the UEA and sktime archives' ``.ts``
=================  ===================================================================
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ostinato.data.files import expand, unchanged
from ostinato.data.gaps import Fill, filled
from ostinato.data.sequences import Sequences, of_table
from ostinato.data.table import Table, read_table
from ostinato.data.times import check_rising, seconds_of
from ostinato.data.ts_format import TsFile, parse_ts
from ostinato.errors import DataError
from ostinato.models.needs import need

Paths = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]


def check_columns(table: Table, inputs: Sequence[str], target: str | None, *others: str | None) -> None:
    """Nothing, when all columns are there and none is both read and to be found out.

    Raises:
        DataError: a column is missing, named twice, or target and input at once.
    """
    for name in inputs:
        table.need(name, "--inputs")
    if target is not None:
        table.need(target, "--target")
        if target in inputs:
            raise DataError(f"the target {target!r} is also an input; the model would read the answer, so leave it out")
    if len(set(inputs)) < len(inputs):
        twice = next(name for name in inputs if inputs.count(name) > 1)
        raise DataError(f"--inputs names {twice!r} twice")
    for other in others:
        if other is not None and other in (target, *inputs):
            role = "the target" if other == target else "an input"
            raise DataError(f"column {other!r} says which row a step is, so it cannot be {role} too")


def texts(table: Table, column: str, target: str | None = None) -> Sequences:
    """One row a sequence, whose text stands in a column.

    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile("w", suffix=".tsv") as file:
    ...     _ = file.write("text\\tmood\\nso good\\t+\\nso bad\\t-\\n"); file.flush()
    ...     sequences = texts(read_table(file.name), "text", "mood")
    >>> list(sequences.inputs), sequences.targets
    (['so good', 'so bad'], ['+', '-'])

    Raises:
        DataError: a missing column, an empty text, or a column that holds something else.
    """
    check_columns(table, (column,), target)
    if table.kinds[column] not in ("text", "integer", "number"):
        raise DataError(f"{table.name}: column {column!r} (--inputs) must hold texts")
    cells = table.cells(column)
    for row, cell in enumerate(cells):
        if cell is None or (isinstance(cell, str) and not cell.strip()):
            raise DataError(f"{table.where(row)}: column {column!r} is empty; a sequence of length 0 cannot be read")
    inputs: Sequence[Any] = cells if table.kinds[column] == "text" else [str(cell) for cell in cells]
    return of_table(table, inputs, (column,), target)


def wide_rows(
    table: Table, columns: Sequence[str], target: str | None = None, *, fill: Fill | None = None
) -> Sequences:
    """One row a sequence of one channel, a step in each of the columns; (T, 1) each.

    Empty cells at the end of a row make its sequence shorter; others are gaps.

    Raises:
        DataError: a missing column, a cell that is no number, a row without any, or a gap.
    """
    check_columns(table, columns, target)
    numpy = need("numpy", "tasks")
    values = numpy.stack([table.numbers(name, "--inputs") for name in columns], axis=1)
    there = ~numpy.isnan(values)
    lengths = numpy.where(there.any(axis=1), len(columns) - there[:, ::-1].argmax(axis=1), 0)
    inputs, touched = [], 0
    for row, length in enumerate(lengths.tolist()):
        if length == 0:
            raise DataError(f"{table.where(row)} has no value in its columns; a sequence of length 0 cannot be read")
        if there[row, :length].all():
            inputs.append(torch.tensor(values[row, :length], dtype=torch.float32)[:, None])
            continue
        if fill is None:
            gap = int((~there[row, :length]).argmax())
            raise DataError(
                f"{table.where(row)}: column {columns[gap]!r} is empty; fill it: --fill forward, linear or zero"
            )
        series, count = filled(values[row, :length, None], fill, ["value"], always(table.where(row)))
        inputs.append(torch.from_numpy(series).float())
        touched += count
    return of_table(table, inputs, ("value",), target, filled_note(touched, fill))


def lists(table: Table, columns: Sequence[str], target: str | None = None, *, fill: Fill | None = None) -> Sequences:
    """One row a sequence, whose steps stand as a list in a cell: a column a channel, or one of lists of lists.

    Raises:
        DataError: a cell without a step, lists of different lengths in a row, or a gap.
    """
    check_columns(table, columns, target)
    numpy = need("numpy", "tasks")
    for name in columns:
        if table.kinds[name] not in ("numbers", "rows"):
            raise DataError(f"{table.name}: column {name!r} (--inputs) must hold lists of numbers")
    inputs, touched, width = [], 0, None
    for row, cells in enumerate(zip(*(table.cells(name) for name in columns), strict=True)):
        for name, cell in zip(columns, cells, strict=True):
            if not cell:
                raise DataError(f"{table.where(row)}: column {name!r} is empty; a sequence of length 0 cannot be read")
            if len(cell) != len(cells[0]):
                raise DataError(
                    f"{table.where(row)}: column {name!r} has {len(cell):,} steps, and {columns[0]!r} has "
                    f"{len(cells[0]):,}; all channels of a sequence must be as long"
                )
        values = numpy.concatenate(
            [numpy.array(cell, dtype="float64").reshape(len(cells[0]), -1) for cell in cells], axis=1
        )
        width = width or values.shape[1]
        if values.shape[1] != width:
            raise DataError(f"{table.where(row)} has {values.shape[1]} channels, and the rows before have {width}")
        values, count = filled(values, fill, [", ".join(columns)] * width, always(table.where(row)))
        inputs.append(torch.from_numpy(values).float())
        touched += count
    names = tuple(columns if width == len(columns) else (f"dim_{index}" for index in range(width or 0)))
    return of_table(table, inputs, names, target, filled_note(touched, fill))


def long_rows(
    table: Table,
    group: str,
    inputs: Sequence[str],
    target: str | None = None,
    *,
    time: str | None = None,
    fill: Fill | None = None,
) -> Sequences:
    """One row a step: the rows of a group make a sequence, in the order of the file, which must be that of the time.

    Raises:
        DataError: a missing column; an empty group; times that are repeated or fall; a gap; a target that is not the
            same in all rows of a group. The message names the line.
    """
    check_columns(table, inputs, target, group, time)
    numpy = need("numpy", "tasks")
    table.need(group, "--group")
    rows: dict[Any, list[int]] = {}
    for row, name in enumerate(table.cells(group)):
        if name is None:
            raise DataError(f"{table.where(row)}: column {group!r} (--group) is empty; every row belongs to a group")
        rows.setdefault(name, []).append(row)
    seconds = None if time is None else seconds_of(table, time)
    values = numpy.stack([table.numbers(name, "--inputs") for name in inputs], axis=1)
    answers = None if target is None else table.column(target)
    series, touched = [], 0
    for name, own in rows.items():

        def where(step: int, own: list[int] = own) -> str:
            return table.where(own[step])

        if seconds is not None and time is not None:
            check_rising(seconds[own], where, time, f" of {group} {name}")
        if answers is not None:
            _check_constant(answers, own, where, target or "", f"{group} {name}")
        steps, count = filled(values[own], fill, inputs, where)
        series.append(torch.from_numpy(steps).float())
        touched += count
    first = [own[0] for own in rows.values()]
    return of_table(table, series, tuple(inputs), target, filled_note(touched, fill), first, list(rows))


def _check_constant(answers: list[Any], own: list[int], where: Any, target: str, name: str) -> None:
    for step, row in enumerate(own):
        if answers[row] != answers[own[0]]:
            raise DataError(
                f"{where(step)}: the target {target!r} must be the same in all rows of {name}, got {answers[row]!r} "
                f"after {answers[own[0]]!r} in {where(0)}"
            )


def class_files(files: Paths) -> Sequences:
    """One file a class: each line is a sequence, and its label is the file's name without the ending.

    Raises:
        DataError: no such files, two of one name, or a file that is no UTF-8 text.
    """
    paths = expand(files)
    stems: dict[str, Path] = {}
    for path in paths:
        if path.stem in stems:
            raise DataError(f"{stems[path.stem]} and {path} would both be class {path.stem!r}; rename one of them")
        stems[path.stem] = path
    table = read_table(paths)
    made = of_table(table, table.cells("text"), ("text",), None)
    labels = [path.stem for number, path in enumerate(paths) for _ in table.rows_of(number)]
    return Sequences(**{**vars(made), "targets": labels})


def ts_files(files: Paths, *, fill: Fill | None = None) -> Sequences:
    """Sequences of ``.ts`` files, with the labels or target numbers that they hold.

    Raises:
        DataError: a file breaks the format, has other channels than the first, or a gap.
    """
    paths = expand(files)
    with unchanged(paths) as fingerprint:
        parsed = [parse_ts(path) for path in paths]
    _check_alike(paths, parsed)
    ends = list(accumulate(len(one.series) for one in parsed))
    lines = [line for one in parsed for line in one.lines]

    def file(index: int) -> int:
        return bisect_right(ends, index)

    def where(index: int) -> str:
        return f"{paths[file(index)].name}, line {lines[index]:,}"

    inputs: list[Tensor] = []
    touched = 0
    for index, series in enumerate(series for one in parsed for series in one.series):
        if series.isnan().any():
            values, count = filled(series.double().numpy(), fill, parsed[0].channels, always(where(index)))
            series, touched = torch.from_numpy(values).float(), touched + count
        inputs.append(series)
    targets: list[Any] | None = None
    if parsed[0].targets is not None:
        targets = [target for one in parsed for target in one.targets or ()]
    names = tuple(parsed[0].channels)
    return Sequences(inputs, names, targets, None, where, file, paths, fingerprint, filled_note(touched, fill))


def _check_alike(paths: Sequence[Path], parsed: Sequence[TsFile]) -> None:
    for path, one in zip(paths, parsed, strict=True):
        if len(one.channels) != len(parsed[0].channels):
            raise DataError(
                f"{path} has {len(one.channels)} channels, and {paths[0]} has {len(parsed[0].channels)}; "
                f"files that are read together must be alike"
            )
        if (one.header.labels is None, one.header.regression) != (
            parsed[0].header.labels is None,
            parsed[0].header.regression,
        ):
            raise DataError(f"{path} and {paths[0]} have different kinds of targets; read them apart")


def always(where: str) -> Callable[[int], str]:
    """One place for every step: that of a sequence in one line."""
    return lambda _: where


def filled_note(touched: int, fill: str | None) -> tuple[str, ...]:
    """What to say of values that were put in."""
    if not touched:
        return ()
    return (f"{touched:,} missing value{'s were' if touched > 1 else ' was'} filled in (--fill {fill})",)
