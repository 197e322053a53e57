"""Windows, errors and baselines against plain loops, scikit-learn and the normal equations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import mean_absolute_error, mean_pinball_loss, mean_squared_error

from ostinato.errors import DataError
from ostinato.models.forecasting_windows import Scale
from ostinato.models.series_form import Columns, SeriesForm
from ostinato.tasks.forecasting.baselines import ALPHAS, ridge, seasonal
from ostinato.tasks.forecasting.measure import measure
from ostinato.tasks.forecasting.series import Pool, Series

WINDOW, HORIZON = 5, 3
SIZES = (20, 9, 14)


@pytest.fixture
def series():
    return [
        Series(
            name,
            10 * torch.randn(size, dtype=torch.float64).cumsum(0),
            torch.randn(size, 1, dtype=torch.float64),
            torch.randn(size, 2, dtype=torch.float64),
            size,
        )
        for name, size in zip("abc", SIZES, strict=True)
    ]


@pytest.fixture
def pool(series):
    scales = {one.name: Scale.of(one.target, season=4) for one in series}
    columns = Columns(("y",), ("x",), ("k", "l"))
    form = SeriesForm(columns, scales, (Scale(0.0, 2.0), Scale(1.0, 1.0), Scale(0.0, 1.0)), season=4)
    return Pool(series, form, window=WINDOW, horizon=HORIZON)


def test_no_window_crosses_a_border(series, pool):
    """Every origin, its window and its targets, by a plain loop over each series."""
    parts = [(6, 16), (0, 9), (3, 14)]
    expected = [
        (number, origin)
        for number, (start, stop) in enumerate(parts)
        for origin in range(SIZES[number])
        if origin >= WINDOW and origin >= start and origin + HORIZON <= stop
    ]
    origins = pool.origins(parts)
    assert origins.tolist() == [int(pool.first[number]) + origin for number, origin in expected]
    windows, targets = pool.windows(origins), pool.targets(origins)
    for i, (number, origin) in enumerate(expected):
        one, scale = series[number], pool.form.scales[series[number].name]
        past = torch.stack(((one.target - scale.mean) / scale.deviation, one.inputs[:, 0] / 2), dim=1)
        torch.testing.assert_close(windows.past[:, i], past[origin - WINDOW : origin].float())
        known = one.known - torch.tensor([1.0, 0.0])
        torch.testing.assert_close(windows.known[:, i], known[origin - WINDOW : origin + HORIZON].float())
        assert targets[i].tolist() == one.target[origin : origin + HORIZON].tolist()
        assert (windows.mean[i], windows.deviation[i]) == (scale.mean, scale.deviation)


def test_the_end_of_a_series_is_an_origin(series, pool):
    windows = pool.windows(pool.first[:3] + torch.tensor(SIZES))
    for i, one in enumerate(series):
        assert windows.mean[i] == pool.form.scales[one.name].mean
        torch.testing.assert_close(windows.past[:, i, 1], one.inputs[-WINDOW:, 0].float() / 2)
        # Nobody knows what comes after it, and no other series' rows are taken for it.
        assert windows.known[WINDOW:, i].isnan().all()


def everything(pool):
    return pool.origins([(0, size) for size in SIZES])


def test_errors_against_scikit_learn(series, pool):
    origins = everything(pool)
    forecast = torch.randn(len(origins), HORIZON, 3, dtype=torch.float64).sort(2).values
    place = {int(origin): i for i, origin in enumerate(origins)}

    def rule(some):
        return forecast[[place[int(origin)] for origin in some]]

    found = measure(rule, pool, origins, (0.1, 0.5, 0.9))
    right, middle = pool.targets(origins).numpy(), forecast[..., 1].numpy()
    assert found["mse"] == pytest.approx(mean_squared_error(right, middle))
    assert found["mae"] == pytest.approx(mean_absolute_error(right, middle))
    names = [series[int(number)].name for number in pool.series_of(origins)]
    deviation = np.array([[pool.form.scales[name].deviation] for name in names])
    naive = [(one.target[4:] - one.target[:-4]).abs().mean() for one in series]
    assert found["mse_standardised"] == pytest.approx(mean_squared_error(right / deviation, middle / deviation))
    assert found["mae_standardised"] == pytest.approx(mean_absolute_error(right / deviation, middle / deviation))
    scaled = np.abs(right - middle) / np.array([[float(naive["abc".index(name)])] for name in names])
    assert found["mase"] == pytest.approx(scaled.mean())
    losses = [
        mean_pinball_loss((right / deviation).ravel(), (forecast[..., q].numpy() / deviation).ravel(), alpha=alpha)
        for q, alpha in enumerate((0.1, 0.5, 0.9))
    ]
    assert found["pinball"] == pytest.approx(np.mean(losses))
    inside = (forecast[..., 0].numpy() <= right) & (right <= forecast[..., 2].numpy())
    assert found["coverage"] == pytest.approx(inside.mean())


def test_a_constant_series_has_no_mase():
    flat = Series("flat", torch.full((12,), 0.1, dtype=torch.float64), torch.zeros(12, 0), torch.zeros(12, 0), 12)
    wild = Series("wild", torch.randn(12).double(), torch.zeros(12, 0), torch.zeros(12, 0), 12)
    found = {}
    for some in ([flat], [wild], [flat, wild]):
        pool = Pool(some, SeriesForm(), window=WINDOW, horizon=HORIZON)
        found[len(found)] = measure(seasonal(pool, 1), pool, pool.origins([(0, 12)] * len(some)))
    assert "mase" not in found[0]
    assert found[0]["mse_standardised"] == 0
    assert found[1]["mase"] == pytest.approx(found[2]["mase"])


def test_no_origin_is_an_error(pool):
    with pytest.raises(DataError, match="a window of 5 rows before it and 3 rows"):
        measure(seasonal(pool, 1), pool, pool.origins([(0, 7), (0, 2), (0, 0)]))


@pytest.mark.parametrize("season", [1, 2, 4, 7])
def test_the_last_season_over_and_over(series, pool, season):
    origins = everything(pool)
    forecast = seasonal(pool, season)(origins)
    for i, origin in enumerate(origins.tolist()):
        number = int(pool.series_of(origins)[i])
        here = origin - int(pool.first[number])
        rows = list(series[number].target[:here])
        for _ in range(HORIZON):
            rows.append(rows[-season] if here >= season else rows[-1])
        assert forecast[i, :, 0].tolist() == [float(value) for value in rows[here:]]


@pytest.mark.parametrize("last_value", [True, False])
def test_ridge_against_the_normal_equations(last_value):
    y = torch.randn(300, dtype=torch.float64).cumsum(0)
    pool = Pool(
        [Series("y", y, torch.zeros(300, 0), torch.zeros(300, 0), 300)],
        SeriesForm(scales={"y": Scale(1.0, 3.0)}),
        window=WINDOW,
        horizon=HORIZON,
    )
    training, validation = pool.origins([(0, 200)]), pool.origins([(200, 300)])
    z = ((y - 1) / 3).numpy()

    def rows(origins):
        x = np.array([z[o - WINDOW : o] for o in origins.tolist()])
        level = x[:, -1:] if last_value else 0
        return x - level, np.array([z[o : o + HORIZON] for o in origins.tolist()]) - level, level

    x, right, _ = rows(training)
    asked, truth, level = rows(validation)
    answers = []
    for alpha in ALPHAS:
        centred = x - x.mean(0)
        weights = np.linalg.solve(centred.T @ centred + alpha * np.eye(WINDOW), centred.T @ (right - right.mean(0)))
        answers.append((asked - x.mean(0)) @ weights + right.mean(0))
    best = min(answers, key=lambda answer: np.square(answer - truth).mean())
    found = ridge(pool, training, validation, last_value=last_value)(validation)[..., 0].numpy()
    np.testing.assert_allclose(found, (best + level) * 3 + 1, rtol=1e-5, atol=1e-4)


def test_ridge_reads_what_the_network_reads(pool):
    """A target that a known column tells exactly."""
    known = torch.randn(200, 1, dtype=torch.float64)
    one = Series("y", known[:, 0] * 2, torch.zeros(200, 0), known, 200)
    form = SeriesForm(Columns(("y",), (), ("k",)), {"y": Scale(0.0, 2.0)}, (Scale(0.0, 1.0),))
    pool = Pool([one], form, window=WINDOW, horizon=HORIZON)
    training, validation = pool.origins([(0, 150)]), pool.origins([(150, 200)])
    found = measure(ridge(pool, training, validation, last_value=False), pool, validation)
    assert found["mse_standardised"] < 1e-4
