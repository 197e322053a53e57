"""Every known cell, one family a file: the equations, the paper, and one step in plain PyTorch."""

from ostinato.cells.library.cho_gru import ChoGRUCell
from ostinato.cells.library.elman import ElmanCell, RNNCell
from ostinato.cells.library.gru import GRUCell
from ostinato.cells.library.lstm import LSTMCell

__all__ = ["ChoGRUCell", "ElmanCell", "GRUCell", "LSTMCell", "RNNCell"]
