"""Wide and long tables as series, and every complaint with its line."""

from __future__ import annotations

import pandas as pd
import pytest
import torch

from ostinato.data.table import read_table
from ostinato.errors import DataError, InvalidValue
from ostinato.models.series_form import Columns
from ostinato.tasks.forecasting.borders import borders
from ostinato.tasks.forecasting.columns import choose_columns
from ostinato.tasks.forecasting.reading import read_series
from ostinato.tasks.forecasting.settings import ForecastSettings


def read(path, *targets, inputs=(), known=(), time="when", group=None, **options):
    return read_series(read_table(path), Columns(targets, inputs, known, time, group), **options)


def test_wide(write, hours):
    path = write(["when,a,b,x", *(f"{hour},{i},{-i},{i * i}" for i, hour in enumerate(hours(5)))])
    found = read(path, "a", "b", inputs=("x",))
    assert [one.name for one in found.series] == ["a", "b"]
    assert found.series[1].target.tolist() == [0, -1, -2, -3, -4]
    assert found.series[0].inputs.flatten().tolist() == [0, 1, 4, 9, 16]
    assert (found.axis.seconds, found.axis.season) == (3600, 24)
    assert found.series[0].seconds == pd.Timestamp("2024-01-01").timestamp()


def test_long_with_groups_among_each_other(write, hours):
    lines = [f"{hour},{shop},{10 * n + i}" for i, hour in enumerate(hours(3)) for n, shop in enumerate(("north", 7))]
    found = read(write(["when,shop,sold", *lines]), "sold", group="shop")
    assert {one.name: one.target.tolist() for one in found.series} == {"north": [0, 1, 2], "7": [10, 11, 12]}


def test_without_time_rows_are_counted(write):
    found = read(write(["a", "3", "4"]), "a", time=None)
    assert [found.series[0].moment(row) for row in range(4)] == [1, 2, 3, 4]
    assert (found.axis.seconds, found.axis.season) == (0, 1)


@pytest.mark.parametrize(
    ("start", "step", "format", "season"),
    [
        ("2023-12-30 22:00", "15min", "%Y-%m-%d %H:%M", 96),
        ("2024-02-27", "D", "%Y-%m-%d", 7),
        ("2024-01-05", "7D", "%Y-%m-%d", 52),
        ("2023-01-31", "ME", "%Y-%m-%d", 12),
        ("2023-01-01", "QS", "%Y-%m-%d", 4),
        ("2023-11-30T00:00:00", "MS", "%Y-%m-%dT%H:%M:%S", 12),
    ],
)
def test_time_goes_on_as_pandas_says(write, start, step, format, season):
    when = pd.date_range(start, periods=30, freq=step).strftime(format)
    found = read(write(["when,a", *(f"{one},1" for one in when[:20])]), "a")
    assert [found.series[0].moment(row) for row in range(30)] == list(when)
    assert found.axis.season == season


def test_rows_past_the_target_say_what_is_known(write, hours):
    lines = [f"{hour},{i if i < 4 else ''},{i}" for i, hour in enumerate(hours(6))]
    (one,) = read(write(["when,a,k", *lines]), "a", known=("k",)).series
    assert (one.end, one.known.flatten().tolist()) == (4, [0, 1, 2, 3, 4, 5])
    assert one.target[4:].isnan().all()


def test_gaps_are_filled_and_counted(write, hours):
    cells = ["1", "", "", "4", "5"]
    path = write(["when,a", *(f"{hour},{cell}" for hour, cell in zip(hours(5), cells, strict=True))])
    for fill, expected in (("linear", [1, 2, 3, 4, 5]), ("forward", [1, 1, 1, 4, 5]), ("zero", [1, 0, 0, 4, 5])):
        found = read(path, "a", fill=fill)
        assert found.series[0].target.tolist() == expected
        assert f"--fill {fill}: 2 of 5 values were put in" in found.notes
    with pytest.raises(DataError, match=r"series\.csv, line 3: column 'a' is empty"):
        read(path, "a")


def test_irregular_rows_are_resampled_as_pandas_does(write):
    when = pd.to_datetime(["2024-01-01 00:05", "2024-01-01 00:50", "2024-01-01 01:10", "2024-01-01 03:59"])
    path = write(["when,a", *(f"{one},{i}" for i, one in enumerate(when))])
    with pytest.raises(DataError, match=r"line 4: the time in column 'when' is 20min after .* --resample"):
        read(path, "a")
    expected = pd.Series([0.0, 1, 2, 3], when).resample("h").mean()
    found = read(path, "a", resample="1h", fill="linear")
    torch.testing.assert_close(found.series[0].target, torch.tensor(expected.interpolate().to_numpy()))
    assert [found.series[0].moment(row) for row in (0, 4)] == ["2024-01-01 00:00:00", "2024-01-01 04:00:00"]
    assert "--resample 1h: 2 steps held anything but exactly one row" in found.notes
    with pytest.raises(DataError, match=r"series\.csv, the step at 2024-01-01 02:00:00: column 'a' is empty"):
        read(path, "a", resample="1h")


