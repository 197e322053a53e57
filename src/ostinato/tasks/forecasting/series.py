"""Series as they were read, and all of them as one pool that gives windows at any origin."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from ostinato.models.calendar import on_circles
from ostinato.models.forecasting_windows import Windows
from ostinato.models.series_form import SeriesForm, standardised

Moment = Callable[[int], str | float]
"""Row of a series → its time as the file writes it; rows past the end go on in the same step."""


@dataclass(frozen=True)
class Series:
    """One series, without gaps.

    Args:
        name: the target's column, or the group.
        target: (R,) float64 in units; NaN past the end.
        inputs: (R, P) likewise.
        known: (R, K) known columns.
        end: how many rows have a target; rows after it only say what is known of the future.
        moment: time of a row.
        seconds: of the first row; 0 where there is no time.
    """

    name: str
    target: Tensor
    inputs: Tensor
    known: Tensor
    end: int
    moment: Moment = field(default=float)
    seconds: float = 0.0


class Pool:
    """Windows of many series at any origin. An origin is the first row that is forecast, counted through all series.

    >>> one = Series("a", torch.arange(6.0).double(), torch.zeros(6, 0), torch.zeros(6, 0), 6)
    >>> pool = Pool([one], SeriesForm(), window=2, horizon=1)
    >>> origins = pool.origins([(0, 6)])
    >>> origins.tolist(), pool.targets(origins).tolist()
    ([2, 3, 4, 5], [[2.0], [3.0], [4.0], [5.0]])

    Args:
        series: at least one.
        form: standardises them.
        window, horizon: W steps are read, and so many forecast.
    """

    def __init__(self, series: Sequence[Series], form: SeriesForm, *, window: int, horizon: int) -> None:
        self.series = series
        self.form = form
        self.window, self.horizon = window, horizon
        scales = [form.scale_of(one.name, one.target[: one.end]) for one in series]
        self._mean, self._deviation, self._naive = (
            torch.tensor([getattr(scale, name) for scale in scales], dtype=torch.float64)
            for name in ("mean", "deviation", "naive")
        )
        # Past its end every series has room for a forecast, of which at least the calendar is known.
        tables = [_with_room(one, horizon) for one in series]
        sizes = torch.tensor([len(table) for table in tables])
        self.first = torch.cat((torch.zeros(1, dtype=torch.long), sizes.cumsum(0)))
        self._target = torch.cat([table[:, 0] for table in tables])
        circles = [
            on_circles(one.seconds + form.step * torch.arange(len(table), dtype=torch.float64), form.calendar)
            for one, table in zip(series, tables, strict=True)
        ]
        values = torch.cat(
            [standardised(table, (scale, *form.beside)) for table, scale in zip(tables, scales, strict=True)]
        ).float()
        self._past = values[:, : 1 + len(form.columns.inputs)]
        self._known = torch.cat((values[:, self._past.shape[1] :], torch.cat(circles)), dim=1)

    def origins(self, parts: Sequence[tuple[int, int]]) -> Tensor:
        """(N,) every origin whose steps to forecast lie in these rows; the window before may lie outside.

        Args:
            parts: for each series the first row, and the row after the last.
        """
        found = [torch.zeros(0, dtype=torch.long)]
        for number, (start, stop) in enumerate(parts):
            first = max(start, self.window)
            found.append(self.first[number] + torch.arange(first, max(first, stop - self.horizon + 1)))
        return torch.cat(found)

    def windows(self, origins: Tensor) -> Windows:
        """The windows before these origins (N,)."""
        steps = torch.arange(-self.window, self.horizon).unsqueeze(1) + origins
        series = self.series_of(origins)
        known = self._known[steps] if self.form.known else None
        return Windows(self._past[steps[: self.window]], known, self._mean[series], self._deviation[series])

    def targets(self, origins: Tensor) -> Tensor:
        """(N, horizon) what happened, float64 in units."""
        return self._target[origins.unsqueeze(1) + torch.arange(self.horizon)]

    def before(self, origins: Tensor, steps: int, season: int) -> Tensor:
        """(N, steps) the last season before each origin, over and over; the last value where there is no season yet."""
        series = self.series_of(origins)
        season_of = torch.where(origins - self.first[series] >= season, season, 1).unsqueeze(1)
        ahead = torch.arange(steps)
        return self._target[origins.unsqueeze(1) - season_of + ahead % season_of]

    def series_of(self, origins: Tensor) -> Tensor:
        """(N,) the number of each origin's series."""
        return torch.bucketize(origins, self.first, right=True) - 1

    def naive(self, origins: Tensor) -> Tensor:
        """(N,) the error that MASE divides by, of each origin's series."""
        return self._naive[self.series_of(origins)]

    def pieces(self, origins: Tensor, size: int = 4096) -> Iterator[Tensor]:
        """The origins, some at a time, which bounds the memory."""
        return iter(torch.split(origins, size))


def _with_room(series: Series, horizon: int) -> Tensor:
    """(rows, 1 + P + K) all columns of a series, with NaN for what nobody knows up to a horizon past its end."""
    table = torch.cat((series.target.unsqueeze(1), series.inputs, series.known), dim=1)
    return F.pad(table, (0, 0, 0, max(0, series.end + horizon - len(table))), value=torch.nan)
