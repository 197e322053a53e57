"""The simple gated recurrent network."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from ostinato.cells.registry import known
from ostinato.cells.stacked import GatedCell


@known("sgrn", "Simple gated recurrent network", 2021)
class SGRNCell(GatedCell):
    r"""One gate, and no weights besides the gate's.

    .. math::
        f_t &= \sigma(W x_t + U h_{t-1} + b) \\
        i_t &= 1 - f_t \\
        h_t &= \tanh(i_t \odot (W x_t) + f_t \odot h_{t-1})

    The bias is the gate's alone; torchrecurrent adds it to the new content too.

    Args:
        input_size: I.
        hidden_size: H.
        bias: with ``bias_hh``.
        recurrent_init: ``"uniform"`` is torch's; ``"orthogonal"`` draws ``weight_hh`` orthogonal.

    Parameters:
        weight_ih = W (H, I), weight_hh = U (H, H), bias_hh = b (H).

    Paper:
        X. Zu, K. Wei, A simple gated recurrent network for detection of power quality disturbances, IET Generation,
        Transmission and Distribution 15(4), 2021, doi:10.1049/gtd2.12056.

    Example:
        >>> ostinato.cells.SGRNCell(4, 5)(torch.randn(2, 4)).shape
        torch.Size([2, 5])
    """

    gates = 1
    input_bias = False

    def step(self, x: Tensor, h: Tensor) -> Any:
        n = linear(x, self.weight_ih)
        f = torch.sigmoid(n + linear(h, self.weight_hh, self.bias_hh))
        i = 1 - f
        h = torch.tanh(i * self.candidate(n) + f * h)
        return h
