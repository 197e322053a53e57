"""What the commands need to know of forecasting."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from ostinato.data.files import expand
from ostinato.data.table import Table, read_table
from ostinato.errors import DataError
from ostinato.models.series_form import SeriesForm
from ostinato.tasks.forecasting.baselines import seasonal
from ostinato.tasks.forecasting.borders import borders
from ostinato.tasks.forecasting.measure import measure, no_origins, rule_of
from ostinato.tasks.forecasting.prepare import prepare
from ostinato.tasks.forecasting.reading import Read, read_series
from ostinato.tasks.forecasting.series import Pool, Series
from ostinato.tasks.forecasting.settings import ForecastSettings
from ostinato.tasks.task import Prepared

if TYPE_CHECKING:
    from ostinato.data.preview import Preview

MONTHS_DIFFER = 0.04
"""Months have different lengths, and so have steps of them."""


class Forecasting:
    """Series in time, wide or long: their next values, or quantiles of them."""

    name: ClassVar[str] = "forecast"
    model_kind: ClassVar[str] = "forecaster"
    settings: ClassVar[type[ForecastSettings]] = ForecastSettings

    def recognise(self, preview: Preview) -> str | None:
        """A column of times beside columns of numbers alone."""
        times = preview.of_kind("time")
        others = [name for name in preview.columns if name not in times]
        cells = [row.get(name) for row in preview.rows for name in others]
        if len(times) != 1 or not preview.of_kind("number") or any(isinstance(cell, str | list) for cell in cells):
            return None
        return f"column {times[0]!r} holds times, and all others numbers"

    def prepare(self, files: Sequence[Path], settings: ForecastSettings) -> Prepared:
        """See :func:`ostinato.tasks.forecasting.prepare.prepare`."""
        return prepare(files, settings)

    def evaluate(self, model: Any, files: Sequence[Path], options: dict[str, Any]) -> dict[str, Any]:
        """The model's errors over every origin of the files, beside those of persistence and the last season.

        Of the very file that it learnt from only the test part counts (the validation part, if there is none).

        Args:
            model: a :class:`~ostinato.models.forecaster.Forecaster` or an ensemble of them.
            files: series with the model's columns.
            options: ``fill`` and ``resample``, where they are to differ from training.

        Raises:
            DataError: a file cannot be read, lacks a column, or its series are too short.
        """
        table = read_table(expand(files))
        read = _read(model.form, table, options)
        pool = _pool(model, read.series)
        parts, part = [(0, one.end) for one in read.series], "all"
        split = model.training.get("split")
        if isinstance(split, dict) and split.get("fingerprint") == table.fingerprint:
            cuts = [borders(str(split.get("split")), one.end, read.axis.seconds, one.name) for one in read.series]
            parts, part = [(cut.validation, cut.end) for cut in cuts], "test"
            if not len(pool.origins(parts)):
                parts, part = [(cut.training, cut.validation) for cut in cuts], "validation"
        origins = pool.origins(parts)
        figures: dict[str, Any] = dict(measure(rule_of(model, pool), pool, origins, model.quantiles))
        figures |= {"origins": len(origins), "series": len(read.series), "part": part}
        beside = {"persistence": measure(seasonal(pool, 1), pool, origins)}
        if model.form.season > 1:
            beside["seasonal naive"] = measure(seasonal(pool, model.form.season), pool, origins)
        return {**figures, "baselines": beside}

    def predict(self, model: Any, files: Sequence[Path], options: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """A row for each step that is forecast from the end of each series, in the order of the series.

        A row has the series (if there are several), ``origin``, the time of the last row that was read, ``time``,
        ``horizon``, how many steps that is ahead, and ``forecast``, or a column for each quantile, as ``q0.1``.

        Args:
            model: a :class:`~ostinato.models.forecaster.Forecaster` or an ensemble of them.
            files: series with the model's columns; known columns go on for the horizon past the target's end.
            options: ``backtest`` forecasts from every origin at which the truth is there, and adds it as ``actual``;
                ``fill`` and ``resample``, where they are to differ from training; ``start`` leaves out so many rows.

        Raises:
            DataError: a file cannot be read, lacks a column, a series is too short, or nothing is said of its future.
        """
        table = read_table(expand(files))
        read = _read(model.form, table, options)
        pool = _pool(model, read.series)
        backtest = bool(options.get("backtest"))
        if not backtest:
            _check_ends(model, read.series)
        named = model.form.columns.group or ("series" if len(read.series) > 1 else None)
        origins = _ends(pool) if not backtest else pool.origins([(0, one.end) for one in read.series])
        if not len(origins):
            raise no_origins(pool)
        left_out = int(options.get("start", 0))
        # The pieces are the same from whatever row on, and so is the last digit of every forecast.
        for piece in pool.pieces(origins):
            count = len(piece) * pool.horizon
            if left_out < count:
                yield from islice(_rows(model, pool, piece, named, backtest), left_out, None)
            left_out = max(0, left_out - count)


def _ends(pool: Pool) -> Tensor:
    """(N,) the origin after the last row of each series."""
    return pool.first[:-1] + torch.tensor([one.end for one in pool.series])


def _rows(model: Any, pool: Pool, origins: Tensor, named: str | None, backtest: bool) -> Iterator[dict[str, Any]]:
    columns = [f"q{level:g}" for level in model.quantiles] or ["forecast"]
    scores, actual = model.scores(pool.windows(origins)).tolist(), pool.targets(origins).tolist()
    for i, number in enumerate(pool.series_of(origins).tolist()):
        series, origin = pool.series[number], int(origins[i] - pool.first[number])
        for step, values in enumerate(scores[i]):
            row: dict[str, Any] = {} if named is None else {named: series.name}
            row |= {"origin": series.moment(origin - 1), "time": series.moment(origin + step), "horizon": step + 1}
            row |= dict(zip(columns, (float(f"{value:.7g}") for value in values), strict=True))
            yield {**row, "actual": actual[i][step]} if backtest else row


def _read(form: SeriesForm, table: Table, options: dict[str, Any]) -> Read:
    fill, resample = (options.get(name, getattr(form, name)) for name in ("fill", "resample"))
    read = read_series(table, form.columns, fill=fill, resample=resample)
    allowed = MONTHS_DIFFER if read.axis.months else 1e-6
    if abs(read.axis.seconds - form.step) > allowed * form.step:
        raise DataError(
            f"{table.name}: rows are {read.axis.seconds:g} seconds apart, and the model learnt from rows {form.step:g} "
            f"seconds apart; bring them onto its step with --resample, or train a model of this step"
        )
    return read


def _pool(model: Any, series: Sequence[Series]) -> Pool:
    size = model.network.size
    for one in series:
        if one.end < size.window:
            raise DataError(
                f"series {one.name} has {one.end:,} rows, and the model reads windows of {size.window}; give more"
            )
    return Pool(series, model.form, window=size.window, horizon=size.horizon)


def _check_ends(model: Any, series: Sequence[Series]) -> None:
    columns, horizon = model.form.columns.known, model.network.size.horizon
    for one in series:
        ahead = len(one.target) - one.end
        if columns and ahead < horizon:
            raise DataError(
                f"series {one.name} has {ahead} rows past its last target, and the model reads {', '.join(columns)} of "
                f"the {horizon} steps to come; add those rows, with an empty target"
            )


TASK = Forecasting()
