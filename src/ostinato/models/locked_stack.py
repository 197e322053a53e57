"""Layers one above the other, with dropout between them that holds for a whole sequence."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ostinato.cells.cell import Cell
from ostinato.layers.recurrent import Recurrent
from ostinato.models.regularisation import locked_dropout
from ostinato.models.states import State


class LockedStack(nn.Module):
    """``Recurrent(cell_type, I, H, L, dropout=…)`` whose dropout has one mask a sequence instead of one a step.

    Each layer is a :class:`~ostinato.Recurrent` of its own, ``layers.{k}``; the state is a tuple of theirs.

    >>> from ostinato.cells.library.gru import GRUCell
    >>> output, state = LockedStack(GRUCell, 3, 5, 2, dropout=0.4)(torch.zeros(7, 2, 3))
    >>> output.shape, len(state), state[0].shape
    (torch.Size([7, 2, 5]), 2, torch.Size([1, 2, 5]))

    Args:
        cell_type: the cell of every layer.
        input_size: I.
        hidden_size: H.
        num_layers: L.
        dropout: part of the values between two layers that is dropped while training.
        device: of the parameters.
        cell_options: passed to the cells.
    """

    def __init__(
        self,
        cell_type: type[Cell],
        input_size: int,
        hidden_size: int,
        num_layers: int,
        *,
        dropout: float = 0.0,
        device: torch.device | str | None = None,
        **cell_options: Any,
    ) -> None:
        super().__init__()
        self.dropout = dropout
        self.layers = nn.ModuleList()
        for k in range(num_layers):
            cell, options = cell_type.at_layer(k, num_layers, cell_options)
            layer = Recurrent(cell, input_size, hidden_size, device=device, **options)
            self.layers.append(layer)
            input_size = layer.output_size
        self.output_size = input_size

    def forward(self, x: Tensor, state: Any = None, *, lengths: Tensor | None = None) -> tuple[Tensor, State]:
        """Reads ``x`` (T, B, I) on from ``state``; the output (T, B, H) and the layers' states after it."""
        states: list[Any] = []
        for k, layer in enumerate(self.layers):
            if k:
                x = locked_dropout(x, self.dropout, self.training)
            x, after = layer(x, None if state is None else state[k], lengths=lengths)
            states.append(after)
        return x, tuple(states)
