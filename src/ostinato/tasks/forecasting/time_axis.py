"""When the rows of a series were, in one step, and how the time goes on after them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from ostinato.data.gaps import regular_step
from ostinato.data.times import check_rising
from ostinato.models.calendar import CYCLES, DAY

MONTH = CYCLES["year"] / 12

Where = Callable[[int], str]
"""Row of a series → its file and line, for messages."""


@dataclass(frozen=True)
class TimeAxis:
    """The time of a series.

    Args:
        values: (T,) of each row: seconds since 1970, or what a column of numbers holds, or the row's own number.
        step: between two rows, in the same unit; of months their mean length.
        months: how many of them a step is; 0 if it is none.
        label: the last row's time as the file writes it, if it is a date.
        day: of the month, in steps of months.
    """

    values: Any
    step: float
    months: int = 0
    label: str | None = None
    day: int = 31

    @property
    def seconds(self) -> float:
        """The step in seconds; 0 if these are no dates."""
        return 0.0 if self.label is None else self.step

    @property
    def season(self) -> int:
        """Steps of the season that this step suggests: a day, a week of days, a year of weeks or months; 1 for none."""
        if self.label is None:
            return 1
        if self.months:
            return 12 // self.months if 12 % self.months == 0 else 1
        if self.step < DAY:
            return round(DAY / self.step) if DAY % self.step == 0 else 1
        return {DAY: 7, 7 * DAY: 52}.get(self.step, 1)

    def moment(self, row: int) -> str | float:
        """The time of a row, as the file would write it; it goes on in the same step past the end.

        >>> TimeAxis([0.0, 3600.0], 3600.0, label="1970-01-01 01:00").moment(2)
        '1970-01-01 02:00'
        """
        last = len(self.values) - 1
        value = float(self.values[row] if row <= last else self.values[last] + (row - last) * self.step)
        if self.label is None:
            return int(value) if value.is_integer() else value
        zone = datetime.fromisoformat(self.label).tzinfo
        if self.months and row > last:
            when = _months_later(datetime.fromisoformat(self.label), (row - last) * self.months, self.day)
        else:
            when = datetime.fromtimestamp(value, zone or UTC).replace(tzinfo=zone)
        if len(self.label) == len("2024-05-31") and self.step >= DAY:
            return when.date().isoformat()
        minutes = len(self.label) == len("2024-05-31 18:00") and not when.second
        return when.isoformat(self.label[10:11] or " ", timespec="minutes" if minutes else "auto")


def counted(rows: int) -> TimeAxis:
    """The axis of a series without time: the rows' numbers from 1."""
    return TimeAxis(range(1, rows + 1), 1.0)


def axis(seconds: Any, labels: Sequence[Any], where: Where, column: str, series: str, *, even: bool = True) -> TimeAxis:
    """The axis of a series with a column of time.

    Args:
        seconds: (T,) the times, numpy float64.
        labels: as they stand in the file: ISO 8601, or numbers.
        where: the file and line of a row.
        column: its name.
        series: its name, for messages.
        even: whether one step must lie between all of them.

    Raises:
        DataError: a time is repeated or out of order, or steps are missing.
    """
    check_rising(seconds, where, column, f" of series {series}")
    label = str(labels[-1]).strip() if isinstance(labels[-1], str) else None
    if not even:
        return TimeAxis(seconds, 0.0, label=label)
    if label is not None and len(labels) > 1 and seconds[1] - seconds[0] >= 28 * DAY:
        when = [datetime.fromisoformat(str(one).strip()) for one in labels]
        if months := _months_between(when):
            return TimeAxis(seconds, months * MONTH, months, label, max(one.day for one in when))
    return TimeAxis(seconds, regular_step(seconds, where, column), label=label)


def _months_between(when: Sequence[datetime]) -> int:
    """How many months lie between any two neighbours, if as many lie between all; else 0."""
    apart = {12 * (after.year - before.year) + after.month - before.month for before, after in pairwise(when)}
    day = max(one.day for one in when)
    same = all(one.day == min(day, _days_of(one.year, one.month)) for one in when)
    return apart.pop() if len(apart) == 1 and same else 0


def _months_later(when: datetime, months: int, day: int) -> datetime:
    """On that day of the month, or its last."""
    year, month = divmod(12 * when.year + when.month - 1 + months, 12)
    return when.replace(year=year, month=month + 1, day=min(day, _days_of(year, month + 1)))


def _days_of(year: int, month: int) -> int:
    return (datetime(year + month // 12, month % 12 + 1, 1) - datetime(year, month, 1)).days
