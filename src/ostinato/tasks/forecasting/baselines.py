"""What a forecaster has to beat: the last value, the last season, and a ridge regression on the same window."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ostinato.models.needs import need
from ostinato.tasks.forecasting.measure import Rule, measure
from ostinato.tasks.forecasting.series import Pool

ALPHAS = (0.1, 1.0, 10.0, 100.0, 1000.0, 10_000.0, 100_000.0)
"""Strengths of the penalty that are tried on the validation part."""

MOST_WINDOWS = 50_000
"""At most so many windows, spread evenly, are learnt from, and as many are checked with."""

MOST_COLUMNS = 4096
"""More numbers than these in a window, and the regression reads the target alone."""


def baselines(pool: Pool, training: Tensor, validation: Tensor, season: int) -> dict[str, Callable[[], Rule]]:
    """Name → what makes the rule, which may take a while.

    Args:
        pool: of all series.
        training, validation: (N,) origins to learn from and to choose by.
        season: steps; 1 leaves the seasonal forecast out, since it is persistence.
    """
    found: dict[str, Callable[[], Rule]] = {"persistence": lambda: seasonal(pool, 1)}
    if season > 1:
        found[f"seasonal naive ({season})"] = lambda: seasonal(pool, season)
    found["ridge"] = lambda: ridge(pool, training, validation, last_value=False)
    found["ridge, last value"] = lambda: ridge(pool, training, validation, last_value=True)
    return found


def seasonal(pool: Pool, season: int) -> Rule:
    """Every step as one season before; a season of 1 is persistence."""
    return lambda origins: pool.before(origins, pool.horizon, season).unsqueeze(2)


def ridge(pool: Pool, training: Tensor, validation: Tensor, *, last_value: bool) -> Rule:
    """A ridge regression from the window, and what is known of the future, to all steps ahead (scikit-learn).

    Args:
        pool: of all series.
        training: (N,) origins to learn from.
        validation: (N,) origins by which the penalty is chosen; without any it is 1.
        last_value: the target's last value is subtracted before, and added afterwards.
    """
    linear_model = need("sklearn.linear_model", "tasks")
    training = spread(training, MOST_WINDOWS)
    x, level = _window(pool, training, last_value)
    y = _standardised(pool, training) - level
    rules = [_forecast(pool, linear_model.Ridge(alpha=alpha).fit(x.numpy(), y.numpy()), last_value) for alpha in ALPHAS]
    if not len(validation):
        return rules[ALPHAS.index(1.0)]
    checked = spread(validation, MOST_WINDOWS)
    return min(rules, key=lambda rule: measure(rule, pool, checked)["mse_standardised"])


def spread(origins: Tensor, most: int) -> Tensor:
    """At most so many of them, evenly spread.

    >>> spread(torch.arange(10), 4).tolist()
    [0, 3, 6, 9]
    """
    return origins if len(origins) <= most else origins[torch.linspace(0, len(origins) - 1, most).long()]


def _forecast(pool: Pool, fitted: Any, last_value: bool) -> Rule:
    def rule(origins: Tensor) -> Tensor:
        x, level = _window(pool, origins, last_value)
        forecast = torch.from_numpy(fitted.predict(x.numpy()).reshape(len(origins), -1)) + level
        return pool.windows(origins).in_units(forecast.unsqueeze(2))

    return rule


def _window(pool: Pool, origins: Tensor, last_value: bool) -> tuple[Tensor, Tensor]:
    """(N, columns) what the regression reads, and (N, 1) what is added to its answer; both float64."""
    windows = pool.windows(origins)
    past = windows.past.double()
    level = past[-1, :, :1] if last_value else torch.zeros(len(origins), 1, dtype=torch.float64)
    target = past[..., 0].t() - level
    rest = [past[..., 1:].transpose(0, 1).flatten(1)]
    if windows.known is not None:
        # The calendar has no part in it: it is what a regression of the window is without.
        given = windows.known[pool.window :, :, : len(pool.form.columns.known)]
        rest.append(given.double().transpose(0, 1).flatten(1))
    columns = torch.cat((target, *rest), dim=1)
    return (columns if columns.shape[1] <= MOST_COLUMNS else target), level


def _standardised(pool: Pool, origins: Tensor) -> Tensor:
    windows = pool.windows(origins)
    return (pool.targets(origins) - windows.mean.unsqueeze(1)) / windows.deviation.unsqueeze(1)
