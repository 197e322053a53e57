"""Missing values: an error, unless the user says how to fill them; every value that is touched is counted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from ostinato.data.times import step_in_words
from ostinato.errors import DataError, InvalidValue
from ostinato.models.needs import need

Fill = Literal["forward", "linear", "zero", "mean"]
FILLS = ("forward", "linear", "zero", "mean")


def filled(
    values: Any,
    how: Fill | None,
    names: Sequence[str],
    where: Callable[[int], str],
    means: Sequence[float] | None = None,
) -> tuple[Any, int]:
    """The values of one series without gaps, and how many were put in.

    >>> import numpy
    >>> values = numpy.array([[1.0], [numpy.nan], [3.0]])
    >>> filled(values, "linear", ["x"], str)[0].tolist(), filled(values, "forward", ["x"], str)
    ([[1.0], [2.0], [3.0]], (array([[1.],
           [1.],
           [3.]]), 1))

    Args:
        values: (T, C) numpy float64; NaN is a gap.
        how: ``forward`` takes the last value (the first one before any), ``linear`` lies between the neighbours (at an
            end it is the last neighbour), ``zero`` is 0, ``mean`` takes ``means``. None is an error.
        names: of the columns.
        where: the file and line of a row.
        means: (C) of the training part, for ``mean``.

    Raises:
        DataError: there is a gap and nothing to fill it with.
    """
    numpy = need("numpy", "tasks")
    gaps = numpy.isnan(values)
    count = int(gaps.sum())
    if not count:
        return values, 0
    if how is None:
        row, column = (int(index) for index in numpy.argwhere(gaps)[0])
        more = f" ({count:,} values are in all)" if count > 1 else ""
        raise DataError(
            f"{where(row)}: column {names[column]!r} is empty{more}; say how to fill it: --fill forward, linear or zero"
        )
    if how not in FILLS:
        raise InvalidValue(f"fill must be one of {', '.join(FILLS)}, got {how!r}")
    result = values.copy()
    steps = numpy.arange(len(values))
    for column in numpy.flatnonzero(gaps.any(axis=0)).tolist():
        known = steps[~gaps[:, column]]
        if how == "zero":
            result[gaps[:, column], column] = 0.0
        elif how == "mean":
            if means is None:
                raise InvalidValue("fill mean needs the means of the training part")
            result[gaps[:, column], column] = means[column]
        elif not len(known):
            raise DataError(
                f"{where(0)} and the {len(values):,} rows from there: column {names[column]!r} is always empty; "
                f"leave it out, or --fill zero"
            )
        elif how == "linear":
            result[:, column] = numpy.interp(steps, known, values[known, column])
        else:
            last = numpy.maximum(numpy.searchsorted(known, steps, side="right") - 1, 0)
            result[:, column] = values[known[last], column]
    return result, count


def resampled(seconds: Any, values: Any, step: float) -> tuple[Any, Any, int]:
    """A series on a regular step: times, the mean of each step's rows (NaN where there is none), and how many of the
    steps hold anything but exactly one row.

    >>> import numpy
    >>> times, means, touched = resampled(numpy.array([0.0, 5.0, 31.0]), numpy.array([[1.0], [3.0], [4.0]]), 10.0)
    >>> times.tolist(), means[:, 0].tolist(), touched
    ([0.0, 10.0, 20.0, 30.0], [2.0, nan, nan, 4.0], 3)

    Args:
        seconds: (T,) rising.
        values: (T, C); a NaN is left out of its mean.
        step: in seconds; steps begin at its multiples.
    """
    numpy = need("numpy", "tasks")
    place = numpy.floor(seconds / step).astype("int64")
    place, first = place - place[0], float(place[0])
    count = int(place[-1]) + 1
    if count > 100 * len(seconds) + 1000:
        raise DataError(
            f"a step of {step_in_words(step)} makes {count:,} steps of {len(seconds):,} rows; give a longer --resample"
        )
    there = ~numpy.isnan(values)
    total, number = numpy.zeros((count, values.shape[1])), numpy.zeros((count, values.shape[1]))
    numpy.add.at(total, place, numpy.where(there, values, 0.0))
    numpy.add.at(number, place, there)
    with numpy.errstate(invalid="ignore"):
        means = numpy.where(number > 0, total / numpy.where(number > 0, number, 1), numpy.nan)
    rows = numpy.bincount(place, minlength=count)
    return (first + numpy.arange(count)) * step, means, int((rows != 1).sum())


def regular_step(seconds: Any, where: Callable[[int], str], column: str) -> float:
    """The step between the times of one series.

    Raises:
        DataError: times are missing, or do not come in one step; the message names the line after the first gap.
    """
    numpy = need("numpy", "tasks")
    if len(seconds) < 2:
        raise DataError(f"{where(0)}: one row is no series; give more")
    steps = numpy.diff(seconds)
    usual = float(numpy.median(steps))
    bad = numpy.flatnonzero(numpy.abs(steps - usual) > 1e-6 * max(abs(usual), 1.0))
    if len(bad):
        row = int(bad[0]) + 1
        here = step_in_words(float(steps[row - 1]))
        raise DataError(
            f"{where(row)}: the time in column {column!r} is {here} after the row before, and the usual step is "
            f"{step_in_words(usual)}; bring the rows onto one step: --resample {step_in_words(usual)} --fill linear"
        )
    return usual
