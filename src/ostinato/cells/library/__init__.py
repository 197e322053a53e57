"""Every known cell, one family a file: the equations, the paper, and one step in plain PyTorch."""

from ostinato.cells.library.cho_gru import ChoGRUCell
from ostinato.cells.library.cifg_lstm import CIFGLSTMCell
from ostinato.cells.library.elman import ElmanCell, RNNCell
from ostinato.cells.library.gru import GRUCell
from ostinato.cells.library.janet import JANETCell
from ostinato.cells.library.layer_norm_lstm import LayerNormLSTMCell
from ostinato.cells.library.lstm import LSTMCell
from ostinato.cells.library.mgu import MGUCell
from ostinato.cells.library.mogrifier_lstm import MogrifierLSTMCell
from ostinato.cells.library.multiplicative_lstm import MultiplicativeLSTMCell
from ostinato.cells.library.peephole_lstm import PeepholeLSTMCell
from ostinato.cells.library.ugrnn import UGRNNCell

__all__ = [
    "CIFGLSTMCell",
    "ChoGRUCell",
    "ElmanCell",
    "GRUCell",
    "JANETCell",
    "LSTMCell",
    "LayerNormLSTMCell",
    "MGUCell",
    "MogrifierLSTMCell",
    "MultiplicativeLSTMCell",
    "PeepholeLSTMCell",
    "RNNCell",
    "UGRNNCell",
]
