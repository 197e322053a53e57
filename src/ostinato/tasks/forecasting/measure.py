"""How good forecasts are over every origin: the same figures for a model and a baseline, in training and afterwards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ostinato.errors import DataError
from ostinato.tasks.forecasting.series import Pool

Rule = Callable[[Tensor], Tensor]
"""Origins (N,) → forecasts (N, horizon, Q), float64 in units."""


def rule_of(model: Any, pool: Pool) -> Rule:
    """The forecasts of a :class:`~ostinato.models.forecaster.Forecaster`, or of an ensemble of them."""
    return lambda origins: model.scores(pool.windows(origins))


def measure(rule: Rule, pool: Pool, origins: Tensor, quantiles: Sequence[float] = ()) -> dict[str, float]:
    """The errors of a rule, the mean over all origins and all steps ahead.

    Returns:
        ``mse_standardised`` and ``mae_standardised`` on the scale of the training part; ``mae`` and ``mse`` in units;
        ``mase``, the error over that of the seasonal naive forecast in the training part (Hyndman and Koehler 2006),
        without the series where that is 0. With quantiles these are the errors of the one nearest to 0.5, beside
        ``pinball``, standardised, the mean over the quantiles, and ``coverage``, the part that lies between the first
        and the last.

    Raises:
        DataError: no origins.
    """
    if not len(origins):
        raise no_origins(pool)
    sums: dict[str, float] = {}
    scaled = 0
    for piece in pool.pieces(origins):
        forecast, right = rule(piece).double(), pool.targets(piece)
        deviation, naive = pool.windows(piece).deviation.unsqueeze(1), pool.naive(piece).unsqueeze(1)
        error = at_level(forecast, quantiles) - right
        figures = {
            "mse_standardised": (error / deviation).square(),
            "mae_standardised": (error / deviation).abs(),
            "mae": error.abs(),
            "mse": error.square(),
        }
        if quantiles:
            levels = torch.tensor(quantiles, dtype=torch.float64)
            missed = (right.unsqueeze(2) - forecast) / deviation.unsqueeze(2)
            figures["pinball"] = pinball(missed, levels)
            inside = (forecast[..., 0] <= right) & (right <= forecast[..., -1])
            figures["coverage"] = inside.double()
        for name, values in figures.items():
            sums[name] = sums.get(name, 0.0) + float(values.mean()) * len(piece) / len(origins)
        counted = (naive > 0).flatten()
        scaled += int(counted.sum())
        sums["mase"] = sums.get("mase", 0.0) + float((error.abs() / naive)[counted].sum()) / pool.horizon
    mase = sums.pop("mase")
    return sums | ({"mase": mase / scaled} if scaled else {})


def no_origins(pool: Pool) -> DataError:
    """What to raise where there is nothing to forecast and compare."""
    return DataError(
        f"no origin has a window of {pool.window} rows before it and {pool.horizon} rows to forecast after it; "
        f"give more rows, or a shorter --window or --horizon"
    )


def at_level(forecast: Tensor, quantiles: Sequence[float], level: float = 0.5) -> Tensor:
    """(N, horizon) of forecasts (N, horizon, Q) the one at the quantile nearest to ``level``; the only one else."""
    nearest = min(range(len(quantiles)), key=lambda i: abs(quantiles[i] - level), default=0)
    return forecast[..., nearest]


def pinball(missed: Tensor, levels: Tensor) -> Tensor:
    """The pinball loss: q·e where the truth lies e above the forecast, (1 − q)·|e| below (Koenker and Bassett 1978).

    >>> pinball(torch.tensor([[2.0], [-2.0]]), torch.tensor([0.9])).flatten().tolist()
    [1.7999999523162842, 0.20000004768371582]

    Args:
        missed: (…, Q) truth minus forecast.
        levels: (Q,) the quantiles.
    """
    return torch.maximum(levels * missed, (levels - 1) * missed)
