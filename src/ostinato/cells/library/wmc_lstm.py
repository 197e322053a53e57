"""The LSTM with working memory connections."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from ostinato.cells.initialise import Init
from ostinato.cells.registry import known
from ostinato.cells.stacked import StackedCell


@known("wmc-lstm", "LSTM with working memory connections", 2021)
class WMCLSTMCell(StackedCell):
    r"""The LSTM cell whose gates see the cell state through a matrix and a tanh.

    .. math::
        g_t &= \tanh(W_{gx} x_t + W_{gh} h_{t-1} + b_g) \\
        i_t &= \sigma(W_{ix} x_t + W_{ih} h_{t-1} + \tanh(W_{ic} c_{t-1}) + b_i) \\
        f_t &= \sigma(W_{fx} x_t + W_{fh} h_{t-1} + \tanh(W_{fc} c_{t-1}) + b_f) \\
        c_t &= f_t \odot c_{t-1} + i_t \odot g_t \\
        o_t &= \sigma(W_{ox} x_t + W_{oh} h_{t-1} + \tanh(W_{oc} c_t) + b_o) \\
        h_t &= o_t \odot \tanh(c_t)

    The tanh keeps what the gates see of c within (-1, 1), which peepholes do not. The gates lie stacked in the weights
    as i, f, g, o, and in ``weight_ch`` as i, f, o. torchrecurrent has a bias inside the tanh too.

    Args:
        input_size: I.
        hidden_size: H.
        bias: with ``bias_ih``.
        recurrent_init: ``"uniform"`` is torch's; ``"orthogonal"`` draws each gate of ``weight_hh`` orthogonal.

    Parameters:
        weight_ih (4·H, I), weight_hh (4·H, H), bias_ih (4·H), weight_ch (3·H, H).

    Paper:
        F. Landi, L. Baraldi, M. Cornia, R. Cucchiara, Working memory connections for LSTM, Neural Networks 144, 2021,
        arXiv:2109.00020.

    Example:
        >>> h, c = ostinato.cells.WMCLSTMCell(4, 5)(torch.randn(2, 4))
        >>> h.shape, c.shape
        (torch.Size([2, 5]), torch.Size([2, 5]))
    """

    state_names = ("h", "c")
    gates = 4
    two_biases = False

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        recurrent_init: Init = "uniform",
    ) -> None:
        super().__init__(input_size, hidden_size, bias, device, dtype, recurrent_init)
        self.weight_ch = nn.Parameter(torch.empty(3 * hidden_size, hidden_size, device=device, dtype=dtype))
        self.reset_parameters()

    def step(self, x: Tensor, h: Tensor, c: Tensor) -> Any:
        w_if, w_o = self.weight_ch[: 2 * self.hidden_size], self.weight_ch[2 * self.hidden_size :]
        i, f, g, o = (linear(x, self.weight_ih, self.bias_ih) + linear(h, self.weight_hh)).chunk(4, dim=-1)
        c_i, c_f = torch.tanh(linear(c, w_if)).chunk(2, dim=-1)
        i = torch.sigmoid(i + c_i)
        f = torch.sigmoid(f + c_f)
        g = self.candidate(torch.tanh(g))
        c = f * c + i * g
        o = torch.sigmoid(o + torch.tanh(linear(c, w_o)))
        h = o * torch.tanh(c)
        return h, c