@pytest.mark.parametrize(
    ("rows", "rule"),
    [
        (["2024-01-01,1", "2024-01-03,2", "2024-01-02,3"], r"line 4: .* earlier than in series\.csv, line 3"),
        (["2024-01-01,1", "2024-01-01,2", "2024-01-02,3"], r"line 3: .* is that of series\.csv, line 2"),
        (["2024-01-01,1", "2024-01-02,2", "2024-01-03,3", "2024-01-05,4"], r"line 5: .* 2d after .* step is 1d"),
        (["2024-01-01,1", ",2", "2024-01-03,3"], "line 3: column 'when'"),
        (["2024-01-01,1", "soon,2"], "line 3: column 'when' .* got 'soon'"),
        (["2024-01-01,1", "2024-01-02,x"], "line 3: column 'a' must hold numbers"),
        (["2024-01-01,1"], "one row is no series"),
    ],
)
def test_times_and_values_that_cannot_be_read(write, rows, rule):
    with pytest.raises(DataError, match=rule):
        read(write(["when,a", *rows]), "a")


def test_series_of_different_steps(write):
    lines = ["2024-01-01,x,1", "2024-01-02,x,2", "2024-01-01,y,1", "2024-01-08,y,2"]
    with pytest.raises(DataError, match="series y has a step of 7d, and x one of 1d"):
        read(write(["when,g,a", *lines]), "a", group="g")
    with pytest.raises(DataError, match=r"line 3: column 'g' .* is empty"):
        read(write(["when,g,a", "2024-01-01,x,1", "2024-01-02,,2"]), "a", group="g")


def chosen(path, **settings):
    return choose_columns(read_table(path), ForecastSettings(**settings))


def test_columns_are_guessed_where_there_is_one_reading(write):
    path = write(["when,a,name", "2024-01-01,1,x", "2024-01-02,2,y"])
    columns, notes = chosen(path)
    assert (columns.targets, columns.time) == (("a",), "when")
    assert notes == ("time column: when; another one: --time NAME", "target: a, the only column of numbers")
    path = write(["when,a,b", "2024-01-01,1,3", "2024-01-02,2,4"])
    with pytest.raises(
        InvalidValue, match=r"several columns of numbers: a, b; say what to forecast, as in --target b, or all .* a,b"
    ):
        chosen(path)
    assert chosen(path, target=("b",))[1][-1].startswith("not read: a; --inputs a reads")


@pytest.mark.parametrize(
    ("settings", "error", "rule"),
    [
        ({"target": ("lood",)}, DataError, "no column 'lood' .*did you mean 'load'"),
        ({"target": ("load",), "known": ("load",)}, InvalidValue, "its future is what is to be forecast"),
        ({"target": ("load",), "inputs": ("load",)}, InvalidValue, "past is read in any case"),
        (
            {"target": ("load",), "inputs": ("wind",), "known": ("wind",)},
            InvalidValue,
            "cannot be --inputs and --known",
        ),
        ({"target": ("load", "load")}, InvalidValue, "--target names 'load' twice"),
        ({"target": ("load",), "time": "whem"}, DataError, "no column 'whem'"),
    ],
)
def test_columns_that_cannot_be_chosen(waves, settings, error, rule):
    with pytest.raises(error, match=rule):
        chosen(waves, **settings)


@pytest.mark.parametrize(
    ("split", "count", "step", "expected"),
    [
        ("0.7/0.1/0.2", 100, 0, (70, 80, 100)),
        ("12/4/4", 17420, 3600, (8640, 11520, 14400)),
        ("12m/4m/4m", 80000, 900, (34560, 46080, 57600)),
        ("10d/2d/3.5d", 31, 43200, (20, 24, 31)),
        ("60r/20r/0r", 99, 0, (60, 80, 80)),
        ("0.8/0.2/0", 10, 0, (8, 10, 10)),
    ],
)
def test_borders(split, count, step, expected):
    assert borders(split, count, step, "a") == expected


@pytest.mark.parametrize(
    ("split", "error", "rule"),
    [
        ("0.7/0.3", InvalidValue, "three fractions"),
        ("0.7/0.2/0.2", InvalidValue, "three fractions"),
        ("0/0.5/0.5", InvalidValue, "three fractions"),
        ("12m/4d/4d", InvalidValue, "three fractions"),
        ("many", InvalidValue, "got 'many'"),
        ("90r/10r/1r", DataError, "needs 101 rows, and series a has 100"),
        ("12/4/4", DataError, "no time to count by"),
    ],
)
def test_borders_that_are_none(split, error, rule):
    with pytest.raises(error, match=rule):
        borders(split, 100, 0, "a")


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"quantiles": ("0.5", "1")}, "quantiles must be different numbers above 0"),
        ({"quantiles": ("low",)}, "quantiles must be"),
        ({"calendar": ("dya",)}, "did you mean 'day'"),
        ({"loss": "mae", "quantiles": ("0.5",)}, "loss mae has no quantiles"),
    ],
)
def test_settings_that_are_none(settings, rule):
    with pytest.raises(InvalidValue, match=rule):
        ForecastSettings(**settings)
