"""A trained forecaster: the past of a series in, its next values out, in the series' own units."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from ostinato.cells.cell import Cell
from ostinato.errors import ModelFolderError
from ostinato.models.cell_names import name_of_cell
from ostinato.models.evaluation import evaluating
from ostinato.models.forecasting_network import OUTPUTS, ForecastingNetwork, ForecastingSize
from ostinato.models.forecasting_windows import Windows
from ostinato.models.reader import DEEPEST, WIDEST, Reader
from ostinato.models.series_form import SeriesForm, are_several

CALL = 1 << 18
"""So many steps of all windows together are read in one call, which bounds the memory."""

IN_THE_FORM = ("inputs", "known", "levels")
"""What follows from the form and the quantiles."""


@dataclass(frozen=True)
class Forecaster:
    """A network with its units: what :func:`ostinato.load` returns for a forecaster's folder.

    Args:
        network: the model proper, an ordinary ``nn.Module``.
        form: which columns it reads, and how they are standardised.
        quantiles: in rising order; empty for one value a step.
        training: figures of the run that made it.

    Example:
        >>> from ostinato.cells.library.lstm import LSTMCell
        >>> from ostinato.models.forecasting_windows import Scale
        >>> network = ForecastingNetwork(ForecastingSize(window=4, horizon=2), LSTMCell)
        >>> Forecaster(network, SeriesForm(scales={"sales": Scale(10.0, 2.0)})).predict([8, 9, 11, 12, 14])
        tensor([14., 14.], dtype=torch.float64)
    """

    network: ForecastingNetwork
    form: SeriesForm
    quantiles: tuple[float, ...] = ()
    training: dict[str, Any] = field(default_factory=dict)

    kind: ClassVar[str] = "forecaster"

    def content(self) -> dict[str, Any]:
        """All that rebuilds it besides the weights."""
        size = asdict(self.network.size)
        return {
            "cell": name_of_cell(self.network.cell_type),
            **{name: value for name, value in size.items() if name not in IN_THE_FORM},
            "quantiles": list(self.quantiles),
            **self.form.content(),
        }

    @classmethod
    def from_content(
        cls, content: dict[str, Any], training: dict[str, Any], read: Reader, cell: type[Cell], device: str | None
    ) -> Self:
        """An untrained network of that content.

        Raises:
            ModelFolderError: an entry is missing, of the wrong type, or out of bounds.
        """
        form, quantiles = SeriesForm.from_content(content, read), tuple(read.numbers(content, "quantiles"))
        if list(quantiles) != sorted(set(quantiles)) or not all(0 < q < 1 for q in quantiles) or len(quantiles) > 99:
            raise ModelFolderError(f"{read.path}: quantiles must rise from above 0 to below 1, got {quantiles[:5]}")
        size = ForecastingSize(
            window=read.whole(content, "window", WIDEST),
            horizon=read.whole(content, "horizon", WIDEST),
            inputs=len(form.columns.inputs),
            known=form.known,
            levels=len(quantiles) or 1,
            output=read.one_of(content, "output", OUTPUTS),
            last_value=read.flag(content, "last_value"),
            linear_shortcut=read.flag(content, "linear_shortcut"),
            hidden_size=read.whole(content, "hidden_size", WIDEST),
            num_layers=read.whole(content, "num_layers", DEEPEST),
            dropout=read.fraction(content, "dropout"),
            cell_options=read.options(content, "cell_options"),
        )
        return cls(ForecastingNetwork(size, cell, device=device), form, quantiles, training)

    def predict(self, history: Any, *, future: Any = None, time: Any = None, series: Any = None) -> Tensor:
        """The next values: (horizon,), or (horizon, quantiles), in units, float64.

        Args:
            history: (T, I) the past: the target, then the inputs, then the known columns; (T,) of a target alone. A
                tensor, an array, nested lists, or a data frame, whose columns are taken by name, the time too. The
                last ``window`` rows are read. A list of frames, arrays or tensors, or (N, T, I), is N such series.
            future: (horizon, known) the known columns of the steps to forecast, in a form as above; for several
                series a list of them.
            time: of the history's last row, as text, datetime or seconds; a model that reads the calendar needs it.
                For several series one for all, or a list.
            series: which of the series it learnt from this is; then that series' scale is used. Without it, the only
                one's, or the scale of the history itself. For several series one for all, or a list.

        Returns:
            As above; for N series (N, horizon) or (N, horizon, quantiles).

        Raises:
            InvalidShape: other columns than the model reads.
            InvalidValue: the history is shorter than the window, not finite, or without the time or future it needs.
            InvalidType: not numbers in rows.
        """
        return self.from_scores(self.scores(history, future=future, time=time, series=series))

    def scores(self, history: Any, *, future: Any = None, time: Any = None, series: Any = None) -> Tensor:
        """(horizon, Q) the forecast in units, Q = 1 without quantiles; (N, horizon, Q) of several, or of windows.

        Raises:
            InvalidShape, InvalidValue, InvalidType: as for :meth:`predict`.
        """
        parts = self._parts(history, future, time, series)
        with evaluating(self.network):
            forecast = torch.cat([part.in_units(self.network(*self._tensors(part)).cpu()) for part in parts])
        return forecast if isinstance(history, Windows) or are_several(history) else forecast[0]

    def from_scores(self, scores: Tensor) -> Tensor:
        """The forecast itself: without the last axis where there are no quantiles."""
        return scores if self.quantiles else scores[..., 0]

    def encode(self, history: Any, *, future: Any = None, time: Any = None, series: Any = None) -> Tensor:
        """(N, H) each window as a vector, the stack's last output; one row for a single history.

        Raises:
            InvalidShape, InvalidValue, InvalidType: as for :meth:`predict`.
        """
        parts = self._parts(history, future, time, series)
        with evaluating(self.network):
            return torch.cat([self.network.encode(*self._tensors(part)).cpu() for part in parts])

    def _parts(self, history: Any, future: Any, time: Any, series: Any) -> list[Windows]:
        size = self.network.size
        windows = history
        if not isinstance(history, Windows):
            options = {"window": size.window, "horizon": size.horizon, "future": future, "time": time, "series": series}
            windows = self.form.windows(history, **options)
        rows = max(1, CALL // (size.window + size.horizon))
        count = windows.past.shape[1]
        return [windows.part(start, min(start + rows, count)) for start in range(0, count, rows)]

    def _tensors(self, part: Windows) -> tuple[Tensor, Tensor | None]:
        device = self.network.head.weight.device
        return part.past.to(device), None if part.known is None else part.known.to(device)
