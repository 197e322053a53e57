"""Every known cell, one family a file: the equations, the paper, and one step in plain PyTorch."""

from ostinato.cells.library.antisymmetric import AntisymmetricRNNCell
from ostinato.cells.library.cho_gru import ChoGRUCell
from ostinato.cells.library.cifg_lstm import CIFGLSTMCell
from ostinato.cells.library.cornn import coRNNCell
from ostinato.cells.library.elman import ElmanCell, RNNCell
from ostinato.cells.library.fast_rnn import FastGRNNCell, FastRNNCell
from ostinato.cells.library.gru import GRUCell
from ostinato.cells.library.ind_rnn import IndRNNCell
from ostinato.cells.library.janet import JANETCell
from ostinato.cells.library.layer_norm_gru import LayerNormGRUCell
from ostinato.cells.library.layer_norm_lstm import LayerNormLSTMCell
from ostinato.cells.library.lem import LEMCell
from ostinato.cells.library.li_gru import LiGRUCell
from ostinato.cells.library.lru import LRUCell
from ostinato.cells.library.lstm import LSTMCell
from ostinato.cells.library.mgu import MGUCell
from ostinato.cells.library.min_gru import MinGRUCell
from ostinato.cells.library.min_lstm import MinLSTMCell
from ostinato.cells.library.mogrifier_lstm import MogrifierLSTMCell
from ostinato.cells.library.multiplicative_lstm import MultiplicativeLSTMCell
from ostinato.cells.library.peephole_lstm import PeepholeLSTMCell
from ostinato.cells.library.qrnn import QRNNCell
from ostinato.cells.library.sru import SRUCell
from ostinato.cells.library.ugrnn import UGRNNCell

__all__ = [
    "AntisymmetricRNNCell",
    "CIFGLSTMCell",
    "ChoGRUCell",
    "ElmanCell",
    "FastGRNNCell",
    "FastRNNCell",
    "GRUCell",
    "IndRNNCell",
    "JANETCell",
    "LEMCell",
    "LRUCell",
    "LSTMCell",
    "LayerNormGRUCell",
    "LayerNormLSTMCell",
    "LiGRUCell",
    "MGUCell",
    "MinGRUCell",
    "MinLSTMCell",
    "MogrifierLSTMCell",
    "MultiplicativeLSTMCell",
    "PeepholeLSTMCell",
    "QRNNCell",
    "RNNCell",
    "SRUCell",
    "UGRNNCell",
    "coRNNCell",
]
