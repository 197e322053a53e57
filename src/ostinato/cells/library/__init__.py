"""Every known cell, one family a file: the equations, the paper, and one step in plain PyTorch."""

from ostinato.cells.library.antisymmetric import AntisymmetricRNNCell
from ostinato.cells.library.atr import ATRCell
from ostinato.cells.library.bistable import BRCell, NBRCell
from ostinato.cells.library.cfn import CFNCell
from ostinato.cells.library.cho_gru import ChoGRUCell
from ostinato.cells.library.cifg_lstm import CIFGLSTMCell
from ostinato.cells.library.cornn import coRNNCell
from ostinato.cells.library.elman import ElmanCell, RNNCell
from ostinato.cells.library.fast_rnn import FastGRNNCell, FastRNNCell
from ostinato.cells.library.gated_antisymmetric import GatedAntisymmetricRNNCell
from ostinato.cells.library.gru import GRUCell
from ostinato.cells.library.ind_rnn import IndRNNCell
from ostinato.cells.library.intersection_rnn import IntersectionRNNCell
from ostinato.cells.library.irnn import IRNNCell
from ostinato.cells.library.janet import JANETCell
from ostinato.cells.library.jordan import JordanCell
from ostinato.cells.library.layer_norm_gru import LayerNormGRUCell
from ostinato.cells.library.layer_norm_lstm import LayerNormLSTMCell
from ostinato.cells.library.lem import LEMCell
from ostinato.cells.library.li_gru import LiGRUCell
from ostinato.cells.library.light_ru import LightRUCell
from ostinato.cells.library.lru import LRUCell
from ostinato.cells.library.lstm import LSTMCell
from ostinato.cells.library.mc_lstm import MCLSTMCell
from ostinato.cells.library.memory_controller_lstm import MemoryControllerLSTMCell
from ostinato.cells.library.mgu import MGUCell
from ostinato.cells.library.min_gru import MinGRUCell
from ostinato.cells.library.min_lstm import MinLSTMCell
from ostinato.cells.library.minimal_rnn import MinimalRNNCell
from ostinato.cells.library.miru import MiRU1Cell, MiRU2Cell
from ostinato.cells.library.mogrifier_lstm import MogrifierLSTMCell
from ostinato.cells.library.multiplicative_lstm import MultiplicativeLSTMCell
from ostinato.cells.library.multiplicative_rnn import MultiplicativeGRUCell, MultiplicativeRNNCell
from ostinato.cells.library.mut import MUT1Cell, MUT2Cell, MUT3Cell
from ostinato.cells.library.nas import NASCell
from ostinato.cells.library.original_lstm import OriginalLSTMCell
from ostinato.cells.library.peephole_lstm import PeepholeLSTMCell
from ostinato.cells.library.qrnn import QRNNCell
from ostinato.cells.library.ran import RANCell
from ostinato.cells.library.res_lstm import ResLSTMCell
from ostinato.cells.library.rhn import RHNCell
from ostinato.cells.library.scrn import SCRNCell
from ostinato.cells.library.sgrn import SGRNCell
from ostinato.cells.library.sgu import DSGUCell, SGUCell
from ostinato.cells.library.slstm import SLSTMCell
from ostinato.cells.library.sru import SRUCell
from ostinato.cells.library.star import STARCell
from ostinato.cells.library.strongly_typed import TGRUCell, TLSTMCell, TRNNCell
from ostinato.cells.library.tau_gru import TauGRUCell
from ostinato.cells.library.ugrnn import UGRNNCell
from ostinato.cells.library.unicornn import UnICORNNCell
from ostinato.cells.library.wmc_lstm import WMCLSTMCell

__all__ = [
    "ATRCell",
    "AntisymmetricRNNCell",
    "BRCell",
    "CFNCell",
    "CIFGLSTMCell",
    "ChoGRUCell",
    "DSGUCell",
    "ElmanCell",
    "FastGRNNCell",
    "FastRNNCell",
    "GRUCell",
    "GatedAntisymmetricRNNCell",
    "IRNNCell",
    "IndRNNCell",
    "IntersectionRNNCell",
    "JANETCell",
    "JordanCell",
    "LEMCell",
    "LRUCell",
    "LSTMCell",
    "LayerNormGRUCell",
    "LayerNormLSTMCell",
    "LiGRUCell",
    "LightRUCell",
    "MCLSTMCell",
    "MGUCell",
    "MUT1Cell",
    "MUT2Cell",
    "MUT3Cell",
    "MemoryControllerLSTMCell",
    "MiRU1Cell",
    "MiRU2Cell",
    "MinGRUCell",
    "MinLSTMCell",
    "MinimalRNNCell",
    "MogrifierLSTMCell",
    "MultiplicativeGRUCell",
    "MultiplicativeLSTMCell",
    "MultiplicativeRNNCell",
    "NASCell",
    "NBRCell",
    "OriginalLSTMCell",
    "PeepholeLSTMCell",
    "QRNNCell",
    "RANCell",
    "RHNCell",
    "RNNCell",
    "ResLSTMCell",
    "SCRNCell",
    "SGRNCell",
    "SGUCell",
    "SLSTMCell",
    "SRUCell",
    "STARCell",
    "TGRUCell",
    "TLSTMCell",
    "TRNNCell",
    "TauGRUCell",
    "UGRNNCell",
    "UnICORNNCell",
    "WMCLSTMCell",
    "coRNNCell",
]
