"""A window of the past → recurrent stack → the next values, all at once or one after another.

The network sees standardised values only; what a unit is, the model around it knows. With last-value normalisation
and no training it says "as now": its linear maps begin at zero.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ostinato.cells.cell import Cell
from ostinato.errors import InvalidValue
from ostinato.layers.recurrent import Recurrent
from ostinato.models.states import State

OUTPUTS = ("direct", "autoregressive")


@dataclass(frozen=True)
class ForecastingSize:
    """Everything that decides the shapes of a :class:`ForecastingNetwork`, besides its cell.

    Args:
        window: W, steps that are read.
        horizon: steps that are forecast.
        inputs: series read beside the target, not known in the future.
        known: values that are known of every step in advance.
        levels: Q values forecast for each step: one, or a quantile each, in rising order.
        output: ``"direct"`` or ``"autoregressive"``.
        last_value: the target's last value is subtracted from the window, and added to the forecast.
        linear_shortcut: a linear map of the target's window is added to the forecast.
        hidden_size: H.
        num_layers: of the stack.
        dropout: between layers, and of what the head reads.
        cell_options: passed to every cell.
    """

    window: int
    horizon: int
    inputs: int = 0
    known: int = 0
    levels: int = 1
    output: str = "direct"
    last_value: bool = True
    linear_shortcut: bool = True
    hidden_size: int = 32
    num_layers: int = 1
    dropout: float = 0.0
    cell_options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("window", "horizon", "levels", "hidden_size", "num_layers"):
            if getattr(self, name) < 1:
                raise InvalidValue(f"{name} must be positive, got {getattr(self, name)}")
        for name in ("inputs", "known"):
            if getattr(self, name) < 0:
                raise InvalidValue(f"{name} must not be negative, got {getattr(self, name)}")
        if self.output not in OUTPUTS:
            raise InvalidValue(f"output must be one of {', '.join(OUTPUTS)}, got {self.output!r}")
        if not 0 <= self.dropout < 1:
            raise InvalidValue(f"dropout must be at least 0 and below 1, got {self.dropout}")


class ForecastingNetwork(nn.Module):
    """Forecasts (B, horizon, Q) from a window of the target and what stands beside it.

    ::

        x_t = [y_t − y_W; inputs_t; known_{t+1}]            t = 1 … W; a step reads what is known of the next one
        h_t = stack(x_t, h_{t-1})                           Recurrent(cell_type, …)

        direct            ŷ = y_W + A·[h_W; known_{W+1} … known_{W+horizon}] + B·(y − y_W)
        autoregressive    ŷ_{t+1} = y_W + A·h_t + B·(the W values before − y_W), and ŷ_{t+1} is read as y_{t+1};
                          inputs stay as they were at W

    B is the linear shortcut: a linear autoregression beside the recurrent network, as in LSTNet (Lai et al. 2018); on
    a window without its last value it is NLinear (Zeng et al. 2023). Of quantiles the middle one is read back; they
    are sorted, which never makes them worse (Chernozhukov et al. 2010).

    >>> from ostinato.cells.library.gru import GRUCell
    >>> network = ForecastingNetwork(ForecastingSize(window=5, horizon=3, inputs=1, hidden_size=4), GRUCell)
    >>> past = torch.randn(5, 2, 2)
    >>> forecast = network(past)
    >>> forecast.shape, torch.equal(forecast[0, :, 0], past[-1, 0, 0].expand(3))
    (torch.Size([2, 3, 1]), True)

    Args:
        size: the widths, the output, and what is subtracted and added.
        cell_type: the cell of every layer.
    """

    def __init__(self, size: ForecastingSize, cell_type: type[Cell], *, device: torch.device | str | None = None):
        super().__init__()
        self.size = size
        self.cell_type = cell_type
        self.stack = Recurrent(
            cell_type,
            1 + size.inputs + size.known,
            size.hidden_size,
            size.num_layers,
            dropout=size.dropout if size.num_layers > 1 else 0.0,
            device=device,
            **size.cell_options,
        )
        direct = size.output == "direct"
        read = self.stack.output_size + (size.horizon * size.known if direct else 0)
        self.steps = size.horizon if direct else 1
        self.head = nn.Linear(read, self.steps * size.levels, device=device)
        self.shortcut = (
            nn.Linear(size.window, self.steps * size.levels, bias=False, device=device)
            if size.linear_shortcut
            else None
        )
        for parameter in (*self.head.parameters(), *(self.shortcut.parameters() if self.shortcut else ())):
            nn.init.zeros_(parameter)
        self.dropout = nn.Dropout(size.dropout)

    def forward(self, past: Tensor, known: Tensor | None = None) -> Tensor:
        """(B, horizon, Q) the forecast, standardised as the window is.

        Args:
            past: (W, B, 1 + inputs) the target first.
            known: (W + horizon, B, known) of the window's steps and those after it; None if nothing is.
        """
        known = self._known(past, known)
        level = past[-1, :, 0] if self.size.last_value else torch.zeros_like(past[-1, :, 0])
        y = past[..., 0] - level
        h, state = self._read(y, past[..., 1:], known)
        if self.size.output == "direct":
            future = known[self.size.window :].transpose(0, 1).flatten(1)
            forecast = self._linear(torch.cat((h, future), dim=1), y)
        else:
            forecast = self._step_by_step(h, state, y, past[-1:, :, 1:], known)
        return (forecast + level.view(-1, 1, 1)).sort(dim=2).values

    def encode(self, past: Tensor, known: Tensor | None = None) -> Tensor:
        """(B, H) the stack's last output: a window as a vector."""
        level = past[-1, :, 0] if self.size.last_value else torch.zeros_like(past[-1, :, 0])
        return self._read(past[..., 0] - level, past[..., 1:], self._known(past, known))[0]

    def _known(self, past: Tensor, known: Tensor | None) -> Tensor:
        steps = self.size.window + self.size.horizon
        return past.new_zeros(steps, past.shape[1], 0) if known is None else known

    def _read(self, y: Tensor, inputs: Tensor, known: Tensor) -> tuple[Tensor, State]:
        x = torch.cat((y.unsqueeze(2), inputs, known[1 : self.size.window + 1]), dim=2)
        output, state = self.stack(x)
        return output[-1], state

    def _linear(self, h: Tensor, y: Tensor) -> Tensor:
        """(B, steps, Q) from (B, ·) and the window (W, B)."""
        forecast = self.head(self.dropout(h))
        if self.shortcut is not None:
            forecast = forecast + self.shortcut(y.t())
        return forecast.view(len(h), self.steps, self.size.levels)

    def _step_by_step(self, h: Tensor, state: State, y: Tensor, inputs: Tensor, known: Tensor) -> Tensor:
        steps: list[Tensor] = []
        for step in range(self.size.window + 1, self.size.window + self.size.horizon + 1):
            steps.append(self._linear(h, y))
            if step == len(known):
                break
            following = steps[-1][:, 0].sort(dim=1).values[:, self.size.levels // 2].unsqueeze(0)
            y = torch.cat((y[1:], following))
            x = torch.cat((following.unsqueeze(2), inputs, known[step : step + 1]), dim=2)
            output, state = self.stack(x, state)
            h = output[-1]
        return torch.cat(steps, dim=1)
