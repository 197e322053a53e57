"""Recurrent networks that you can read, change, and still run at full speed."""

from ostinato import functional, layouts
from ostinato.cells.cell import Cell
from ostinato.cells.cho_gru import ChoGRUCell
from ostinato.cells.elman import ElmanCell, RNNCell
from ostinato.cells.gru import GRUCell
from ostinato.cells.lstm import LSTMCell
from ostinato.engines.choose import engine
from ostinato.inspection.explain import explain
from ostinato.inspection.tape import record
from ostinato.layers.interchange import replace_, to_torch
from ostinato.layers.recurrent import Recurrent
from ostinato.layers.torch_nn import GRU, LSTM, RNN, ChoGRU, Elman
from ostinato.version import __version__

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "Cell",
    "ChoGRU",
    "ChoGRUCell",
    "Elman",
    "ElmanCell",
    "GRUCell",
    "LSTMCell",
    "RNNCell",
    "Recurrent",
    "__version__",
    "engine",
    "explain",
    "functional",
    "layouts",
    "record",
    "replace_",
    "to_torch",
]
