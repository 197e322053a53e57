"""From a file of series to a task: read top to bottom to see how the parts are put together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ostinato.data.files import expand
from ostinato.data.table import read_table
from ostinato.errors import DataError
from ostinato.models.calendar import CYCLES
from ostinato.models.cell_names import cell_named
from ostinato.models.forecaster import Forecaster
from ostinato.models.forecasting_network import ForecastingNetwork, ForecastingSize
from ostinato.models.forecasting_windows import Scale
from ostinato.models.series_form import Columns, SeriesForm
from ostinato.tasks.forecasting.baselines import baselines, spread
from ostinato.tasks.forecasting.borders import Borders, borders
from ostinato.tasks.forecasting.columns import check_leakage, choose_columns
from ostinato.tasks.forecasting.measure import measure, rule_of
from ostinato.tasks.forecasting.reading import Read, read_series
from ostinato.tasks.forecasting.series import Pool, Series
from ostinato.tasks.forecasting.settings import ForecastSettings
from ostinato.tasks.forecasting.task import ForecastingTask
from ostinato.tasks.forecasting.time_axis import TimeAxis
from ostinato.tasks.task import Prepared
from ostinato.tasks.trial import constructed

CHECKED = 10_000
"""While training, at most so many origins of the validation part are looked at, spread evenly."""

LISTED = 1000
"""The borders of so many series are stored with the model."""


def prepare(files: Sequence[Path], settings: ForecastSettings) -> Prepared:
    """The series of the files, cut in time, and an untrained model with the training parts' scales.

    Raises:
        DataError: a file cannot be read or lacks a column, times or values are missing, or a series is too short.
        InvalidValue: settings that contradict each other.
    """
    table = read_table(expand(files))
    columns, said = choose_columns(table, settings)
    check_leakage(table, columns)
    read = read_series(table, columns, fill=settings.fill, resample=settings.resample)
    cuts = [borders(settings.split, one.end, read.axis.seconds, one.name) for one in read.series]
    for one, cut in zip(read.series, cuts, strict=True):
        _check_length(one, cut, settings)
    form = _form(read, cuts, columns, settings)
    pool = Pool(read.series, form, window=settings.window, horizon=settings.horizon)
    training = pool.origins([(0, cut.training) for cut in cuts])
    validation = pool.origins([(cut.training, cut.validation) for cut in cuts])
    test = pool.origins([(cut.validation, cut.end) for cut in cuts])
    judged, part = (test, "test") if len(test) else (validation, "validation")
    model = Forecaster(_network(form, settings), form, settings.levels)
    task = ForecastingTask(
        model,
        pool,
        training,
        spread(validation, CHECKED),
        loss="quantile" if settings.levels else settings.loss,
        batch_size=settings.batch_size,
        seed=settings.seed,
        fingerprint=table.fingerprint,
    )

    def beaten() -> dict[str, dict[str, float]]:
        simple = baselines(pool, training, validation, form.season)
        return {name: measure(make(), pool, judged) for name, make in simple.items()}

    return Prepared(
        task=task,
        notes=tuple(
            line + "." * (not line.endswith("."))
            for line in (
                *table.notes,
                *said,
                *read.notes,
                *_about(read, cuts, form, settings),
                f"{len(training):,} windows to learn from, {len(validation):,} to check with, {len(test):,} for the "
                f"final score, each of {settings.window} rows and the {settings.horizon} after them; a window may "
                f"look back into the part before its own",
            )
        ),
        split=_split(read.series, cuts, settings, table.fingerprint),
        baselines=beaten,
        test=lambda trained: measure(rule_of(trained, pool), pool, judged, settings.levels),
        part=part,
    )


def _check_length(series: Series, cut: Borders, settings: ForecastSettings) -> None:
    needed = settings.window + settings.horizon
    if cut.training < needed:
        raise DataError(
            f"series {series.name} has {series.end:,} rows, {cut.training:,} of them to learn from by --split "
            f"{settings.split}, and a window of {settings.window} with {settings.horizon} rows to forecast needs "
            f"{needed:,}; give more rows, or a shorter --window or --horizon"
        )
    for name, rows in (("validation", cut.validation - cut.training), ("test", cut.end - cut.validation)):
        if rows < settings.horizon and (rows > 0 or name == "validation"):
            raise DataError(
                f"the {name} part of series {series.name} has {rows:,} rows by --split {settings.split}, and a horizon "
                f"of {settings.horizon} needs as many; give more rows, another --split or a shorter --horizon"
            )


def _form(read: Read, cuts: Sequence[Borders], columns: Columns, settings: ForecastSettings) -> SeriesForm:
    """Everything that is learnt of the data besides the weights, from the training parts alone."""
    season = settings.season or read.axis.season
    learnt = list(zip(read.series, (cut.training for cut in cuts), strict=True))

    def beside(part: Callable[[Series], Tensor], count: int) -> list[Scale]:
        values = torch.cat([part(one)[:end] for one, end in learnt])
        return [Scale.of(values[:, column]) for column in range(count)]

    return SeriesForm(
        columns,
        {one.name: Scale.of(one.target[:end], season) for one, end in learnt},
        (
            *beside(lambda one: one.inputs, len(columns.inputs)),
            *beside(lambda one: one.known, len(columns.known)),
        ),
        tuple(name for name in settings.cycles if _has_cycle(read.axis, name)),
        read.axis.seconds,
        season,
        settings.fill,
        settings.resample,
    )


def _has_cycle(axis: TimeAxis, name: str) -> bool:
    """Whether a cycle has two steps at least."""
    return axis.seconds > 0 and 2 * axis.seconds <= CYCLES[name]


def _network(form: SeriesForm, settings: ForecastSettings) -> ForecastingNetwork:
    size = ForecastingSize(
        window=settings.window,
        horizon=settings.horizon,
        inputs=len(form.columns.inputs),
        known=form.known,
        levels=len(settings.levels) or 1,
        output=settings.output,
        last_value=settings.last_value,
        linear_shortcut=settings.linear_shortcut,
        hidden_size=settings.hidden_size,
        num_layers=settings.num_layers,
        dropout=settings.dropout,
        cell_options=settings.options_of_cell(),
    )
    cell = cell_named(settings.cell)
    return constructed(lambda: ForecastingNetwork(size, cell), settings.cell)


def _about(read: Read, cuts: Sequence[Borders], form: SeriesForm, settings: ForecastSettings) -> list[str]:
    first, cut = read.series[0], cuts[0]
    if len(read.series) == 1:
        ends = ", ".join(str(first.moment(row)) for row in cut)
        notes = [f"{first.name}: {first.end:,} rows; training, validation and test part end before {ends}"]
        if cut.end < first.end:
            notes.append(f"{first.end - cut.end:,} rows after them are not used")
    else:
        notes = [f"{len(read.series):,} series, {sum(one.end for one in read.series):,} rows, each cut by itself"]
    if settings.season is None:
        said = f"a season of {form.season} steps, by the step of time" if form.season > 1 else "no season known"
        notes.append(f"{said}; another one: --season STEPS")
    constant = [name for name, scale in form.scales.items() if scale.naive == 0]
    if constant:
        notes.append(
            f"the training part of {', '.join(constant[:5])}{' and others' if len(constant) > 5 else ''} is constant, "
            f"or repeats its season exactly, so there is no MASE"
        )
    left_out = [name for name in settings.cycles if name not in form.calendar]
    if left_out and read.axis.seconds and settings.calendar != ("day",):
        notes.append(f"--calendar {','.join(left_out)}: a step is too long for that cycle, so it is not read")
    return notes


def _split(series: Sequence[Series], cuts: Sequence[Borders], settings: ForecastSettings, data: str) -> dict[str, Any]:
    listed = {
        one.name: {"rows": list(cut), "ends": [one.moment(row) for row in cut]}
        for one, cut in list(zip(series, cuts, strict=True))[:LISTED]
    }
    return {"by": "time", "split": settings.split, "fingerprint": data, "series": listed}
