"""Cells whose programs the tests build, and how: name → a bound cell, its streams and its constants."""

from __future__ import annotations

from collections.abc import Callable

import torch

import ostinato
from ostinato.cells.cell import Cell
from tests.support.own_cells import NormalisedCell, PeepholeLSTMCell, TimeGapCell, TwoWidthsCell

I, H = 3, 4

CELLS: dict[str, Callable[[], Cell]] = {
    "LSTM": lambda: ostinato.LSTMCell(I, H),
    "LSTM without bias": lambda: ostinato.LSTMCell(I, H, bias=False),
    "LSTMP": lambda: ostinato.LSTMCell(I, H, proj_size=2),
    "GRU": lambda: ostinato.GRUCell(I, H),
    "ChoGRU": lambda: ostinato.ChoGRUCell(I, H),
    "RNN": lambda: ostinato.RNNCell(I, H),
    "RNN relu": lambda: ostinato.RNNCell(I, H, nonlinearity="relu"),
    "Elman": lambda: ostinato.ElmanCell(I, H, output_size=2, output_nonlinearity="softmax"),
    "peephole": lambda: PeepholeLSTMCell(I, H),
    "LayerNorm": lambda: NormalisedCell(I, H),
    "two widths": lambda: TwoWidthsCell(I, H),
    "time gap": lambda: TimeGapCell(I, H),
    "time gap and speaker": lambda: TimeGapCell(I, H),
}

STREAMS = {"time gap": {"gap": 1}, "time gap and speaker": {"gap": 1}}
CONSTANTS = {"time gap and speaker": {"speaker": H}}


def cell(name: str) -> Cell:
    torch.manual_seed(0)
    return CELLS[name]().double()


def widths(table: dict[str, dict[str, int]], name: str) -> dict[str, tuple[int, torch.dtype]]:
    """As ``trace`` takes streams and constants."""
    return {key: (size, torch.float64) for key, size in table.get(name, {}).items()}
