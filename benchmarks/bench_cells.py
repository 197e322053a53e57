"""The cells of one's own that the benchmarks time: as a user would write them, each from its paper."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

import ostinato


class PeepholeLSTMCell(ostinato.Cell):
    """Gates that look at the cell state.

    F. A. Gers, N. N. Schraudolph, J. Schmidhuber, Learning precise timing with LSTM recurrent networks, JMLR 3, 2002.
    """

    state_names = ("h", "c")

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.weight_ih = nn.Parameter(torch.empty(4 * hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(4 * hidden_size, hidden_size))
        self.bias = nn.Parameter(torch.empty(4 * hidden_size))
        self.peephole = nn.Parameter(torch.empty(3, hidden_size))
        self.reset_parameters()

    def step(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        i, f, g, o = (linear(x, self.weight_ih, self.bias) + linear(h, self.weight_hh)).chunk(4, dim=-1)
        p_i, p_f, p_o = self.peephole
        i, f, g = torch.sigmoid(i + p_i * c), torch.sigmoid(f + p_f * c), torch.tanh(g)
        c = f * c + i * g
        o = torch.sigmoid(o + p_o * c)
        h = o * torch.tanh(c)
        return h, c


class MGUCell(ostinato.Cell):
    """One gate that forgets and updates: a GRU with r = z.

    G.-B. Zhou, J. Wu, C.-L. Zhang, Z.-H. Zhou, Minimal gated unit for recurrent neural networks,
    arXiv:1603.09420, 2016.
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.weight_ih = nn.Parameter(torch.empty(2 * hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(2 * hidden_size, hidden_size))
        self.bias = nn.Parameter(torch.empty(2 * hidden_size))
        self.reset_parameters()

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        w_f, w_n = self.weight_hh.chunk(2)
        x_f, x_n = linear(x, self.weight_ih, self.bias).chunk(2, dim=-1)
        f = torch.sigmoid(x_f + linear(h, w_f))
        n = torch.tanh(x_n + linear(f * h, w_n))
        h = (1 - f) * h + f * n
        return h


class LayerNormLSTMCell(ostinato.Cell):
    """An LSTM with both products and the cell state normalised over the features.

    J. L. Ba, J. R. Kiros, G. E. Hinton, Layer normalization, arXiv:1607.06450, 2016, equations 20 to 22.
    """

    state_names = ("h", "c")

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.weight_ih = nn.Parameter(torch.empty(4 * hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(4 * hidden_size, hidden_size))
        self.bias = nn.Parameter(torch.empty(4 * hidden_size))
        self.norm_x = nn.LayerNorm(4 * hidden_size, bias=False)
        self.norm_h = nn.LayerNorm(4 * hidden_size, bias=False)
        self.norm_c = nn.LayerNorm(hidden_size)
        self.reset_parameters()

    def step(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        gates = self.norm_x(linear(x, self.weight_ih)) + self.norm_h(linear(h, self.weight_hh)) + self.bias
        i, f, g, o = gates.chunk(4, dim=-1)
        i, f, g, o = torch.sigmoid(i), torch.sigmoid(f), torch.tanh(g), torch.sigmoid(o)
        c = f * c + i * g
        h = o * torch.tanh(self.norm_c(c))
        return h, c


CUSTOM: dict[str, type[ostinato.Cell]] = {
    "peephole": PeepholeLSTMCell,
    "mgu": MGUCell,
    "layernorm": LayerNormLSTMCell,
    "cho": ostinato.ChoGRUCell,
}
TORCHS: dict[str, type[ostinato.Cell]] = {
    "rnn": ostinato.RNNCell,
    "gru": ostinato.GRUCell,
    "lstm": ostinato.LSTMCell,
}
GATES = {"rnn": 1, "gru": 3, "lstm": 4, "peephole": 4, "mgu": 2, "layernorm": 4, "cho": 3}
NAMES = {
    "rnn": "RNN",
    "gru": "GRU",
    "lstm": "LSTM",
    "peephole": "peephole LSTM",
    "mgu": "MGU",
    "layernorm": "LN-LSTM",
    "cho": "Cho's GRU",
}


def layer(cell: str, input_size: int, hidden_size: int, engine: str) -> ostinato.Recurrent:
    """A layer of any of the cells above."""
    return ostinato.Recurrent((TORCHS | CUSTOM)[cell], input_size, hidden_size, engine=engine)
