"""Long short-term memory whose transition is another one for every input."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from ostinato.cells.initialise import Init, recurrent_
from ostinato.cells.registry import known
from ostinato.cells.stacked import StackedCell


@known("multiplicative-lstm", "Multiplicative LSTM", 2016)
class MultiplicativeLSTMCell(StackedCell):
    r"""The LSTM cell whose gates see m, the product of a part of x and a part of h, where others see h.

    .. math::
        m_t &= (W_{mx} x_t) \odot (W_{mh} h_{t-1}) \\
        \hat h_t &= W_{hx} x_t + W_{hm} m_t + b_h \\
        i_t &= \sigma(W_{ix} x_t + W_{im} m_t + b_i) \\
        o_t &= \sigma(W_{ox} x_t + W_{om} m_t + b_o) \\
        f_t &= \sigma(W_{fx} x_t + W_{fm} m_t + b_f) \\
        c_t &= f_t \odot c_{t-1} + i_t \odot \tanh(\hat h_t) \\
        h_t &= o_t \odot \tanh(c_t)

    m has as many units as h, and ``weight_hh`` reads m, not h. The blocks lie stacked in both weights as
    :math:`i, f, \hat h, o`. m has no biases; torchrecurrent's has one in each factor, and a second one in the gates.

    Args:
        input_size: I.
        hidden_size: H.
        bias: with ``bias_ih``.
        recurrent_init: ``"uniform"`` is torch's; ``"orthogonal"`` draws ``weight_mh`` and each block of ``weight_hh``
            orthogonal.

    Parameters:
        weight_ih (4·H, I), weight_hh (4·H, H), bias_ih (4·H), weight_mx (H, I), weight_mh (H, H).

    Paper:
        B. Krause, L. Lu, I. Murray, S. Renals, Multiplicative LSTM for sequence modelling, arXiv:1609.07959, 2016.

    Example:
        >>> h, c = ostinato.cells.MultiplicativeLSTMCell(4, 5)(torch.randn(2, 4))
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
        kind = {"device": device, "dtype": dtype}
        self.weight_mx = nn.Parameter(torch.empty(hidden_size, input_size, **kind))
        self.weight_mh = nn.Parameter(torch.empty(hidden_size, hidden_size, **kind))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        super().reset_parameters()
        recurrent_(self.weight_mh, 1, self.recurrent_init)

    def step(self, x: Tensor, h: Tensor, c: Tensor) -> Any:
        m = linear(x, self.weight_mx) * linear(h, self.weight_mh)
        gates = linear(x, self.weight_ih, self.bias_ih) + linear(m, self.weight_hh)
        i, f, h_hat, o = gates.chunk(4, dim=-1)
        i, f, h_hat, o = torch.sigmoid(i), torch.sigmoid(f), self.candidate(torch.tanh(h_hat)), torch.sigmoid(o)
        c = f * c + i * h_hat
        h = o * torch.tanh(c)
        return h, c
