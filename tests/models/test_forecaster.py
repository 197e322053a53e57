"""The forecasting network against torch.nn's LSTM step by step, and a forecaster's answers in units."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from ostinato.cells.library.lstm import LSTMCell
from ostinato.errors import InvalidShape, InvalidType, InvalidValue, ModelFolderError
from ostinato.models.calendar import on_circles, seconds_of
from ostinato.models.ensemble import Ensemble
from ostinato.models.folder import CONFIG, load, save
from ostinato.models.forecaster import Forecaster
from ostinato.models.forecasting_network import ForecastingNetwork, ForecastingSize
from ostinato.models.forecasting_windows import Scale
from ostinato.models.series_form import Columns, SeriesForm

WINDOW, HORIZON = 7, 4


def network(**size):
    """With random linear maps, which begin at zero."""
    made = ForecastingNetwork(ForecastingSize(WINDOW, HORIZON, hidden_size=5, **size), LSTMCell)
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.3)
    return made.eval()


def torchs(made):
    """torch.nn's LSTM with the same weights."""
    other = nn.LSTM(made.stack.input_size, 5, made.size.num_layers)
    other.load_state_dict(made.stack.state_dict())
    return other.double()


def linear(made, h, y):
    """(B, steps, Q) in float64."""
    out = h @ made.head.weight.double().t() + made.head.bias.double()
    if made.shortcut is not None:
        out = out + y.t() @ made.shortcut.weight.double().t()
    return out.view(len(h), made.steps, made.size.levels)


