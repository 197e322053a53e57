"""Time stamps as seconds, and the order in which they must come."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from ostinato.data.table import Table
from ostinato.errors import DataError, InvalidValue
from ostinato.models.needs import need

STAMP = re.compile(r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?)?\s*(Z|[+-]\d{2}:?\d{2})?")
"""A date, or a date and a time, in ISO 8601."""

UNITS = {"s": 1, "sec": 1, "min": 60, "t": 60, "h": 3600, "d": 86_400, "w": 604_800}


def looks_like_time(cell: object) -> bool:
    """Whether a text is a date, or a date and a time, in ISO 8601.

    >>> looks_like_time("2016-07-01 00:00:00"), looks_like_time("2016-07-01T00:00Z"), looks_like_time("7/1/2016")
    (True, True, False)
    """
    return isinstance(cell, str) and STAMP.fullmatch(cell.strip()) is not None


def seconds_of(table: Table, column: str, what: str = "--time") -> Any:
    """(N,) float64: a column of numbers as it is, one of time stamps as seconds since 1970.

    A stamp without a zone is read as UTC, so that no hour is skipped or doubled.

    Raises:
        DataError: a cell is empty, or neither a number nor a time in ISO 8601; the message names the line.
    """
    numpy = need("numpy", "tasks")
    table.need(column, what)
    if table.kinds[column] in ("integer", "number"):
        seconds = table.numbers(column, what)
        if len(gaps := numpy.flatnonzero(numpy.isnan(seconds))):
            raise DataError(
                f"{table.where(int(gaps[0]))}: column {column!r} ({what}) is empty; every row needs its time"
            )
        return seconds
    cells = table.column(column)
    for row, cell in enumerate(cells):
        if not looks_like_time(cell):
            came = "nothing" if cell is None else repr(cell[:40] if isinstance(cell, str) else cell)
            raise DataError(
                f"{table.where(row)}: column {column!r} ({what}) must hold numbers or times such as "
                f"2016-07-01 12:00:00, got {came}"
            )
    pandas = need("pandas", "tasks")
    times = pandas.to_datetime(pandas.Series(cells), format="ISO8601", utc=True, errors="coerce")
    if len(bad := numpy.flatnonzero(times.isna().to_numpy())):
        row = int(bad[0])
        raise DataError(f"{table.where(row)}: column {column!r} ({what}) has no such day or hour: {cells[row]!r}")
    epoch = pandas.Timestamp("1970-01-01", tz="UTC")
    return ((times - epoch) / pandas.Timedelta(seconds=1)).to_numpy(dtype="float64")


def check_rising(seconds: Sequence[float] | Any, where: Callable[[int], str], column: str, of: str = "") -> None:
    """Nothing, when every time comes after the one before.

    Args:
        seconds: (N,) times, in the file's order.
        where: the file and line of each.
        column: its name.
        of: whose times they are, for the message, as in ``" of unit 7"``.

    Raises:
        DataError: a time is repeated, or earlier than the one before.
    """
    numpy = need("numpy", "tasks")
    bad = numpy.flatnonzero(numpy.diff(seconds) <= 0)
    if not len(bad):
        return
    row = int(bad[0]) + 1
    if seconds[row] == seconds[row - 1]:
        raise DataError(
            f"{where(row)}: the time in column {column!r}{of} is that of {where(row - 1)}; keep one row for each time"
        )
    raise DataError(
        f"{where(row)}: the time in column {column!r}{of} is earlier than in {where(row - 1)}; sort the rows by time"
    )


def parse_step(text: str) -> float:
    """A step of time in seconds.

    >>> parse_step("15min"), parse_step("1h"), parse_step("1d")
    (900.0, 3600.0, 86400.0)

    Raises:
        InvalidValue: it is none.
    """
    match = re.fullmatch(r"(\d*\.?\d+)\s*([a-z]+)", text.strip().lower())
    if match is None or match[2] not in UNITS or float(match[1]) == 0:
        raise InvalidValue(f"a step of time must be like 30s, 15min, 1h, 1d or 1w, got {text!r}")
    return float(match[1]) * UNITS[match[2]]


def step_in_words(seconds: float) -> str:
    """The step as ``parse_step`` reads it.

    >>> step_in_words(3600), step_in_words(900), step_in_words(86400)
    ('1h', '15min', '1d')
    """
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds % size == 0:
            return f"{seconds / size:g}{unit}"
    return f"{seconds:g}s"
