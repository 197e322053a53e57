"""Windows of series as a forecasting network reads them: standardised, side by side, with the way back to units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor


@dataclass(frozen=True)
class Scale:
    """How a series is standardised, learnt on its training part.

    Args:
        mean, deviation: are subtracted and divided by; the deviation of a constant series is taken as 1.
        naive: mean |y_t − y_{t−season}| of the training part, in units: what MASE is measured in (Hyndman and Koehler
            2006). 0 where the series repeats itself exactly; then there is no MASE.

    >>> Scale.of(torch.tensor([1.0, 3.0, 1.0, 3.0]), season=1)
    Scale(mean=2.0, deviation=1.0, naive=2.0)
    """

    mean: float
    deviation: float
    naive: float = 0.0

    @classmethod
    def of(cls, values: Tensor, season: int = 1) -> Scale:
        """Of (T,) values; ``naive`` is 0 too where there are not more of them than a season."""
        values = values.double()
        deviation = float(values.std(correction=0))
        naive = float((values[season:] - values[:-season]).abs().mean()) if len(values) > season else 0.0
        # What remains of a constant series is rounding.
        constant = deviation <= 1e-9 * float(values.abs().max())
        return cls(float(values.mean()), 1.0 if constant else deviation, naive)


class Windows(NamedTuple):
    """N windows of W steps.

    Args:
        past: (W, N, 1 + inputs) the target first, standardised.
        known: (W + horizon, N, known) of the windows' steps and those to forecast, standardised; None if nothing is.
        mean, deviation: (N,) float64, of each window's target, to go back to units.
    """

    past: Tensor
    known: Tensor | None
    mean: Tensor
    deviation: Tensor

    def part(self, start: int, stop: int) -> Windows:
        """Windows ``start`` to ``stop``, the latter not included."""
        known = None if self.known is None else self.known[:, start:stop]
        return Windows(self.past[:, start:stop], known, self.mean[start:stop], self.deviation[start:stop])

    def in_units(self, forecast: Tensor) -> Tensor:
        """(N, horizon, Q) from the standardised ones, float64: a series may lie far from zero."""
        return forecast * self.deviation.view(-1, 1, 1) + self.mean.view(-1, 1, 1)