@pytest.mark.parametrize("last_value", [True, False])
@pytest.mark.parametrize("shortcut", [True, False])
@pytest.mark.parametrize("levels", [1, 3])
def test_direct_is_one_linear_map_of_the_last_state(last_value, shortcut, levels):
    made = network(inputs=2, known=3, levels=levels, last_value=last_value, linear_shortcut=shortcut)
    past, known = torch.randn(WINDOW, 6, 3), torch.randn(WINDOW + HORIZON, 6, 3)
    y = past[..., 0].double() - (past[-1, :, 0].double() if last_value else 0)
    x = torch.cat((y.unsqueeze(2), past[..., 1:].double(), known[1 : WINDOW + 1].double()), dim=2)
    h = torchs(made)(x)[0][-1]
    ahead = torch.stack([known[WINDOW:, b].flatten() for b in range(6)]).double()
    expected = linear(made, torch.cat((h, ahead), dim=1), y)
    expected = expected + (past[-1, :, 0].double().view(-1, 1, 1) if last_value else 0)
    torch.testing.assert_close(made(past, known).double(), expected.sort(2).values, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(made.encode(past, known).double(), h, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("levels", [1, 3])
def test_autoregressive_reads_its_own_forecast(levels):
    """Window and forecast so far, read anew from the beginning for every step."""
    made = network(inputs=1, known=2, levels=levels, output="autoregressive", num_layers=2)
    past, known = torch.randn(WINDOW, 3, 2).double(), torch.randn(WINDOW + HORIZON, 3, 2).double()
    level = past[-1, :, 0]
    y, inputs, expected = past[..., 0] - level, past[..., 1:], []
    lstm = torchs(made)
    for step in range(HORIZON):
        x = torch.cat((y.unsqueeze(2), inputs, known[1 : WINDOW + 1 + step]), dim=2)
        expected.append(linear(made, lstm(x)[0][-1], y[-WINDOW:]))
        following = expected[-1][:, 0].sort(1).values[:, levels // 2]
        y = torch.cat((y, following.unsqueeze(0)))
        inputs = torch.cat((inputs, past[-1:, :, 1:]))
    expected = (torch.cat(expected, dim=1) + level.view(-1, 1, 1)).sort(2).values
    torch.testing.assert_close(made(past.float(), known.float()).double(), expected, rtol=1e-4, atol=1e-5)


def test_quantiles_never_cross():
    forecast = network(levels=5)(torch.randn(WINDOW, 50, 1))
    assert (forecast.diff(dim=2) >= 0).all()
    assert not torch.equal(forecast[..., 0], forecast[..., 4])


@pytest.mark.parametrize(
    ("size", "rule"),
    [
        ({"horizon": 0}, "horizon must be positive, got 0"),
        ({"inputs": -1}, "inputs must not be negative, got -1"),
        ({"output": "both"}, "output must be one of direct, autoregressive, got 'both'"),
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1"),
    ],
)
def test_sizes_that_are_none(size, rule):
    with pytest.raises(InvalidValue, match=rule):
        ForecastingSize(**{"window": 3, "horizon": 2, **size})


FORM = SeriesForm(
    Columns(("load",), ("wind",), ("holiday",), "when"),
    {"load": Scale(100.0, 20.0, 5.0)},
    (Scale(5.0, 2.0), Scale(0.5, 0.5)),
    ("day",),
    3600.0,
    24,
)


@pytest.fixture
def forecaster():
    return Forecaster(network(inputs=1, known=3, levels=3), FORM, (0.1, 0.5, 0.9))


@pytest.fixture
def frame():
    return pd.DataFrame(
        {
            "when": pd.date_range("2024-01-01", periods=12, freq="h").astype(str),
            "load": 100 + 20 * np.random.default_rng(0).normal(size=12),
            "wind": np.arange(12.0),
            "holiday": 0,
        }
    )


FUTURE = [[1.0]] * HORIZON


def test_predict_in_units(forecaster, frame):
    """The window standardised, read and brought back by hand."""
    tail = frame.tail(WINDOW)
    past = torch.tensor(np.stack([(tail.load - 100) / 20, (tail.wind - 5) / 2], axis=1)).unsqueeze(1)
    hours = torch.arange(12 - WINDOW, 12 + HORIZON)
    holiday = torch.tensor([-1.0] * WINDOW + [1.0] * HORIZON)
    angle = 2 * torch.pi * hours / 24
    known = torch.stack((holiday, angle.sin(), angle.cos()), dim=1).unsqueeze(1)
    with torch.no_grad():
        expected = 100 + 20 * forecaster.network(past.float(), known.float())[0].double()
    torch.testing.assert_close(forecaster.predict(frame, future=FUTURE), expected, rtol=1e-5, atol=1e-4)
    rows = frame[["load", "wind", "holiday"]].to_numpy()
    for history in (rows, torch.tensor(rows), rows.tolist()):
        told = forecaster.predict(history, future=FUTURE, time="2024-01-01 11:00")
        torch.testing.assert_close(told, expected, rtol=1e-5, atol=1e-4)


def test_several_histories_are_each_by_itself(forecaster, frame):
    early, late = frame.head(9), frame
    both = forecaster.predict([early, late], future=[FUTURE, [[0.0]] * HORIZON])
    torch.testing.assert_close(both[0], forecaster.predict(early, future=FUTURE))
    torch.testing.assert_close(both[1], forecaster.predict(late, future=[[0.0]] * HORIZON))
    assert forecaster.encode([early, late], future=[FUTURE] * 2).shape == (2, 5)
    assert forecaster.encode(early, future=FUTURE).shape == (1, 5)


def test_a_series_it_never_saw_has_its_own_scale():
    made = network()
    forecaster = Forecaster(made, SeriesForm(scales={"a": Scale(0.0, 1.0), "b": Scale(1e9, 10.0)}))
    y = torch.randn(WINDOW, dtype=torch.float64)
    own = (y - y.mean()) / y.std(correction=0)
    expected = Forecaster(made, SeriesForm(scales={"own": Scale(0.0, 1.0)})).predict(own)
    for stranger in (1.0, 1000.0):
        told = (forecaster.predict(stranger * y + 5, series="c") - 5) / stranger
        torch.testing.assert_close(told, expected * y.std(correction=0) + y.mean(), rtol=1e-4, atol=1e-4)
    # Far from zero nothing is lost, since only what is standardised is in float32.
    near = forecaster.predict(y, series="a")
    torch.testing.assert_close(forecaster.predict(10 * y + 1e9, series="b"), 10 * near + 1e9, rtol=0, atol=1e-4)


def test_the_folder_gives_it_back(forecaster, frame, tmp_path):
    save(forecaster, tmp_path)
    again = load(tmp_path)
    assert (again.form, again.quantiles) == (forecaster.form, forecaster.quantiles)
    assert torch.equal(again.predict(frame, future=FUTURE), forecaster.predict(frame, future=FUTURE))
    mean = Ensemble([forecaster, Forecaster(network(inputs=1, known=3, levels=3), FORM, (0.1, 0.5, 0.9))], {})
    expected = sum(member.predict(frame, future=FUTURE) for member in mean.members) / 2
    torch.testing.assert_close(mean.predict(frame, future=FUTURE), expected)
    assert mean.encode([frame, frame], future=[FUTURE] * 2).shape == (2, 10)


@pytest.mark.parametrize(
    ("entry", "value", "rule"),
    [
        ("window", 1 << 30, "window must be a whole number"),
        ("horizon", -1, "horizon must be a whole number"),
        ("quantiles", [0.9, 0.1], "quantiles must rise"),
        ("calendar", ["hour"], "calendar must be of day, week, year"),
        ("beside", [], "beside must hold a scale for each"),
        ("targets", [], "targets must name a column"),
        ("scales", [{"series": "load", "mean": 0, "deviation": 0, "naive": 0}], "a deviation must be above 0"),
        ("output", "both", "output must be one of"),
        ("time", 7, "time must be a text"),
    ],
)
def test_a_folder_is_not_believed(forecaster, tmp_path, entry, value, rule):
    save(forecaster, tmp_path)
    config = json.loads((tmp_path / CONFIG).read_text())
    config["model"][entry] = value
    (tmp_path / CONFIG).write_text(json.dumps(config))
    with pytest.raises(ModelFolderError, match=rule):
        load(tmp_path)


@pytest.mark.parametrize(
    ("history", "options", "error", "rule"),
    [
        (np.zeros((WINDOW, 2)), {}, InvalidShape, r"the history must be \(T, 3\), got \(7, 2\)"),
        (np.zeros((WINDOW - 1, 3)), {}, InvalidValue, "must have 7 rows, the window, or more, got 6"),
        (np.full((WINDOW, 3), np.nan), {}, InvalidValue, "must be finite"),
        ([["a", 1, 2]] * WINDOW, {}, InvalidType, "must be numbers in rows"),
        (np.zeros((WINDOW, 3)), {"future": None}, InvalidValue, "reads holiday of the 4 steps to come"),
        (np.zeros((WINDOW, 3)), {"future": [[1.0]]}, InvalidValue, "future must have 4 rows"),
        (np.zeros((WINDOW, 3)), {"time": None}, InvalidValue, "reads the place in the day; give time"),
        (np.zeros((WINDOW, 3)), {"time": "noon"}, InvalidValue, "a time must be like 2024-05-31"),
        (
            np.zeros((2, WINDOW, 3)),
            {"future": None, "series": ["a"]},
            InvalidValue,
            "2 histories must be as many, got 1",
        ),
        (pd.DataFrame({"load": [1.0]}), {}, InvalidValue, "must have the column 'wind', got load"),
        ([], {}, InvalidValue, "at least one history"),
    ],
)
def test_histories_that_do_not_fit(forecaster, history, options, error, rule):
    with pytest.raises(error, match=rule):
        forecaster.predict(history, **{"future": FUTURE, "time": "2024-01-01 11:00", **options})


def test_the_calendar_against_pandas():
    when = pd.date_range("2023-12-30 05:30", periods=400, freq="7h")
    seconds = torch.tensor([seconds_of(one.isoformat()) for one in when], dtype=torch.float64)
    assert seconds.tolist() == [one.timestamp() for one in when]
    found = on_circles(seconds, ["day", "week"])
    hours = torch.tensor((when.hour + when.minute / 60).to_numpy())
    # 1970 began on a Thursday.
    days = torch.tensor(((when.day_of_week - 3) % 7).to_numpy()) + hours / 24
    for column, angle in enumerate((hours / 24, days / 7)):
        expected = torch.stack(((2 * torch.pi * angle).sin(), (2 * torch.pi * angle).cos()), dim=1)
        torch.testing.assert_close(found[:, 2 * column : 2 * column + 2].double(), expected, rtol=0, atol=1e-6)
