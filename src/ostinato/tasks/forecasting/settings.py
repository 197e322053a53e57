"""The settings of a forecaster's training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from ostinato.cells.checks import nearest
from ostinato.errors import InvalidValue
from ostinato.models.calendar import CYCLES
from ostinato.setting import setting
from ostinato.tasks.settings import TrainingSettings


@dataclass(frozen=True, kw_only=True)
class ForecastSettings(TrainingSettings):
    """A small network, since what can be learnt of one series is soon learnt.

    >>> ForecastSettings(quantiles=("0.9", "0.1")).levels
    (0.1, 0.9)

    Raises:
        InvalidValue, InvalidType: a value outside its rule.
    """

    usual_steps: ClassVar[int | None] = 600

    target: tuple[str, ...] = setting(
        (), "The column to forecast; several are as many series; guessed where there is one reading.", "Data"
    )
    inputs: tuple[str, ...] = setting(
        (), "Further columns to read, of which nothing is known beyond the present.", "Data"
    )
    known: tuple[str, ...] = setting((), "Further columns to read, known in the future: holidays, prices.", "Data")
    time: str | None = setting(None, "The column of the time stamps; guessed where there is one.", "Data")
    group: str | None = setting(None, "The column that names the series of each row, in long format.", "Data")
    fill: Literal["forward", "linear", "zero"] | None = setting(
        None, "Missing numbers are an error, or take the last value, one between their neighbours, or 0.", "Data"
    )
    resample: str | None = setting(
        None, "Bring irregular time stamps onto a step, as in 15min, 1h or 1d: the mean of each step's rows.", "Data"
    )
    split: str = setting(
        "0.7/0.1/0.2",
        "Training, validation and test part in time: fractions, or months of 30 days (12/4/4), days (90d/30d/30d) or "
        "rows (800r/100r/100r).",
        "Data",
    )

    window: int = setting(96, "Steps of the past that are read.", "Forecast", at_least=1)
    horizon: int = setting(24, "Steps to forecast.", "Forecast", at_least=1)
    output: Literal["direct", "autoregressive"] = setting(
        "direct", "All steps at once, or one after another, each reading the one before.", "Forecast"
    )
    loss: Literal["mse", "mae", "quantile"] = setting(
        "mse", "Squared or absolute error, or the pinball loss of quantiles.", "Forecast"
    )
    quantiles: tuple[str, ...] = setting(
        (), "Forecast these instead of one value, as in 0.1,0.5,0.9; what --loss quantile does by itself.", "Forecast"
    )
    last_value: bool = setting(
        True, "Subtract the window's last value of the target, and add it to the forecast.", "Forecast"
    )
    linear_shortcut: bool = setting(
        True, "Add a linear map of the target's window to what the network says.", "Forecast"
    )
    calendar: tuple[str, ...] = setting(
        ("day",), "Read the place in these cycles from the time: day, week, year, or none.", "Forecast"
    )
    season: int | None = setting(
        None,
        "Steps of a season, for the seasonal baseline and MASE; guessed from the step of time, else 1.",
        "Forecast",
        at_least=1,
    )

    hidden_size: int = setting(32, "Width of the recurrent layers.", "Model", at_least=1)
    dropout: float = setting(
        0.2, "Part of the values dropped before the forecast and between layers while training.", "Model", at_least=0,
        below=1,
    )  # fmt: skip

    batch_size: int = setting(128, "Windows that are read side by side.", "Learning", at_least=1)
    learning_rate: float = setting(
        0.003,
        "Highest learning rate of AdamW, reached after the warm-up; it falls on a cosine to a hundredth.",
        "Learning",
        above=0,
        resumable=True,
    )
    warm_up: int = setting(50, "Steps in which the learning rate rises to its highest.", "Learning", at_least=0)
    weight_decay: float = setting(0.01, "AdamW's weight decay.", "Learning", at_least=0)
    validate_every: int = setting(100, "Steps between two validations.", "Saving", at_least=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_quantiles(self.quantiles)
        for name in self.cycles:
            if name not in CYCLES:
                raise InvalidValue(
                    f"calendar must be of {', '.join(CYCLES)}, or none, got {name!r}{nearest(name, CYCLES)}"
                )
        if self.quantiles and self.loss == "mae":
            raise InvalidValue(f"loss mae has no quantiles, got {', '.join(self.quantiles)}; leave one of them out")

    @property
    def levels(self) -> tuple[float, ...]:
        """The quantiles, rising; empty where one value is forecast."""
        if self.loss == "quantile" and not self.quantiles:
            return (0.1, 0.5, 0.9)
        return tuple(sorted(map(float, self.quantiles)))

    @property
    def cycles(self) -> tuple[str, ...]:
        """The calendar's cycles; empty for none."""
        return () if self.calendar == ("none",) else self.calendar


def _check_quantiles(given: Sequence[str]) -> None:
    rule = f"quantiles must be different numbers above 0 and below 1, as in 0.1,0.5,0.9, got {','.join(given)}"
    try:
        levels = [float(text) for text in given]
    except ValueError:
        raise InvalidValue(rule) from None
    if not all(0 < level < 1 for level in levels) or len(set(levels)) < len(levels):
        raise InvalidValue(rule)
