"""From a table to series: wide or long, each in order, on one step and without gaps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ostinato.data.gaps import filled, resampled
from ostinato.data.table import Table
from ostinato.data.times import parse_step, seconds_of, step_in_words
from ostinato.errors import DataError
from ostinato.models.needs import need
from ostinato.models.series_form import Columns
from ostinato.tasks.forecasting.series import Series
from ostinato.tasks.forecasting.time_axis import TimeAxis, Where, axis, counted


@dataclass(frozen=True)
class Read:
    """What a table holds.

    Args:
        series: in the order of their first rows.
        axis: the time of the first one; all have the same step.
        notes: how many values were touched.
    """

    series: tuple[Series, ...]
    axis: TimeAxis
    notes: tuple[str, ...]


@dataclass
class _Touched:
    """Counts over all series."""

    filled: int = 0
    values: int = 0
    steps: int = 0


def read_series(table: Table, columns: Columns, *, fill: Any = None, resample: str | None = None) -> Read:
    """The series of a table.

    Rows at the end of a series whose target is empty say what is known of the future, if there are known columns.

    Raises:
        DataError: a column is missing or holds no numbers, a group is empty, times are out of order, repeated or
            missing, values are missing and ``fill`` is None, or the series differ in their step.
    """
    numpy = need("numpy", "tasks")
    names = (*columns.targets, *columns.inputs, *columns.known)
    flags = ["--target"] * len(columns.targets) + ["--inputs"] * len(columns.inputs) + ["--known"] * len(columns.known)
    values = numpy.stack([table.numbers(name, flag) for name, flag in zip(names, flags, strict=True)], axis=1)
    seconds = None if columns.time is None else seconds_of(table, columns.time)
    if resample is not None and seconds is None:
        raise DataError(f"{table.name}: --resample needs time stamps; name their column with --time")
    labels = table.column(columns.time) if columns.time is not None else []
    touched, found, axes = _Touched(), [], []
    step = None if resample is None else parse_step(resample)
    for group, rows in _groups(table, columns.group):
        where = _where(table, rows)
        single, when = values[rows], counted(len(rows))
        if columns.time is not None and seconds is not None:
            of = [labels[row] for row in rows]
            when = axis(seconds[rows], of, where, columns.time, group or columns.targets[0], even=step is None)
        if step is not None:
            times, single, count = resampled(when.values, single, step)
            when, touched.steps = TimeAxis(times, step, label=when.label), touched.steps + count
            where = _step_where(where, when, len(single))
        for target in range(len(columns.targets)):
            one = _one_series(single, target, columns, group, when, where, fill, touched)
            found.append(one)
            axes.append(when)
    _check_steps(found, axes)
    return Read(tuple(found), axes[0], _notes(touched, fill, resample))


def _one_series(
    values: Any, target: int, columns: Columns, group: str, when: TimeAxis, where: Where, fill: Any, touched: _Touched
) -> Series:
    numpy = need("numpy", "tasks")
    first, last = len(columns.targets), len(columns.targets) + len(columns.inputs)
    name = columns.targets[target]
    series = name if not group else group if first == 1 else f"{group} {name}"
    end = len(values)
    if columns.known:
        there = numpy.flatnonzero(~numpy.isnan(values[:, target]))
        end = int(there[-1]) + 1 if len(there) else 0
    if end == 0:
        raise DataError(f"{where(0)}: series {series} has no value in column {name!r}")
    past, count = filled(values[:end, [target, *range(first, last)]], fill, [name, *columns.inputs], where)
    known, more = filled(values[:, last:], fill, columns.known, where)
    touched.filled += count + more
    touched.values += past.size + known.size
    table = torch.full((len(values), past.shape[1]), torch.nan, dtype=torch.float64)
    table[:end] = torch.from_numpy(past.copy())
    known = torch.from_numpy(numpy.ascontiguousarray(known))
    start = float(when.values[0]) if when.label is not None else 0.0
    return Series(series, table[:, 0], table[:, 1:], known, end, when.moment, start)


def _groups(table: Table, column: str | None) -> Iterator[tuple[str, Any]]:
    """Name and rows of each series, in the order of first occurrence; one nameless without a column."""
    numpy = need("numpy", "tasks")
    if column is None:
        yield "", numpy.arange(len(table))
        return
    rows: dict[Any, list[int]] = {}
    for row, cell in enumerate(table.cells(table.need(column, "--group"))):
        if cell is None:
            raise DataError(f"{table.where(row)}: column {column!r} (--group) is empty; every row belongs to a series")
        rows.setdefault(cell, []).append(row)
    for cell, of in rows.items():
        yield str(cell), numpy.array(of)


def _where(table: Table, rows: Any) -> Where:
    return lambda row: table.where(int(rows[row]))


def _step_where(where: Where, when: TimeAxis, rows: int) -> Where:
    """Of resampled rows: the file of the series, and the time."""
    return lambda row: f"{where(0).rpartition(',')[0]}, the step at {when.moment(min(row, rows - 1))}"


def _check_steps(series: Sequence[Series], axes: Sequence[TimeAxis]) -> None:
    for one, when in zip(series, axes, strict=True):
        if abs(when.step - axes[0].step) > 1e-6 * axes[0].step or when.months != axes[0].months:
            raise DataError(
                f"series {one.name} has a step of {step_in_words(when.step)}, and {series[0].name} one of "
                f"{step_in_words(axes[0].step)}; bring them onto one: --resample {step_in_words(axes[0].step)}"
            )


def _notes(touched: _Touched, fill: Any, resample: str | None) -> tuple[str, ...]:
    notes = []
    if resample is not None:
        notes.append(f"--resample {resample}: {touched.steps:,} steps held anything but exactly one row")
    if touched.filled:
        notes.append(f"--fill {fill}: {touched.filled:,} of {touched.values:,} values were put in")
        if fill == "linear":
            notes.append("a value put in by --fill linear knows the one after its gap; --fill forward does not")
    return tuple(notes)
