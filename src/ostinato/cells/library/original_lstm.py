"""Long short-term memory as first published, without a forget gate."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from ostinato.cells.registry import known
from ostinato.cells.stacked import GatedCell


@known("original-lstm", "Long short-term memory of 1997, without a forget gate", 1997)
class OriginalLSTMCell(GatedCell):
    r"""The LSTM of 1997: what is in the cell state stays there.

    .. math::
        y^{in}_t &= \sigma(W_{in} x_t + U_{in} h_{t-1} + b_{in}) \\
        y^{out}_t &= \sigma(W_{out} x_t + U_{out} h_{t-1} + b_{out}) \\
        s_t &= s_{t-1} + y^{in}_t \odot g(W_c x_t + U_c h_{t-1} + b_c), \qquad g(v) = 4 \sigma(v) - 2 \\
        h_t &= y^{out}_t \odot \eta(s_t), \qquad \eta(v) = 2 \sigma(v) - 1

    g has the range (-2, 2), :math:`\eta` (the paper's h) the range (-1, 1). The products lie stacked in the weights as
    in, c, out. In torchrecurrent both are tanh. That is the same family of functions: since
    :math:`2 \sigma(v) - 1 = \tanh(v / 2)`, this cell with s and with twice the weights of c is that one with s / 2.

    The paper trains with a truncated gradient, which lets no error flow back through the gates; here the gradient is
    whole. Its gates may read each other, and memory cells may share gates in blocks; here each cell has its own.

    Args:
        input_size: I.
        hidden_size: H.
        bias: with ``bias_ih``.
        recurrent_init: ``"uniform"`` is torch's; ``"orthogonal"`` draws each block of ``weight_hh`` orthogonal.

    Parameters:
        weight_ih (3·H, I), weight_hh (3·H, H), bias_ih (3·H).

    Paper:
        S. Hochreiter, J. Schmidhuber, Long short-term memory, Neural Computation 9, 1997.

    Example:
        >>> h, s = ostinato.cells.OriginalLSTMCell(4, 5)(torch.randn(2, 4))
        >>> h.shape, s.shape
        (torch.Size([2, 5]), torch.Size([2, 5]))
    """

    state_names = ("h", "s")
    gates = 3
    two_biases = False

    def step(self, x: Tensor, h: Tensor, s: Tensor) -> Any:
        net_in, net_c, net_out = (linear(x, self.weight_ih, self.bias_ih) + linear(h, self.weight_hh)).chunk(3, dim=-1)
        y_in = torch.sigmoid(net_in)
        g = self.candidate(2 * torch.tanh(net_c / 2))
        y_out = torch.sigmoid(net_out)
        s = s + y_in * g
        h = y_out * torch.tanh(s / 2)
        return h, s
