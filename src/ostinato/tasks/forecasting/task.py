"""Forecasting as a task to train: its batches, its losses, its score."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from ostinato.models.forecaster import Forecaster
from ostinato.models.forecasting_windows import Windows
from ostinato.models.states import State
from ostinato.tasks.forecasting.measure import measure, pinball, rule_of
from ostinato.tasks.forecasting.series import Pool
from ostinato.tasks.task import Score

Batch = tuple[Windows, Tensor]
"""Windows, and what came after them (B, horizon), standardised."""

MAIN = {"mse": "mse_standardised", "mae": "mae_standardised", "quantile": "pinball"}
"""Which figure is the loss of that name."""


class ForecastingTask:
    """A forecaster and the series it learns.

    Args:
        model: learns.
        pool: of the series.
        training: (N,) origins to learn from.
        validation: (M,) origins to check with.
        loss: ``"mse"``, ``"mae"`` or ``"quantile"``.
        batch_size: windows of a batch.
        seed: decides the order of the windows.
        fingerprint: of the data.
    """

    name: ClassVar[str] = "forecast"

    def __init__(
        self,
        model: Forecaster,
        pool: Pool,
        training: Tensor,
        validation: Tensor,
        *,
        loss: str,
        batch_size: int,
        seed: int,
        fingerprint: str,
    ) -> None:
        self.model = model
        self.network = model.network
        self.fingerprint = fingerprint
        self._pool, self._training, self._validation = pool, training, validation
        self._loss, self._batch_size, self._seed = loss, min(batch_size, len(training)), seed
        self._order: tuple[int, Tensor] = (-1, training)

    @property
    def batches_per_epoch(self) -> int:
        """Batches until about every window was read once."""
        return len(self._training) // self._batch_size

    def batch(self, step: int) -> Batch:
        """Training batch number ``step``, whatever was read before."""
        epoch, place = divmod(step, self.batches_per_epoch)
        if self._order[0] != epoch:
            generator = torch.Generator().manual_seed((self._seed * 1_000_003 + epoch) % (1 << 63))
            self._order = (epoch, self._training[torch.randperm(len(self._training), generator=generator)])
        origins = self._order[1][place * self._batch_size : (place + 1) * self._batch_size]
        windows = self._pool.windows(origins)
        right = (self._pool.targets(origins) - windows.mean.unsqueeze(1)) / windows.deviation.unsqueeze(1)
        return windows, right.float()

    def loss(self, batch: Batch, state: State) -> tuple[Tensor, State]:
        """The mean over windows and steps ahead (and quantiles), on the standardised scale."""
        windows, right = batch
        missed = right.unsqueeze(2) - self.network(windows.past, windows.known)
        if self._loss == "quantile":
            return pinball(missed, torch.tensor(self.model.quantiles, device=missed.device)).mean(), None
        return (missed.abs() if self._loss == "mae" else missed.square()).mean(), None

    def validate(self) -> Score:
        """The figures of the validation part; the one that is the loss decides."""
        figures = measure(rule_of(self.model, self._pool), self._pool, self._validation, self.model.quantiles)
        return Score(figures, MAIN[self._loss], higher_is_better=False, of_loss=1.0)

    def finished(self, training: dict[str, Any]) -> Forecaster:
        """The model with the figures of its training, to be saved."""
        return replace(self.model, training=training)
