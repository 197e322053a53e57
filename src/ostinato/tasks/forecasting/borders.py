"""Where a series' training part ends, and its validation part: by fractions, months, days or rows."""

from __future__ import annotations

import re
from typing import NamedTuple

from ostinato.errors import DataError, InvalidValue
from ostinato.models.calendar import DAY

MONTH = 30 * DAY

PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*([mdr]?)")


class Borders(NamedTuple):
    """Rows before ``training`` are learnt from, those up to ``validation`` checked with, those up to ``end`` tested."""

    training: int
    validation: int
    end: int


def borders(split: str, count: int, step: float, series: str) -> Borders:
    """The borders of a series of ``count`` rows.

    >>> borders("0.6/0.2/0.2", 50, 0.0, "sales")
    Borders(training=30, validation=40, end=50)
    >>> borders("12/4/4", 17420, 3600.0, "OT")
    Borders(training=8640, validation=11520, end=14400)

    Args:
        split: three fractions, which add up to 1; or three numbers of months of 30 days, plain or with an m; of days,
            with a d; of rows, with an r. What comes after them is not used.
        count: rows of the series.
        step: seconds between two rows; 0 where there is no time.
        series: its name, for messages.

    Raises:
        InvalidValue: a text that says no such thing.
        DataError: the series is shorter than that, or has no time.
    """
    numbers, unit = _read(split)
    if unit == "" and max(numbers) <= 1 and abs(sum(numbers) - 1) < 1e-6:
        return Borders(round(count * numbers[0]), round(count * (numbers[0] + numbers[1])), count)
    if unit == "r":
        rows = [round(number) for number in numbers]
    elif step <= 0:
        raise DataError(
            f"split {split} counts {'days' if unit == 'd' else 'months'}, and there is no time to count by; "
            f"name its column with --time, or count rows, as in 800r/100r/100r"
        )
    else:
        rows = [round(number * (DAY if unit == "d" else MONTH) / step) for number in numbers]
    if sum(rows) > count:
        raise DataError(
            f"split {split} needs {sum(rows):,} rows, and series {series} has {count:,}; "
            f"give fractions, as in 0.7/0.1/0.2, or rows, as in 800r/100r/100r"
        )
    return Borders(rows[0], rows[0] + rows[1], sum(rows))


def _read(split: str) -> tuple[list[float], str]:
    rule = (
        f"split must be three fractions that add up to 1 (0.7/0.1/0.2), or months of 30 days (12/4/4), days "
        f"(90d/30d/30d) or rows (800r/100r/100r), got {split!r}"
    )
    found = [PART.fullmatch(part.strip()) for part in split.split("/")]
    matches = [match for match in found if match is not None]
    if len(matches) != 3 or len(found) != 3 or len({match[2] for match in matches}) != 1:
        raise InvalidValue(rule)
    numbers = [float(match[1]) for match in matches]
    if min(numbers[:2]) <= 0 or (matches[0][2] == "" and sum(numbers) < 2 and abs(sum(numbers) - 1) > 1e-6):
        raise InvalidValue(rule)
    return numbers, matches[0][2]
